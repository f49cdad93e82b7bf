// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/guard"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/simulated"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

const nodeName = "win-1"

var start = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

// node is a Windows node with a guard whose passes the test asks for one by one, on a clock that only the test moves.
type node struct {
	t       *testing.T
	guard   *guard.Guard
	service *simulated.HNS
	network hns.Network
	index   *cluster.Index
	// server is the API server; apiErr makes it fail.
	server client.Client
	apiErr error
	// caughtUp and freshErr are what the guard is told about its watch.
	caughtUp bool
	freshErr error
	listed   sets.Set[netip.Addr]
	// soon is how soon the flusher wants the next pass.
	soon time.Duration
	// dangling are the load balancers that the reprogrammer was told of last.
	dangling  []hns.LoadBalancer
	kubeProxy string
	events    chan string
	metrics   *prometheus.Registry
	clock     *testingclock.FakeClock
	repaired  int
	looked    int
}

func (n *node) Listed(context.Context) (sets.Set[netip.Addr], error) { return n.listed, n.freshErr }

func (n *node) Changed(_, _ *discoveryv1.EndpointSlice) {}

func (n *node) Look(cluster.View) { n.looked++ }

func (n *node) Pass(context.Context, inventory.Snapshot, kubeproxy.Profile, bool) time.Duration {
	return n.soon
}

// reprogrammer is the node's.
type reprogrammer struct{ n *node }

func (r reprogrammer) Pass(_ context.Context, dangling []hns.LoadBalancer) time.Duration {
	r.n.dangling = dangling
	return 0
}

func (n *node) CaughtUp(context.Context) (bool, error) { return n.caughtUp, n.freshErr }

func (n *node) Run(context.Context, inventory.Snapshot, cluster.View) { n.repaired++ }

func newNode(t *testing.T, changes ...func(*config.Config)) *node {
	t.Helper()
	n := &node{
		t: t, service: simulated.New(simulated.Options{}), index: cluster.NewIndex(nodeName), caughtUp: true,
		kubeProxy: "v1.37.2", clock: testingclock.NewFakeClock(start),
	}
	n.network = n.service.CreateNetwork("azure", hns.NetworkL2Bridge)
	n.server = interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if n.apiErr != nil {
				return n.apiErr
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	n.slice("kubernetes", "", "10.0.0.4") // every cluster has this one
	n.restart(changes...)
	return n
}

// restart replaces the guard by a new process: nothing that it remembers is left.
func (n *node) restart(changes ...func(*config.Config)) {
	policy := config.Default()
	for _, change := range changes {
		change(&policy)
	}
	recorder := events.NewFakeRecorder(1000)
	n.events, n.metrics = recorder.Events, prometheus.NewPedanticRegistry()
	n.guard = guard.New(guard.Options{
		Node: nodeName, Config: policy, HNS: n.service,
		Inventory: inventory.New(n.service, inventory.Options{
			RereadEvery: 5 * time.Minute, NetworksEvery: 5 * time.Second, MaxGap: 20 * time.Second, Clock: n.clock,
		}),
		Index: n.index, Pods: n.server, Freshness: n,
		KubeProxy: func() kubeproxy.Profile { return kubeproxy.ProfileOf(n.kubeProxy) },
		Repairer:  n, Flusher: n, Reprogrammer: reprogrammer{n}, Reuse: n, Events: recorder,
		Metrics: guard.NewMetrics(n.metrics), Clock: n.clock,
	})
}

// pass is one pass; it returns the time until the next.
func (n *node) pass() time.Duration {
	n.t.Helper()
	result, err := n.guard.Reconcile(n.t.Context(), guard.Request{})
	if err != nil {
		n.t.Fatalf("a pass returns no error, but: %v", err)
	}
	return result.RequeueAfter
}

func (n *node) wait(d time.Duration) { n.clock.Step(d) }

// passes lets time go by with a pass every five seconds, as on a node where nothing happens.
func (n *node) passes(d time.Duration) {
	n.t.Helper()
	for end := n.clock.Now().Add(d); n.clock.Now().Before(end); n.wait(5 * time.Second) {
		n.pass()
	}
}

func (n *node) endpoint(addr string, flags hns.EndpointFlags) hns.EndpointID {
	n.t.Helper()
	ip := netip.MustParseAddr(addr)
	spec := simulated.EndpointSpec{Network: n.network.ID, Addresses: []netip.Addr{ip}, Flags: flags}
	if flags&hns.FlagRemote != 0 {
		spec.MAC = kubeproxy.RemoteMAC(ip)
	}
	made, err := n.service.CreateEndpoint(spec)
	if err != nil {
		n.t.Fatal(err)
	}
	return made.ID
}

func (n *node) remote(addr string) hns.EndpointID {
	n.t.Helper()
	return n.endpoint(addr, hns.FlagRemote)
}

// local makes an attached local endpoint.
func (n *node) local(addr string) hns.EndpointID {
	n.t.Helper()
	id := n.endpoint(addr, 0)
	if err := n.service.Attach(id, n.service.CreateNamespace()); err != nil {
		n.t.Fatal(err)
	}
	return id
}

// pod makes a running pod of this node, in the API server and in the cache. Without an address it is one that waits.
func (n *node) pod(name, addr string) *corev1.Pod {
	n.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)}}
	pod.Spec.NodeName = nodeName
	pod.Status.Phase = corev1.PodPending
	if addr != "" {
		pod.Status.Phase, pod.Status.PodIPs = corev1.PodRunning, []corev1.PodIP{{IP: addr}}
	}
	if err := n.server.Create(n.t.Context(), pod); err != nil {
		n.t.Fatal(err)
	}
	n.index.SetPod(pod)
	return pod
}

// slice lists addresses on a node, in the cache.
func (n *node) slice(name, onNode string, addrs ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: addrs}},
	}
	if onNode != "" {
		s.Endpoints[0].NodeName = &onNode
	}
	n.index.SetSlice(s)
	return s
}

// there lists the endpoints that are in HNS.
func (n *node) there() []hns.EndpointID {
	var ids []hns.EndpointID
	for _, e := range n.service.State().Endpoints {
		ids = append(ids, e.ID)
	}
	return ids
}

// happened takes the Events since it was last asked.
func (n *node) happened() []string {
	var all []string
	for {
		select {
		case e := <-n.events:
			all = append(all, e)
		default:
			return all
		}
	}
}

// series returns a metric's value by its labels, given as "name{a=b,c=d}" with the labels in alphabetical order.
func (n *node) series(name string) float64 {
	n.t.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := ""
			for i, l := range m.GetLabel() {
				if i > 0 {
					labels += ","
				}
				labels += fmt.Sprintf("%s=%s", l.GetName(), l.GetValue())
			}
			full := family.GetName()
			if labels != "" {
				full += "{" + labels + "}"
			}
			if full == name {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	n.t.Fatalf("no series %s", name)
	return 0
}

func (n *node) removals(verdict, result string) float64 {
	n.t.Helper()
	return n.series(fmt.Sprintf("hnsguard_removals_total{result=%s,verdict=%s}", result, verdict))
}

func (n *node) skipped(verdict, brake string) float64 {
	n.t.Helper()
	return n.series(fmt.Sprintf("hnsguard_removals_skipped_total{brake=%s,verdict=%s}", brake, verdict))
}
