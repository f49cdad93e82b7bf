// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/eviction"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/observe"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

func start() time.Time { return time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC) }

type node struct {
	*report.Board
	clock   *testingclock.FakeClock
	history *history.Ring
	profile kubeproxy.Profile
	hns     report.HNS
	victims []eviction.Victim
	broken  []verdict.Balancer
	counts  map[verdict.BalancerKind]int
}

func newNode() *node { return newNodeWith(config.Default()) }

func newNodeWith(c config.Config) *node {
	clk := testingclock.NewFakeClock(start())
	n := &node{clock: clk, history: history.NewRing(history.Options{Clock: clk}), profile: kubeproxy.ProfileOf("v1.32.3")}
	n.Board = report.NewBoard(report.BoardOptions{
		Node: "win-1", Config: c, History: n.history, Clock: clk,
		KubeProxy: func() kubeproxy.Profile { return n.profile },
		HNS:       func() report.HNS { return n.hns },
		Victims:   func() []eviction.Victim { return n.victims },

		LoadBalancers: func() ([]verdict.Balancer, map[verdict.BalancerKind]int) { return n.broken, n.counts },
	})
	return n
}

func conflict() verdict.Verdict {
	return verdict.Verdict{
		Endpoint: hns.Endpoint{
			ID: "id-1", Network: "net-1", Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")}, Flags: hns.FlagRemote,
			MAC: kubeproxy.RemoteMAC(netip.MustParseAddr("10.240.0.11")),
		},
		Kind: verdict.Conflict, Reason: verdict.ReasonLivePod, Locals: []hns.EndpointID{"id-2"},
		Pods: []cluster.PodID{{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "cart-0"}, UID: "u"}},
	}
}

func local() verdict.Verdict {
	return verdict.Verdict{
		Endpoint: hns.Endpoint{
			ID: "id-2", Network: "net-1", Name: "cart", Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")},
			Namespace: "ns",
		},
		Kind: verdict.Local, Reason: verdict.ReasonLocalPod,
	}
}

func passOf(verdicts ...verdict.Verdict) pass.Pass {
	return pass.Pass{
		Evidence: verdict.Evidence{Snapshot: verdict.Snapshot{
			Network: hns.Network{
				ID: "net-1", Name: "azure", Type: hns.NetworkL2Bridge, Subnets: []netip.Prefix{netip.MustParsePrefix("10.240.0.0/16")},
			},
			LoadBalancers: make([]hns.LoadBalancer, 3), LoadBalancersKnown: true,
		}},
		Verdicts: verdicts, StaleSince: map[hns.EndpointID]time.Time{"id-1": start().Add(-time.Minute)}, Waiting: true,
	}
}

func victims() []eviction.Victim {
	return []eviction.Victim{{
		Pod: cluster.Pod{
			Key: types.NamespacedName{Namespace: "shop", Name: "web-0"}, Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.12")},
		},
		State: verdict.PodWithoutNetwork,
		Since: start(),
	}}
}

// Invariant 15.
func TestGaugesAreCountedFromTheReport(t *testing.T) {
	g := NewWithT(t)
	n := newNode()
	leaked := local()
	leaked.Endpoint.ID, leaked.Reason = "id-3", verdict.ReasonLocalLeaked
	left := local()
	left.Endpoint.ID, left.Reason = "id-4", verdict.ReasonLocalLeftBehind
	n.counts = map[verdict.BalancerKind]int{verdict.BalancerStale: 2}
	stuck := victims()[0]
	stuck.Pod.Key.Name, stuck.State, stuck.Pod.Ends = "stuck", verdict.PodEndingTooLong, start()
	n.victims = append(victims(), stuck)
	n.Complete(passOf(local(), conflict(), leaked, left), start())
	n.clock.Step(time.Minute)

	collector := report.NewCollector(n.Board)
	g.Expect(testutil.CollectAndLint(collector)).To(BeEmpty())
	g.Expect(testutil.CollectAndCompare(collector, strings.NewReader(`
# HELP hnsguard_leaked_local_endpoints Local endpoints whose address no pod on this node has and a slice lists as ready on another node.
# TYPE hnsguard_leaked_local_endpoints gauge
hnsguard_leaked_local_endpoints 1
# HELP hnsguard_pods_ending_too_long Pods on this node that should have been deleted an hour ago, and have no local HNS endpoint any more.
# TYPE hnsguard_pods_ending_too_long gauge
hnsguard_pods_ending_too_long 1
# HELP hnsguard_victims Running pods on this node that have had no attached local HNS endpoint for longer than eviction.after.
# TYPE hnsguard_victims gauge
hnsguard_victims 1
`), "hnsguard_leaked_local_endpoints", "hnsguard_pods_ending_too_long", "hnsguard_victims")).To(Succeed())
	g.Expect(n.series(t)).To(And(
		HaveKeyWithValue("hnsguard_endpoints conflict", 1.0), HaveKeyWithValue("hnsguard_endpoints orphan", 0.0),
		HaveKeyWithValue("hnsguard_stale_endpoint_age_seconds conflict", 120.0),
		HaveKeyWithValue("hnsguard_load_balancers stale", 2.0), HaveKeyWithValue("hnsguard_load_balancers right", 0.0)))
	r := n.Report()
	g.Expect(r.Findings).To(ContainElement(HaveField("Title", "1 pod ending for too long")))
}

