// SPDX-License-Identifier: Apache-2.0

package nodetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/internal/slicewatch"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// Name is the node's name.
const Name = "win-1"

// Start returns the start of the fake clock.
func Start() time.Time { return time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC) }

// Options describe a node.
type Options struct {
	// KubeProxy is the version of the node's kube-proxy. v1.37.2 by default, which has no fault.
	KubeProxy string
	// HNS describes the simulated HNS.
	HNS hnstest.Options
	// Network is the type of the pod network. L2Bridge by default.
	Network hns.NetworkType
	// Layout has the networks. Only the pod network by default.
	Layout hnstest.Layout
	// Config changes the default configuration.
	Config []func(*config.Config)
	// Clock is the source of time. A fake one by default. In a bubble of testing/synctest it may be the real one.
	Clock clock.WithTicker
	// Deadlines wraps HNS in the decorator with deadlines. It needs the real clock.
	Deadlines bool
	// Boot runs for each new process of the agent, before its watch starts. It may set [Node.Record], and returns the
	// observers of EndpointSlices.
	Boot func(n *Node) []pass.SliceObserver
}

// Node is a Windows node with the inputs of an agent.
type Node struct {
	tb   testing.TB
	opts Options

	// HNS is the service itself, and Service the client that the agent uses.
	HNS     *hnstest.HNS
	Service hns.Client
	Network hns.Network
	API     *API
	Clock   clock.WithTicker
	// KubeProxy is the version that the agent knows.
	KubeProxy string
	Config    config.Config

	// The following fields belong to one process of the agent: [Node.Restart] creates them again.
	Index     *cluster.Index
	Watch     *slicewatch.Watch
	Freshness *slicewatch.Freshness
	Balancers *loadbalancer.Reader
	Collector *pass.Collector
	// Record is what is known about kube-proxy's record. By default it is empty.
	Record   pass.Record
	Events   events.EventRecorder
	Registry *prometheus.Registry
	// Deadline is set if [Options.Deadlines] is.
	Deadline *hns.Deadline

	happened chan string
	// heldBack are the events that the watch has not delivered; nil if it delivers at once.
	heldBack *[]func()
	stale    map[hns.EndpointID]time.Time
}

// New returns a node with one EndpointSlice, which every cluster has.
func New(tb testing.TB, o Options) *Node {
	tb.Helper()
	if o.KubeProxy == "" {
		o.KubeProxy = "v1.37.2"
	}
	if o.Network == "" {
		o.Network = hns.NetworkL2Bridge
	}
	if o.Layout.Pods.Name == "" {
		o.Layout.Pods = hnstest.LayoutNetwork{Name: "azure", Type: o.Network}
	}
	if o.Clock == nil {
		o.Clock = testingclock.NewFakeClock(Start())
	}
	n := &Node{
		tb: tb, opts: o, HNS: hnstest.New(o.HNS), API: newAPI(), Clock: o.Clock, KubeProxy: o.KubeProxy,
		Config: config.Default(),
	}
	for _, change := range o.Config {
		change(&n.Config)
	}
	n.Network = n.HNS.Build(o.Layout)
	n.API.set(NewSlice("kubernetes", "", "10.0.0.4"))
	n.Restart()
	return n
}

