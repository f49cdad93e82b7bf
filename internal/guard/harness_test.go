// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/eviction"
	"github.com/hnsguard/hnsguard/internal/guard"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

const ip = "10.240.0.11"

// node is a Windows node with a guard, whose passes the test runs one by one. Its actions are the agent's, in the
// agent's order. Actions that only write to the API server are stand-ins.
type node struct {
	*nodetest.Node
	t       *testing.T
	guard   *guard.Guard
	tracker *stalerecord.Tracker
	history *history.Ring
	evictor *eviction.Evictor
	board   *report.Board

	// requested are the families whose flush slice the tracker wants to move. It moves after the pass, and kube-proxy
	// creates an endpoint for its address at once, unless flushFails is set. moves counts the moves.
	requested  sets.Set[discoveryv1.AddressType]
	flushFails bool
	moves      int
	// soon is the time after which the flusher wants the next pass.
	soon         time.Duration
	reprogrammer *loadbalancer.Reprogrammer
	// victims and looked count the passes of the evictor and of the meter of reuse.
	victims, looked int
}

func newNode(t *testing.T, changes ...func(*config.Config)) *node {
	t.Helper()
	return newNodeWith(t, nodetest.Options{Config: changes})
}

func newNodeWith(t *testing.T, o nodetest.Options) *node {
	t.Helper()
	n := &node{t: t, requested: sets.New[discoveryv1.AddressType]()}
	o.Boot = n.boot
	nodetest.New(t, o)
	return n
}

// boot creates the guard of a new process.
func (n *node) boot(base *nodetest.Node) []pass.SliceObserver {
	n.Node = base
	n.tracker = stalerecord.NewTracker(stalerecord.TrackerOptions{
		Node: nodetest.Name, Namespace: flushNamespace, Flusher: flusher{n}, Interval: n.Config.Poll.FastInterval.Duration,
		Metrics: stalerecord.NewMetrics(prometheus.NewRegistry()), Clock: n.Clock,
	})
	n.Record = n.tracker
	n.history = history.NewRing(history.Options{Clock: n.Clock})
	words := report.Words{
		Node: nodetest.Name, Config: n.Config, KubeProxy: func() kubeproxy.Profile { return kubeproxy.ProfileOf(n.KubeProxy) },
	}
	n.evictor = eviction.New(eviction.Options{
		After: n.Config.Eviction.After.Duration, MaxGap: time.Minute, Interval: time.Minute,
		Events: n.Events, History: n.history, Metrics: eviction.NewMetrics(n.Registry), Clock: n.Clock,
		Describe: words.Pod,
	})
	n.board = report.NewBoard(report.BoardOptions{
		Node: nodetest.Name, Config: n.Config, History: n.history, Victims: n.evictor.Lacking, Clock: n.Clock,
		KubeProxy:     func() kubeproxy.Profile { return kubeproxy.ProfileOf(n.KubeProxy) },
		HNS:           func() report.HNS { return report.HNS{} },
		LoadBalancers: func() ([]verdict.Balancer, map[verdict.BalancerKind]int) { return n.reprogrammer.Found() },
	})
	n.Registry.MustRegister(report.NewCollector(n.board))
	limiter := removal.NewLimiter(n.Config)
	remover := removal.New(removal.Options{
		Node: nodetest.Name, Config: n.Config, Confirmer: n.Confirmer(), HNS: n.Service, Limiter: limiter,
		Freshness: n.Freshness, LoadBalancers: n.Balancers, Events: n.Events, History: n.history,
		Metrics: removal.NewMetrics(n.Registry), Clock: n.Clock, Random: func() float64 { return 0 },
	})
	n.reprogrammer = loadbalancer.NewReprogrammer(loadbalancer.ReprogrammerOptions{
		Node: nodetest.Name, LoadBalancers: n.Balancers, Index: n.Index, Server: n.API, Client: n.API, Events: n.Events,
		History: n.history, Metrics: loadbalancer.NewMetrics(n.Registry), Clock: n.Clock,
		Describe: words.Balancer,
	})
	o := guard.Options{
		Config: n.Config, Collector: n.Collector, Slices: n.Watch,
		Actions: []pass.Action{
			remover, flusher{n}, n.tracker, n.Balancers, n.reprogrammer, meter{n},
		},
		Victims: evictor{n}, Words: words,
		Events: n.Events, History: n.history, Status: n.board, Metrics: guard.NewMetrics(n.Registry), Clock: n.Clock,
	}
	if n.Deadline != nil {
		o.Hung = n.Deadline.Saturated
	}
	n.guard = guard.New(o)
	return []pass.SliceObserver{n.tracker, remover}
}

type flusher struct{ n *node }

func (f flusher) Request(kind discoveryv1.AddressType, _ ...netip.Addr) { f.n.requested.Insert(kind) }

func (f flusher) Run(context.Context, pass.Pass) time.Duration { return f.n.soon }

type evictor struct{ n *node }

func (e evictor) Run(ctx context.Context, p pass.Pass) time.Duration {
	e.n.victims++
	return e.n.evictor.Run(ctx, p)
}

type meter struct{ n *node }

func (m meter) Run(context.Context, pass.Pass) time.Duration {
	m.n.looked++
	return 0
}

// broken returns the broken load balancers.
func (n *node) broken() []verdict.Balancer {
	broken, _ := n.reprogrammer.Found()
	return broken
}

// pass runs one pass, and what happens alongside it before the next. It returns the time until the next.
func (n *node) pass() time.Duration {
	n.t.Helper()
	result, err := n.guard.Reconcile(n.t.Context(), guard.Request{})
	if err != nil {
		n.t.Fatalf("a pass returns no error, but: %v", err)
	}
	n.ReadBalancers()
	if !n.flushFails {
		for kind := range n.requested {
			n.flush(kind)
		}
		clear(n.requested)
	}
	return result.RequeueAfter
}

// flushNamespace is the namespace of the flush slices.
const flushNamespace = "default"

// flush moves a flush slice, and makes kube-proxy process it.
func (n *node) flush(kind discoveryv1.AddressType) {
	n.t.Helper()
	n.moves++
	format := "198.51.100.%d"
	if kind == discoveryv1.AddressTypeIPv6 {
		format = "2001:db8:0:1::%x"
	}
	for _, e := range n.HNS.State().Endpoints {
		if former := e.Addresses[0]; stalerecord.IsBarrier(former) && cluster.FamilyOf(former) == kind {
			if err := n.HNS.DeleteEndpoint(n.t.Context(), e.ID); err != nil {
				n.t.Fatal(err)
			}
		}
	}
	addr := fmt.Sprintf(format, n.moves%254+1)
	s := nodetest.NewSlice(stalerecord.SliceName(kind), "", addr)
	s.Labels[discoveryv1.LabelServiceName], s.Endpoints[0].NodeName = stalerecord.Service, nil
	n.SetSlice(s)
	n.Remote(addr)
}

// passes lets time pass with a pass every five seconds, as on a node without changes.
func (n *node) passes(d time.Duration) {
	n.t.Helper()
	for end := n.Clock.Now().Add(d); n.Clock.Now().Before(end); n.Wait(5 * time.Second) {
		n.pass()
	}
}

// passMoving runs a pass in which the world changes after the decision about a conflict, just before the endpoint is
// read again. The inventory reads both endpoints first, and the local one again for its attachment.
func (n *node) passMoving(move func()) {
	n.t.Helper()
	for range 3 {
		n.HNS.Before(hns.OpEndpoint, func() {})
	}
	n.HNS.Before(hns.OpEndpoint, move)
	n.pass()
}