// series returns the gauges with a label, by name and label value.
func (n *node) series(t *testing.T) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(report.NewCollector(n.Board))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) > 0 {
				series[f.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return series
}

// Invariant 15.
func TestAddressesOfSeveralEndpointsAreCountedByKind(t *testing.T) {
	g := NewWithT(t)
	n := newNode()
	on := func(id hns.EndpointID, network hns.NetworkID, flags hns.EndpointFlags, addresses ...string) verdict.Verdict {
		v := verdict.Verdict{Endpoint: hns.Endpoint{ID: id, Network: network, Flags: flags}}
		if !v.Endpoint.Remote() {
			v.Kind, v.Reason = verdict.Local, verdict.ReasonLocalPod
		}
		if network != "net-1" {
			v.Reason = verdict.ReasonOtherNetwork
		}
		for _, a := range addresses {
			v.Endpoint.Addresses = append(v.Endpoint.Addresses, netip.MustParseAddr(a))
		}
		return v
	}
	none := map[string]float64{"local_local": 0, "local_remote": 0, "remote_remote": 0}
	expect := func(want map[string]float64) {
		series := n.series(t)
		for kind, count := range want {
			g.Expect(series).To(HaveKeyWithValue("hnsguard_duplicate_addresses "+kind, count))
		}
	}
	expect(none)
	twoLocals := []verdict.Verdict{
		on("l2", "net-1", 0, "10.0.0.2"), on("l3", "net-1", 0, "10.0.0.2"), on("r2", "net-1", hns.FlagRemote, "10.0.0.2"),
	}
	onTwo := []verdict.Verdict{on("l1", "net-1", 0, "10.0.0.3", "fd00::1"), on("r1", "net-1", hns.FlagRemote, "10.0.0.3")}
	twoRemotes := []verdict.Verdict{on("r3", "net-1", hns.FlagRemote, "10.0.0.1"), on("r4", "net-1", hns.FlagRemote, "10.0.0.1")}
	n.Complete(passOf(twoLocals...), start())
	expect(map[string]float64{"local_local": 1, "local_remote": 0, "remote_remote": 0})
	n.Complete(passOf(onTwo...), start())
	expect(map[string]float64{"local_local": 0, "local_remote": 1, "remote_remote": 0})
	n.Complete(passOf(twoRemotes...), start())
	expect(map[string]float64{"local_local": 0, "local_remote": 0, "remote_remote": 1})
	n.Complete(passOf(on("l4", "net-1", 0, "10.0.0.4", "10.0.0.4"), // an endpoint does not share an address with itself
		on("n1", "nat", 0, "10.0.0.5"), on("l5", "net-1", 0, "10.0.0.5"), // an address of another network does not count
		on("none", "net-1", 0)), start())
	expect(none)
	g.Expect(n.Report().Findings).NotTo(ContainElement(HaveField("Kind", report.FindingAddress)))
}

func TestTheJSONForm(t *testing.T) {
	g := NewWithT(t)
	n := newNode()
	n.clock.Step(time.Second)
	n.victims = victims()
	n.Complete(passOf(local(), conflict()), start().Add(750*time.Millisecond))
	n.history.Add(history.Of(history.Decision, "", conflict()))
	n.hns = report.HNS{Health: observe.Health{Answered: start(), Failing: []observe.Failure{{
		Operation: hns.OpLoadBalancers, Class: hns.ClassTimeout, Message: "slow", Since: start(), Last: start(), Count: 2,
	}}}, HungCalls: 1}
	text, err := json.Marshal(n.Report())
	g.Expect(err).NotTo(HaveOccurred())

	var d report.Report
	g.Expect(json.Unmarshal(text, &d)).To(Succeed())
	again, err := json.Marshal(d)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(again).To(MatchJSON(text), "it can be read back")

	var fields map[string]any
	g.Expect(json.Unmarshal(text, &fields)).To(Succeed())
	g.Expect(fields).To(HaveKey("agent"))
	g.Expect(fields["config"]).To(HaveKeyWithValue("kind", "Configuration"))
	g.Expect(fields["answers"]).To(HaveKeyWithValue("conflict/live-pod-with-local-endpoint",
		HaveKeyWithValue("because", ContainSubstring("A running pod on this node has the address"))))
	for _, found := range fields["findings"].([]any) {
		for _, said := range []string{"because", "next", "do"} {
			g.Expect(found).To(HaveKey(said))
			delete(found.(map[string]any), said)
		}
	}
	for _, elsewhere := range []string{"agent", "config", "answers", "modes"} {
		delete(fields, elsewhere)
	}
	rest, err := json.Marshal(fields)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(rest).To(MatchJSON(`{
  "apiVersion": "hnsguard.io/v1alpha1", "kind": "NodeReport", "time": "2026-03-01T03:00:01Z", "node": "win-1",
  "started": "2026-03-01T03:00:00Z", "state": "guarding", "since": "2026-03-01T03:00:01Z", "mode": "enforce",
  "kubeProxy": {"version": "v1.32.3", "known": true, "faults": ["stale-record", "batch-leak", "duplicates", "builds-on-leaked-locals"]},
  "hns": {
    "answered": "2026-03-01T03:00:00Z", "hungCalls": 1,
    "failing": [{
      "operation": "list_load_balancers", "class": "timeout", "message": "slow", "since": "2026-03-01T03:00:00Z",
      "last": "2026-03-01T03:00:00Z", "count": 2
    }]
  },
  "pass": {
    "ended": "2026-03-01T03:00:01Z", "durationSeconds": 0.25, "waiting": true, "loadBalancers": 3
  },
  "network": {"id": "net-1", "name": "azure", "type": "L2Bridge", "subnets": ["10.240.0.0/16"]},
  "findings": [
    {"kind": "pod", "reason": "without-network", "title": "1 pod without network", "objects": ["shop/web-0"],
     "since": "2026-03-01T03:00:00Z"},
    {"kind": "endpoint", "reason": "live-pod-with-local-endpoint", "title": "1 stale remote endpoint",
     "objects": ["10.240.0.11"], "since": "2026-03-01T02:59:00Z"}
  ],
  "removable": 1, "undecided": 0, "loadBalancerCounts": {},
		"loadBalancers": [],
  "pods": [{"name": "shop/web-0", "state": "without-network", "addresses": ["10.240.0.12"], "since": "2026-03-01T03:00:00Z"}],
  "counts": {"conflict": 1, "local": 1},
  "endpoints": [
    {"id": "id-1", "addresses": ["10.240.0.11"], "kind": "remote", "owner": "kube-proxy", "verdict": "conflict",
     "reason": "live-pod-with-local-endpoint", "pods": ["shop/cart-0"], "localEndpoints": ["id-2"], "network": "net-1",
     "staleSince": "2026-03-01T02:59:00Z"},
    {"id": "id-2", "addresses": ["10.240.0.11"], "kind": "local", "owner": "cart", "verdict": "local",
     "reason": "local-pod", "network": "net-1", "attached": true}
  ],
  "history": [{
    "first": "2026-03-01T03:00:01Z", "last": "2026-03-01T03:00:01Z", "count": 1, "act": "decision", "endpoint": "id-1",
    "address": "10.240.0.11", "pods": ["shop/cart-0"], "verdict": "conflict", "reason": "live-pod-with-local-endpoint"
  }]
}`))
}

func TestBeforeTheFirstPassNothingIsMissing(t *testing.T) {
	g := NewWithT(t)
	text, err := json.Marshal(newNode().Report())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(text)).To(And(ContainSubstring(`"state":"starting"`), ContainSubstring(`"endpoints":[]`),
		ContainSubstring(`"history":[]`), ContainSubstring(`"counts":{}`), ContainSubstring(`"answers":{}`)))
	g.Expect(string(text)).NotTo(ContainSubstring(`"pass":`))
}