// Restart replaces the agent by a new process, which has no memory and lists everything.
func (n *Node) Restart() {
	n.tb.Helper()
	n.Registry = prometheus.NewPedanticRegistry()
	recorder := events.NewFakeRecorder(10_000)
	n.Events, n.happened = recorder, recorder.Events
	n.Service, n.Deadline = n.HNS, nil
	if n.opts.Deadlines {
		n.Deadline = hns.WithDeadline(n.HNS, hns.DeadlineOptions{
			Call: n.Config.HNS.CallTimeout.Duration, List: config.ListTimeout,
			MaxHung: config.MaxHungCalls, Clock: n.Clock,
		})
		n.Service = n.Deadline
	}
	n.Index, n.heldBack, n.stale = cluster.NewIndex(Name), nil, map[hns.EndpointID]time.Time{}
	n.Watch = slicewatch.New(slicewatch.Options{Index: n.Index})
	n.Freshness = slicewatch.NewFreshness(slicewatch.FreshnessOptions{Server: n.API, Watch: n.Watch, Clock: n.Clock})
	n.Balancers = loadbalancer.NewReader(loadbalancer.ReaderOptions{
		HNS: n.Service, Revision: n.Index.Revision, Clock: n.Clock,
		Syncs: func(context.Context) (uint64, error) { return 0, errors.New("kube-proxy's metrics are not read") },
	})
	n.Record = Remembers(true)
	n.Collector = n.collector()
	if n.opts.Boot != nil {
		n.Watch.Observe(n.opts.Boot(n)...)
	}
	n.listPods()
	n.Relist()
}

func (n *Node) collector() *pass.Collector {
	return pass.NewCollector(pass.Options{
		Inventory: inventory.New(n.Service, inventory.Options{
			Network: n.Config.Network, RereadEvery: config.RereadInterval,
			NetworksEvery: n.Config.Poll.SlowInterval.Duration, MaxGap: 4 * n.Config.Poll.SlowInterval.Duration,
			Clock: n.Clock,
		}),
		Index:         n.Index,
		KubeProxy:     func() kubeproxy.Profile { return kubeproxy.ProfileOf(n.KubeProxy) },
		Record:        record{n},
		LoadBalancers: n.Balancers,
		Policy: verdict.Policy{
			Exclusions: n.Config.ExcludedPrefixes(), OrphanGrace: n.Config.Orphan.GracePeriod.Duration,
			OrphanGraceUrgent: n.Config.Orphan.GracePeriodWhileWaiting.Duration,
		},
		FreshlyWaiting: config.FastDuration,
		Clock:          n.Clock,
	})
}

// listPods fills the index like the first list of the watch.
func (n *Node) listPods() {
	n.tb.Helper()
	var list corev1.PodList
	if err := n.API.List(context.Background(), &list, client.MatchingFields{"spec.nodeName": Name}); err != nil {
		n.tb.Fatal(err)
	}
	for i := range list.Items {
		n.Index.SetPod(&list.Items[i])
	}
}

// Confirmer returns the confirmer of an agent on this node.
func (n *Node) Confirmer() removal.Confirmer {
	return removal.Confirmer{
		Node: Name, HNS: n.Service, Evidence: n.Collector, Pods: removal.PodReader{Server: n.API},
		KubeProxy: func(context.Context) (kubeproxy.Profile, error) {
			return kubeproxy.ProfileOf(n.KubeProxy), nil
		},
	}
}

// Observe returns the pass that a guard would run now. An error fails the test.
func (n *Node) Observe() pass.Pass {
	n.tb.Helper()
	e, err := n.Collector.Collect(n.tb.Context())
	if err != nil {
		n.tb.Fatal(err)
	}
	verdicts := verdict.Decide(e)
	n.Collector.Remember(verdicts)
	stale := map[hns.EndpointID]time.Time{}
	for _, v := range verdicts {
		if !v.Kind.Stale() {
			continue
		}
		stale[v.Endpoint.ID] = e.Now
		if since, known := n.stale[v.Endpoint.ID]; known {
			stale[v.Endpoint.ID] = since
		}
	}
	n.stale = stale
	return pass.Pass{Evidence: e, Verdicts: verdicts, StaleSince: stale, Waiting: n.Collector.FreshlyWaiting()}
}

// ReadBalancers reads load balancers if a reading was requested, as happens alongside the passes.
func (n *Node) ReadBalancers() {
	if n.Balancers.Requested() {
		_ = n.Balancers.Read(n.tb.Context()) // a failed reading changes nothing
	}
}

// Wait lets time pass.
func (n *Node) Wait(d time.Duration) { n.Clock.Sleep(d) }