// Invariant 9.
func TestWhatOnlyObservesDoesNotGuard(t *testing.T) {
	g := NewWithT(t)
	for _, tc := range []struct {
		state  report.State
		change func(*config.Config)
	}{
		{report.StateGuarding, func(c *config.Config) { c.Orphan.Mode = config.Observe }},
		{report.StateObserving, func(c *config.Config) { c.Mode = config.Observe }},
		{report.StateObserving, func(c *config.Config) { c.Conflict.Mode = config.Observe }},
	} {
		policy := config.Default()
		tc.change(&policy)
		n := newNodeWith(policy)
		n.Complete(passOf(local()), n.clock.Now())
		g.Expect(n.Report().State).To(Equal(tc.state))
	}
}

// Invariant 12.
func TestPodsWithoutNetworkStayWhileTheNodeIsUnknown(t *testing.T) {
	g := NewWithT(t)
	n := newNode()
	n.victims = victims()
	n.Complete(passOf(local(), conflict()), n.clock.Now())
	n.Unknown(errors.New("no"))
	g.Expect(n.Report().Pods).To(HaveLen(1))
}

func TestBrokenLoadBalancersAreShown(t *testing.T) {
	g := NewWithT(t)
	n := newNode()
	n.broken = []verdict.Balancer{{
		Kind: verdict.BalancerMissing, Service: types.NamespacedName{Namespace: "shop", Name: "cart"},
		Frontend: verdict.Frontend{VIP: netip.MustParseAddr("10.0.0.7"), Protocol: verdict.ProtocolTCP, Port: 80},
	}}
	n.Complete(passOf(local()), n.clock.Now())
	g.Expect(n.Report().LoadBalancers).To(ConsistOf(And(
		HaveField("Service", "shop/cart"), HaveField("Frontend", "10.0.0.7:80/TCP"))))
	g.Expect(n.Report().Findings).To(ConsistOf(And(HaveField("Title", "1 load balancer missing"),
		HaveField("Objects", ConsistOf("shop/cart")),
		HaveField("Because", ContainSubstring("has no load balancer for 10.0.0.7:80/TCP")),
		HaveField("Next", ContainSubstring("reprogram.mode is enforce")))))
}

// Invariant 10: run with the race detector.
func TestReadersSeeWholePasses(t *testing.T) {
	n := newNode()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			if i%2 == 0 {
				n.Complete(passOf(local()), start())
			} else {
				n.Complete(passOf(conflict(), local()), start())
			}
			n.history.Add(history.Entry{Act: history.Flush})
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
		}
		d := n.Report()
		if total := d.Counts[verdict.Local] + d.Counts[verdict.Conflict]; total != len(d.Endpoints) {
			t.Fatalf("%d endpoints, and %d are counted", len(d.Endpoints), total)
		}
	}
}

func many(count int) pass.Pass {
	verdicts := make([]verdict.Verdict, count)
	for i := range verdicts {
		verdicts[i] = conflict()
		verdicts[i].Endpoint.ID = hns.EndpointID(fmt.Sprintf("00000000-0000-0000-0000-%012d", i))
		verdicts[i].Endpoint.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 240, byte(i >> 8), byte(i)})}
	}
	return passOf(verdicts...)
}

// Invariant 11.
func TestShowingAPassCostsTheSameForAnyNumberOfEndpoints(t *testing.T) {
	n := newNode()
	few, lots := many(1), many(5000)
	small := testing.AllocsPerRun(100, func() { n.Complete(few, start()) })
	large := testing.AllocsPerRun(100, func() { n.Complete(lots, start()) })
	if large != small {
		t.Errorf("showing 5000 endpoints makes %.0f allocations, and one makes %.0f", large, small)
	}
}

func BenchmarkComplete(b *testing.B) {
	n, pass := newNode(), many(5000)
	b.ReportAllocs()
	for b.Loop() {
		n.Complete(pass, start())
	}
}

func BenchmarkReport(b *testing.B) {
	n, pass := newNode(), many(5000)
	b.ReportAllocs()
	for b.Loop() {
		n.Complete(pass, start())
		if _, err := json.Marshal(n.Report()); err != nil {
			b.Fatal(err)
		}
	}
}

// Invariant 10: the guard reuses the memory of its verdicts.
func TestWhatIsShownOutlivesTheMemoryOfThePass(t *testing.T) {
	g := NewWithT(t)
	n := newNode()
	p := passOf(conflict(), local())
	n.Complete(p, start())
	p.Verdicts[0], p.Verdicts[1] = verdict.Verdict{}, verdict.Verdict{}
	g.Expect(n.Report().Endpoints).To(HaveExactElements(HaveField("ID", conflict().Endpoint.ID), HaveField("ID", local().Endpoint.ID)))
	n.Complete(p, start())
	g.Expect(n.Report().Endpoints).To(HaveEach(HaveField("ID", hns.EndpointID(""))), "the pass that found something else")
}

// Invariant 11.
func TestToShowTheSameAgainCopiesNothing(t *testing.T) {
	g := NewWithT(t)
	n := newNode()
	var verdicts []verdict.Verdict
	for range 1000 {
		verdicts = append(verdicts, local())
	}
	p := passOf(verdicts...)
	n.Complete(p, start())
	before := n.Report().Endpoints
	g.Expect(testing.AllocsPerRun(10, func() { n.Complete(p, start()) })).To(BeNumerically("<", 20))
	g.Expect(&n.Report().Endpoints[0]).To(BeIdenticalTo(&before[0]))
}
