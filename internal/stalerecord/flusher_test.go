// SPDX-License-Identifier: Apache-2.0

package stalerecord_test

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

const namespace = "hnsguard"

var v4 = netip.MustParseAddr("10.240.0.11")

// faulty is a kube-proxy with the fault, sound one without it.
var faulty, sound = kubeproxy.ProfileOf("v1.32.3"), kubeproxy.ProfileOf("v1.34.0")

// halfOfSpread is the random number that gives half of a spread: the distribution is exponential.
var halfOfSpread = 1 / (math.Exp((math.Log(10_000)+1)/2) + 1)

// node is a node with a flusher. Only the test moves the clock, and every random wait is half as long as possible.
type node struct {
	t       *testing.T
	flusher *stalerecord.Flusher
	api     client.Client
	apiErr  error
	// requests counts writes, whatever their result, and meanwhile runs before one is answered.
	requests  int
	meanwhile func()
	random    float64
	clock     *testingclock.FakePassiveClock
	metrics   *prometheus.Registry
	profile   kubeproxy.Profile
	remotes   []netip.Addr
	// locals are the addresses of local endpoints.
	locals []netip.Addr
	// record is kube-proxy's possible record.
	record verdict.Record
	// waiting is set while a pod on the node waits for its address.
	waiting bool
	// behind is the age of snapshots, and change makes remote endpoints differ from kube-proxy's.
	behind time.Duration
	change func(*hns.Endpoint)
}

func newNode(t *testing.T, change ...func(*stalerecord.FlusherOptions)) *node {
	t.Helper()
	n := &node{
		t: t, clock: testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)),
		profile: faulty, random: halfOfSpread, meanwhile: func() {},
	}
	fail := func() error {
		n.requests++
		n.meanwhile()
		return n.apiErr
	}
	n.api = interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := fail(); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if err := fail(); err != nil {
				return err
			}
			return c.Patch(ctx, o, p, opts...)
		},
	})
	o := n.options()
	for _, c := range change {
		c(&o)
	}
	n.flusher = stalerecord.NewFlusher(o)
	return n
}

func (n *node) options() stalerecord.FlusherOptions {
	n.metrics = prometheus.NewPedanticRegistry()
	return stalerecord.FlusherOptions{
		Node: nodeName, Namespace: namespace, Enforce: true, Client: n.api, Settle: time.Second, Spread: 2 * time.Second,
		UrgentSpread: time.Second, Random: func() float64 { return n.random }, Metrics: stalerecord.NewMetrics(n.metrics),
		Clock: n.clock,
	}
}

// began returns a node after its first, unconditional flush.
func began(t *testing.T, change ...func(*stalerecord.FlusherOptions)) *node {
	t.Helper()
	n := newNode(t, change...)
	n.touch(nil, slice("other", "lin-1"))
	n.pass()
	n.wait(2 * time.Second)
	n.pass()
	n.echo()
	if n.writes() != 1 {
		t.Fatalf("%v writes at the start", n.writes())
	}
	return n
}

func (n *node) wait(d time.Duration) { n.clock.SetTime(n.clock.Now().Add(d)) }

// pass takes a snapshot, and then a moment passes.
func (n *node) pass() time.Duration {
	n.t.Helper()
	n.wait(time.Millisecond)
	snapshot := verdict.Snapshot{Taken: n.clock.Now().Add(-n.behind), Network: hns.Network{ID: "net"}}
	for _, addr := range n.remotes {
		e := hns.Endpoint{
			ID: hns.EndpointID("ep-" + addr.String()), Network: "net", Addresses: []netip.Addr{addr}, Flags: hns.FlagRemote,
			MAC: kubeproxy.RemoteMAC(addr),
		}
		if n.change != nil {
			n.change(&e)
		}
		snapshot.Endpoints = append(snapshot.Endpoints, verdict.Endpoint{Endpoint: e})
	}
	for _, addr := range n.locals {
		snapshot.Endpoints = append(snapshot.Endpoints, verdict.Endpoint{Endpoint: hns.Endpoint{
			ID: hns.EndpointID("local-" + addr.String()), Network: "net", Addresses: []netip.Addr{addr},
		}})
	}
	return n.flusher.Run(n.t.Context(), pass.Pass{
		Evidence: verdict.Evidence{Snapshot: snapshot, KubeProxy: n.profile, Record: n.record, Now: n.clock.Now()},
		Waiting:  n.waiting,
	})
}

// lose makes kube-proxy create and delete a remote endpoint; hnsguard sees both.
func (n *node) lose(addr netip.Addr) {
	n.t.Helper()
	n.remotes = []netip.Addr{addr}
	n.pass()
	n.remotes = nil
	n.pass()
}

func slice(name, onNode string, addrs ...netip.Addr) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, addr := range addrs {
		if addr.Is6() {
			s.AddressType = discoveryv1.AddressTypeIPv6
		}
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{addr.String()}, NodeName: &onNode})
	}
	return s
}

func (n *node) own(kind discoveryv1.AddressType) *discoveryv1.EndpointSlice {
	n.t.Helper()
	var s discoveryv1.EndpointSlice
	err := n.api.Get(n.t.Context(), client.ObjectKey{Namespace: namespace, Name: stalerecord.SliceName(kind)}, &s)
	if err != nil {
		return nil
	}
	return &s
}

// echo delivers the flusher's own last write through the watch.
func (n *node) echo() { n.touch(nil, n.own(discoveryv1.AddressTypeIPv4)) }

// drop makes a slice drop the address.
func (n *node) drop(addr netip.Addr) {
	n.touch(slice("cart", "lin-1", addr), slice("cart", "lin-1"))
}

func (n *node) writes() float64 { return n.count("written") }

func (n *node) count(result string) float64 {
	n.t.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "hnsguard_flushes_total" && m.GetLabel()[0].GetValue() == result {
				return m.GetCounter().GetValue()
			}
		}
	}
	n.t.Fatalf("no series %s", result)
	return 0
}

// Invariant 4.
func TestItBeginsByFlushing(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.touch(nil, slice("other", "lin-1"))
	g.Expect(n.pass()).To(Equal(2*time.Second), "settled after one second, spread by one more")
	n.wait(1900 * time.Millisecond)
	n.pass()
	g.Expect(n.writes()).To(BeZero())
	n.wait(100 * time.Millisecond)
	g.Expect(n.pass()).To(BeZero())
	g.Expect(n.writes()).To(BeEquivalentTo(1))

	s := n.own(discoveryv1.AddressTypeIPv4)
	g.Expect(s.Labels).To(Equal(map[string]string{
		discoveryv1.LabelServiceName: "hnsguard-flush", discoveryv1.LabelManagedBy: "hnsguard",
	}))
	g.Expect(s.Endpoints).To(ConsistOf(HaveField("Addresses", ConsistOf("198.51.100.2"))), "a random one")
	g.Expect(s.Ports).To(ConsistOf(HaveField("Port", HaveValue(BeEquivalentTo(1)))))
	g.Expect(n.own(discoveryv1.AddressTypeIPv6)).To(BeNil(), "there is no such family in this cluster")
}

func TestTheLossOfAnEndpointIsFlushedOnce(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.remotes = []netip.Addr{v4}
	n.pass()
	n.remotes = nil
	g.Expect(n.pass()).To(BeNumerically("~", 2*time.Second, 2*time.Millisecond))
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2))
	g.Expect(n.address()).To(Equal("198.51.100.3"), "the next one")
	n.echo()
	n.wait(time.Hour)
	g.Expect(n.pass()).To(BeZero())
	g.Expect(n.writes()).To(BeEquivalentTo(2))
}

// Invariant 14: the end of a keep-slice is this agent's own drop, so the agent does not wait for others to flush it.
func TestTheEndOfAKeepSliceIsFlushedAtOnce(t *testing.T) {
	for node, flushed := range map[string]bool{nodeName: true, "win-2": false} {
		g := NewWithT(t)
		n := began(t)
		keep := cluster.Keep{Service: types.NamespacedName{Namespace: "shop", Name: "cart"}, Node: node, Address: v4}
		s := slice(keep.Name(), "", v4)
		s.Labels = map[string]string{discoveryv1.LabelServiceName: "cart", discoveryv1.LabelManagedBy: cluster.ManagedByKeep}
		s.Annotations = map[string]string{cluster.AnnotationNode: node}
		s.Endpoints[0].NodeName = nil
		n.touch(nil, s)
		n.pass()
		n.touch(s, s)
		g.Expect(n.pass()).To(BeZero(), "it is still there")
		n.touch(s, nil)
		n.pass()
		n.wait(time.Second)
		n.pass()
		g.Expect(n.writes()).To(BeEquivalentTo(map[bool]int{true: 2, false: 1}[flushed]), node)
	}
}

// kube-proxy records what slices drop even if it never created an endpoint for it, and HNS does not show this.
func TestTheLossOfAnAddressWithoutEndpointIsFlushedToo(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.drop(v4)
	g.Expect(n.pass()).To(BeNumerically("~", 2*time.Second, 2*time.Millisecond))
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2))
}

// Invariant 2: as long as the endpoint exists, kube-proxy has not processed the loss.
func TestItWaitsForKubeProxyToProcessTheLoss(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.remotes = []netip.Addr{v4}
	n.pass()
	n.drop(v4)
	// Not 250ms: slices that change all the time would cause a pass every 250ms forever.
	g.Expect(n.pass()).To(Equal(time.Second), "it watches closely")
	n.wait(10 * time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(1))
	n.remotes = nil
	g.Expect(n.pass()).To(BeNumerically("~", 2*time.Second, 2*time.Millisecond))
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2))
}

// A waiting pod may get an address that kube-proxy has in its record within a second. It is not flushed at once,
// because after a rollout pods wait on every node of a cluster, and each node would write.
func TestAWaitingPodMakesItUrgent(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.lose(v4)
	n.waiting = true
	g.Expect(n.pass()).To(BeNumerically("~", 500*time.Millisecond, 2*time.Millisecond), "half of the urgent spread")
	g.Expect(n.writes()).To(BeEquivalentTo(1), "another agent may be first")
	n.wait(500 * time.Millisecond)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2))
	n.echo()

	n.drop(v4) // HNS shows nothing of it
	g.Expect(n.pass()).To(Equal(1500*time.Millisecond), "kube-proxy may not have processed it yet")
	n.lose(netip.MustParseAddr("10.240.0.12"))
	g.Expect(n.writes()).To(BeEquivalentTo(2), "not sooner because it is known to have processed another loss")
	n.wait(1500 * time.Millisecond)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(3))
}

// When HNS shows that kube-proxy has processed the loss, the flush only waits for the other agents.
func TestTheLossOfAnEndpointIsFlushedSoonIfUrgent(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.waiting = true
	n.remotes = []netip.Addr{v4}
	n.pass()
	n.drop(v4)
	n.pass()
	n.wait(10 * time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(1), "the endpoint is still there")
	n.remotes = nil
	g.Expect(n.pass()).To(Equal(500*time.Millisecond), "half of the urgent spread, and no time to settle")
	n.wait(500 * time.Millisecond)
	g.Expect(n.pass()).To(BeZero())
	g.Expect(n.writes()).To(BeEquivalentTo(2))
}

// Invariant 3: a pod on this node has got a lost address, and kube-proxy deletes its endpoint at the next sync.
func TestAnEndangeredPodIsFlushedForAtOnce(t *testing.T) {
	other := netip.MustParseAddr("10.240.0.12")
	for name, tc := range map[string]struct {
		lose func(n *node)
		has  netip.Addr
		wait time.Duration
	}{
		"kube-proxy has processed the loss": {func(n *node) { n.lose(v4) }, v4, 0},
		"it may have":                       {func(n *node) { n.drop(v4); n.pass() }, v4, time.Second - time.Millisecond},
		"one of two losses":                 {func(n *node) { n.lose(v4); n.lose(other) }, v4, 0},
		"another address is in no danger":   {func(n *node) { n.lose(v4) }, other, 2*time.Second - time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := began(t)
			tc.lose(n)
			n.locals = []netip.Addr{tc.has}
			if tc.wait > 0 {
				g.Expect(n.pass()).To(Equal(tc.wait))
				g.Expect(n.writes()).To(BeEquivalentTo(1))
				n.wait(tc.wait)
			}
			n.pass()
			g.Expect(n.writes()).To(BeEquivalentTo(2))
		})
	}
}

func TestALossThatIsOverEndangersNoPod(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.lose(v4)
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2))
	n.locals = []netip.Addr{v4}
	n.lose(netip.MustParseAddr("10.240.0.12"))
	g.Expect(n.pass()).To(BeNumerically("~", 2*time.Second, 2*time.Millisecond))
	g.Expect(n.writes()).To(BeEquivalentTo(2), "the record of the first loss was flushed")
}

func TestALeakedEndpointIsNotWaitedForForEver(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.remotes = []netip.Addr{v4}
	n.pass()
	n.drop(v4)
	n.wait(2 * time.Minute)
	n.pass()
	g.Expect(n.pass()).To(BeZero())
}

// Invariant 3.
func TestAChangeFromElsewhereSuffices(t *testing.T) {
	for name, tc := range map[string]struct {
		change     func(n *node)
		after      time.Duration
		suppressed bool
	}{
		"another agent's flush":           {func(n *node) { n.touch(flushed(1), flushed(2)) }, 1500 * time.Millisecond, true},
		"any Service's change":            {func(n *node) { n.touch(slice("x", "lin-1"), slice("x", "lin-1", v4)) }, 1500 * time.Millisecond, true},
		"a new slice":                     {func(n *node) { n.touch(nil, slice("x", "lin-1")) }, 1500 * time.Millisecond, true},
		"a deleted slice":                 {func(n *node) { n.touch(slice("x", "lin-1"), nil) }, 1500 * time.Millisecond, true},
		"too early":                       {func(n *node) { n.touch(flushed(1), flushed(2)) }, 900 * time.Millisecond, false},
		"just late enough":                {func(n *node) { n.touch(flushed(1), flushed(2)) }, time.Second, true},
		"just too early":                  {func(n *node) { n.touch(flushed(1), flushed(2)) }, time.Second - 1, false},
		"nothing that kube-proxy sees":    {func(n *node) { n.touch(flushed(1), flushed(1)) }, 1500 * time.Millisecond, false},
		"a slice for another proxy":       {func(n *node) { n.touch(foreign(1), foreign(2)) }, 1500 * time.Millisecond, false},
		"a slice of no Service":           {func(n *node) { n.touch(orphan(1), orphan(2)) }, 1500 * time.Millisecond, false},
		"a slice of the other family":     {func(n *node) { n.touch(nil, slice("x", "lin-1", v6)) }, 1500 * time.Millisecond, false},
		"a slice of host names":           {func(n *node) { n.touch(nil, named()) }, 1500 * time.Millisecond, false},
		"a change of labels only matters": {func(n *node) { n.touch(labelled("a"), labelled("b")) }, 1500 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := began(t)
			n.remotes = []netip.Addr{v4}
			n.pass()
			n.remotes = nil
			n.pass()
			n.wait(tc.after)
			tc.change(n)
			n.wait(2*time.Second - tc.after)
			n.pass()
			if tc.suppressed {
				g.Expect(n.writes()).To(BeEquivalentTo(1))
				g.Expect(n.count("suppressed")).To(BeEquivalentTo(1))
			} else {
				g.Expect(n.writes()).To(BeEquivalentTo(2))
			}
		})
	}
}

func (n *node) touch(before, after *discoveryv1.EndpointSlice) {
	n.flusher.SliceChanged(cluster.SliceOf(before), cluster.SliceOf(after))
}

func withPort(s *discoveryv1.EndpointSlice, port int32) *discoveryv1.EndpointSlice {
	s.Ports = []discoveryv1.EndpointPort{{Port: &port}}
	return s
}

func flushed(port int32) *discoveryv1.EndpointSlice { return withPort(slice("elsewhere", ""), port) }

func foreign(port int32) *discoveryv1.EndpointSlice {
	s := flushed(port)
	s.Labels[cluster.LabelServiceProxyName] = "other"
	return s
}

func orphan(port int32) *discoveryv1.EndpointSlice {
	s := flushed(port)
	s.Labels = nil
	return s
}

func named() *discoveryv1.EndpointSlice {
	s := flushed(1)
	s.AddressType = discoveryv1.AddressTypeFQDN
	return s
}

func labelled(value string) *discoveryv1.EndpointSlice {
	s := flushed(1)
	s.Labels["x"] = value
	return s
}

// Of two agents that write at the same time, the second fails on the resource version.
func TestTheSecondOfTwoWritersWaitsForTheFirst(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.lose(v4)
	n.otherWrites(2)
	n.wait(2 * time.Second)
	g.Expect(n.pass()).To(Equal(1500*time.Millisecond), "it will retry, unless it sees the other's change before")
	g.Expect(n.count("conflict")).To(BeEquivalentTo(1))
	n.touch(flushedOwn(1), n.own(discoveryv1.AddressTypeIPv4))
	g.Expect(n.pass()).To(BeZero())
	n.wait(time.Minute)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(1))
}

// otherWrites makes another agent write, which the watch has not delivered yet.
func (n *node) otherWrites(number int) {
	n.t.Helper()
	other := n.own(discoveryv1.AddressTypeIPv4)
	other.Endpoints[0].Addresses[0] = barrier(number).String()
	if err := n.api.Update(n.t.Context(), other); err != nil {
		n.t.Fatal(err)
	}
}

func TestAfterAConflictAnEndangeredPodWaitsForTheWatchOnly(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.lose(v4)
	n.otherWrites(2)
	n.locals = []netip.Addr{v4}
	g.Expect(n.pass()).To(Equal(time.Second))
	g.Expect(n.count("conflict")).To(BeEquivalentTo(1))
}

// Invariant 2. The watch is behind: it delivers changes from before the loss.
func TestALateEchoOfAnOwnWriteIsNoFlush(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.touch(nil, slice("other", "lin-1"))
	n.pass()
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(1))
	n.lose(v4)
	n.wait(1500 * time.Millisecond)
	n.echo() // of the write before the loss
	n.wait(500 * time.Millisecond)
	n.pass()
	g.Expect(n.count("suppressed")).To(BeZero())
	g.Expect(n.writes()).To(BeEquivalentTo(2))
}

// The same for another writer's change that is older than this agent's last one, and the opposite.
func TestOnlyWhatIsNewerThanTheOwnWriteCounts(t *testing.T) {
	for name, tc := range map[string]struct {
		version    string
		any        bool
		suppressed bool
	}{
		"older": {"99", false, false}, "the same": {"100", false, false}, "newer": {"101", false, true},
		"newer, with more digits": {"1000", false, true}, "any slice, older": {"99", true, false}, "any slice, newer": {"101", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			n.api = versioned{n.api, "100"}
			n.flusher = stalerecord.NewFlusher(n.options())
			n.touch(nil, slice("other", "lin-1"))
			n.pass()
			n.wait(2 * time.Second)
			n.pass()
			n.lose(v4)
			n.wait(1500 * time.Millisecond)
			other := flushedOwn(2)
			if tc.any {
				other = flushed(2)
			}
			other.ResourceVersion = tc.version
			n.touch(flushedOwn(1), other)
			g.Expect(n.count("suppressed")).To(BeEquivalentTo(map[bool]int{true: 1}[tc.suppressed]))
		})
	}
}

// versioned gives every created slice a resource version.
type versioned struct {
	client.Client
	version string
}

func (v versioned) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	o.SetResourceVersion(v.version)
	return nil
}

// flushedOwn returns the slice that all agents move, at an address.
func flushedOwn(number int) *discoveryv1.EndpointSlice {
	s := withPort(slice("hnsguard-flush", "", barrier(number)), 1)
	s.Namespace, s.Name = namespace, stalerecord.SliceName(discoveryv1.AddressTypeIPv4)
	return s
}

// An old change flushes nothing, but kube-proxy still records what it drops.
func TestAnOldChangeDropsAddresses(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.api = versioned{n.api, "100"}
	n.flusher = stalerecord.NewFlusher(n.options())
	n.touch(nil, slice("other", "lin-1"))
	n.pass()
	n.wait(2 * time.Second)
	n.pass()
	after := slice("cart", "lin-1")
	after.ResourceVersion = "99"
	n.touch(slice("cart", "lin-1", v4), after)
	g.Expect(n.pass()).To(BeNumerically("~", 2*time.Second, 2*time.Millisecond))
	g.Expect(n.pending()).To(BeEquivalentTo(1))
}

// pending returns how many families wait to be flushed, according to the metric.
func (n *node) pending() float64 {
	n.t.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "hnsguard_flushes_pending" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	n.t.Fatal("no such series")
	return 0
}

func TestHowManyFamiliesArePending(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	g.Expect(n.pass()).To(BeZero())
	g.Expect(n.pending()).To(BeZero())
	n.lose(v4)
	g.Expect(n.pending()).To(BeEquivalentTo(1))
	n.remotes = []netip.Addr{v6}
	n.pass()
	n.lose(v6)
	g.Expect(n.pending()).To(BeEquivalentTo(2))
	n.profile = sound
	n.pass()
	g.Expect(n.pending()).To(BeZero(), "this kube-proxy remembers nothing")
}

// Invariants 3 and 4: an affected kube-proxy may have recorded what was dropped before the agent knew its version. The
// previous kube-proxy's record endangers no pod, so the write is spread like those of the other nodes.
func TestAKubeProxyThatBecomesAffectedIsFlushed(t *testing.T) {
	for name, before := range map[string]func(n *node){
		"it never was": func(*node) {},
		"it was, and a loss was not flushed yet": func(n *node) {
			n.profile = faulty
			n.pass()
			n.lose(v4)
		},
		"it was, and had not processed a loss yet": func(n *node) {
			n.profile, n.remotes = faulty, []netip.Addr{v4}
			n.pass()
			n.drop(v4)
			n.pass()
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			n.profile = sound
			n.touch(nil, slice("x", "lin-1", v4))
			n.pass()
			before(n)
			n.profile, n.remotes = sound, nil
			n.pass()
			n.drop(v4)
			n.wait(time.Minute)
			g.Expect(n.pass()).To(BeZero())
			n.locals = []netip.Addr{v4}
			n.profile = faulty // rolled back in place
			g.Expect(n.pass()).To(Equal(2 * time.Second))
			n.wait(2 * time.Second)
			n.pass()
			g.Expect(n.writes()).To(BeEquivalentTo(1))
			n.wait(time.Minute)
			g.Expect(n.pass()).To(BeZero())
			g.Expect(n.writes()).To(BeEquivalentTo(1), "once")
		})
	}
}

// The first slice of a family comes with a record of kube-proxy from before.
func TestANewFamilyIsFlushed(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.touch(nil, slice("x", "lin-1", v6))
	g.Expect(n.pass()).To(BeNumerically("~", 2*time.Second, 2*time.Millisecond))
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.own(discoveryv1.AddressTypeIPv6)).NotTo(BeNil())
}

// Invariant 1: even if another slice has hnsguard's name.
func TestHostNamesAreNoFamily(t *testing.T) {
	likeOwn := named()
	likeOwn.Namespace, likeOwn.Name = namespace, stalerecord.SliceName(discoveryv1.AddressTypeFQDN)
	for name, s := range map[string]*discoveryv1.EndpointSlice{"of a Service": named(), "named like an own slice": likeOwn} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := began(t)
			n.touch(nil, s)
			g.Expect(n.pass()).To(BeZero())
			n.wait(time.Minute)
			n.pass()
			g.Expect(n.requests).To(Equal(1), "that of the start")
		})
	}
}

// Continuing losses delay the write, each time until the last one has settled.
func TestAWriteWaitsForTheLastLoss(t *testing.T) {
	other := netip.MustParseAddr("10.240.0.12")
	for name, prepare := range map[string]func(n *node){
		"in general":           func(*node) {},
		"a pod waits":          func(n *node) { n.waiting = true },
		"a pod is endangered":  func(n *node) { n.locals = []netip.Addr{other} },
		"both, and in general": func(n *node) { n.waiting, n.locals = true, []netip.Addr{other} },
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := began(t)
			n.random = 0
			prepare(n)
			n.drop(v4)
			n.pass()
			n.wait(900 * time.Millisecond)
			n.drop(other)
			n.pass()
			n.wait(time.Second - time.Millisecond - 1)
			n.pass()
			g.Expect(n.writes()).To(BeEquivalentTo(1))
			n.clock.SetTime(n.clock.Now().Add(1 - time.Millisecond))
			g.Expect(n.pass()).To(BeZero())
			g.Expect(n.writes()).To(BeEquivalentTo(2), "at this very moment")
		})
	}
}

// Both spreads are random: a waiting pod must not delay the flush.
func TestUrgencyMakesNothingLater(t *testing.T) {
	g := NewWithT(t)
	draws := []float64{0, 1}
	n := newNode(t, func(o *stalerecord.FlusherOptions) {
		o.Random = func() (next float64) {
			next, draws = draws[0], draws[1:]
			return next
		}
	})
	n.waiting = true
	n.touch(nil, slice("other", "lin-1"))
	g.Expect(n.pass()).To(Equal(time.Second), "and not after the urgent spread of another")
}

// The stale endpoint of a conflict has a lost address too, but is not endangered.
func TestARemoteEndpointIsNotEndangered(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.flusher.Request(cluster.FamilyOf(v4), v4)
	n.remotes = []netip.Addr{v4}
	g.Expect(n.pass()).To(BeNumerically("~", 2500*time.Millisecond, 2*time.Millisecond))
	n.remotes, n.locals = nil, []netip.Addr{v4}
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2), "at once")
}

// Endpoints that are not kube-proxy's, or on another network, say nothing about its record.
func TestTheLossOfOtherEndpointsNeedsNoFlush(t *testing.T) {
	for name, change := range map[string]func(e *hns.Endpoint){
		"of another network": func(e *hns.Endpoint) { e.Network = "other" },
		"of another maker":   func(e *hns.Endpoint) { e.MAC[5]++ },
		"a local one":        func(e *hns.Endpoint) { e.Flags = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := began(t)
			n.change = change
			n.lose(v4)
			g.Expect(n.pass()).To(BeZero())
		})
	}
}

// A snapshot from before a slice dropped an address does not show the effect.
func TestAnOldSnapshotSettlesNothing(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.behind = time.Second
	n.drop(v4)
	g.Expect(n.pass()).To(Equal(time.Second), "it looks again")
	g.Expect(n.pending()).To(BeZero())
	n.wait(time.Second)
	n.pass()
	g.Expect(n.pending()).To(BeEquivalentTo(1))
}

func TestHowLongALeakedEndpointIsWaitedFor(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.remotes = []netip.Addr{v4}
	n.pass()
	n.drop(v4)
	n.wait(time.Minute - time.Millisecond)
	n.pass()
	g.Expect(n.pass()).To(BeZero())
	n.remotes = nil
	n.pass()
	g.Expect(n.pending()).To(BeEquivalentTo(1), "but when it goes, that is a loss")

	n = began(t)
	n.remotes = []netip.Addr{v4}
	n.pass()
	n.drop(v4)
	n.wait(time.Minute - time.Millisecond)
	g.Expect(n.pass()).To(Equal(time.Second), "a minute is not over yet")
}

func TestASliceThatCannotBeCreated(t *testing.T) {
	resource := discoveryv1.Resource("endpointslices")
	for name, tc := range map[string]struct {
		err    error
		result string
		retry  time.Duration
	}{
		"another agent has":            {apierrors.NewAlreadyExists(resource, "hnsguard-flush-ipv4"), "conflict", time.Second},
		"there is no such namespace":   {apierrors.NewNotFound(resource, "hnsguard-flush-ipv4"), "failed", time.Second},
		"an admission policy is in it": {apierrors.NewInvalid(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice").GroupKind(), "hnsguard-flush-ipv4", nil), "forbidden", 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			var ring *history.Ring
			n := newNode(t, func(o *stalerecord.FlusherOptions) {
				ring = history.NewRing(history.Options{Clock: o.Clock})
				o.History = ring
			})
			n.random, n.apiErr = 0, tc.err
			n.touch(nil, slice("other", "lin-1"))
			n.pass()
			n.wait(time.Second)
			g.Expect(n.pass()).To(Equal(tc.retry))
			g.Expect(n.count(tc.result)).To(BeEquivalentTo(1))
			detail := HaveSuffix(tc.err.Error())
			if tc.result == "conflict" {
				detail = BeEmpty()
			}
			g.Expect(ring.Entries()).To(ConsistOf(And(
				HaveField("Act", history.Flush), HaveField("Result", tc.result), HaveField("Subject", "IPv4"), HaveField("Count", 1),
				HaveField("Detail", detail),
			)))
		})
	}
}

// A conflict is an answer: the API server accepts writes.
func TestALossAfterAConflictDoesNotWaitForIt(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.lose(v4)
	n.otherWrites(2)
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.count("conflict")).To(BeEquivalentTo(1))
	n.wait(100 * time.Millisecond)
	n.touch(flushedOwn(1), n.own(discoveryv1.AddressTypeIPv4)) // the other agent's write ends the first loss
	other := netip.MustParseAddr("10.240.0.12")
	n.locals = []netip.Addr{other}
	n.lose(other)
	g.Expect(n.writes()).To(BeEquivalentTo(2), "a pod of this node is endangered by another loss")
}

func TestAConflictEndsTheBackoff(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.random = 0
	n.apiErr = errors.New("connection refused")
	n.lose(v4)
	n.wait(time.Second)
	for _, wait := range []time.Duration{1, 2, 4} {
		g.Expect(n.pass()).To(Equal(wait * time.Second))
		n.wait(wait * time.Second)
	}
	n.apiErr = nil
	n.otherWrites(2)
	g.Expect(n.pass()).To(Equal(time.Second))
	n.apiErr = errors.New("connection refused")
	n.wait(time.Second)
	g.Expect(n.pass()).To(Equal(time.Second), "and not 8")
}

func TestWhichSliceIsItsOwn(t *testing.T) {
	other := flushedOwn(2)
	other.Namespace = "shop"
	another := flushedOwn(2)
	another.Name = "web"
	other.ResourceVersion, another.ResourceVersion = "999", "999"
	for name, s := range map[string]*discoveryv1.EndpointSlice{"of another namespace": other, "of another name": another} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := began(t)
			n.touch(nil, s)
			n.lose(v4)
			n.wait(2 * time.Second)
			n.pass()
			g.Expect(n.writes()).To(BeEquivalentTo(2), "from what its own was seen to be")
		})
	}
}

func (n *node) address() string {
	n.t.Helper()
	return n.own(discoveryv1.AddressTypeIPv4).Endpoints[0].Addresses[0]
}

// The slice moves to the next address that this node's HNS does not have, within the range, whatever address others
// have written.
func TestWhereTheSliceMoves(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	move := func() string {
		n.lose(v4)
		n.wait(2 * time.Second)
		n.pass()
		n.echo()
		return n.address()
	}
	at := func(addr string) {
		edited := n.own(discoveryv1.AddressTypeIPv4)
		edited.Endpoints[0].Addresses[0] = addr
		g.Expect(n.api.Update(t.Context(), edited)).To(Succeed())
		n.echo()
	}
	g.Expect(move()).To(Equal("198.51.100.3"))
	g.Expect(move()).To(Equal("198.51.100.4"))
	n.locals = []netip.Addr{barrier(5), barrier(6)}
	g.Expect(move()).To(Equal("198.51.100.7"), "what HNS has proves nothing")
	at(barrier(254).String())
	g.Expect(move()).To(Equal("198.51.100.1"))
	at("10.0.0.1")
	g.Expect(move()).To(Equal("198.51.100.2"))
	at(barrier(253).String())
	g.Expect(move()).To(Equal("198.51.100.254"))
}

// A proof needs the slice to move: any agent's move counts, but no other change.
func TestARequestWaitsForAMove(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.flusher.Request(discoveryv1.AddressTypeIPv4, v4)
	n.wait(time.Second)
	n.touch(slice("cart", "lin-1"), slice("cart", "lin-1", v4))
	n.pass()
	g.Expect(n.pending()).To(BeEquivalentTo(1))
	n.otherWrites(7)
	n.touch(flushedOwn(127), n.own(discoveryv1.AddressTypeIPv4))
	n.pass()
	g.Expect(n.pending()).To(BeZero())
	n.wait(time.Minute)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(1))
}

func TestWhichChangesFlush(t *testing.T) {
	v6Slice := slice("x", "lin-1", v6)
	for name, tc := range map[string]struct {
		before, after *discoveryv1.EndpointSlice
		flushes       bool
	}{
		"nothing":                 {nil, nil, false},
		"a new slice":             {nil, flushed(1), true},
		"a new slice of IPv6":     {nil, v6Slice, true},
		"of host names":           {nil, named(), false},
		"one for another proxy":   {nil, foreign(1), false},
		"another port":            {flushed(1), flushed(2), true},
		"another address":         {slice("x", "lin-1", v4), slice("x", "lin-1"), true},
		"no change":               {flushed(1), flushed(1), false},
		"another proxy's deleted": {foreign(1), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(stalerecord.Flushes(cluster.SliceOf(tc.before), cluster.SliceOf(tc.after))).To(Equal(tc.flushes))
		})
	}
}

func TestASliceThatWasDeletedIsCreatedAgain(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	own := n.own(discoveryv1.AddressTypeIPv4)
	g.Expect(n.api.Delete(t.Context(), own)).To(Succeed())
	n.lose(v4)
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.count("conflict")).To(BeEquivalentTo(1))
	n.touch(own, nil) // kube-proxy processes the deletion as a change
	n.wait(2 * time.Second)
	g.Expect(n.pass()).To(BeZero())
	n.lose(v4)
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.own(discoveryv1.AddressTypeIPv4)).NotTo(BeNil())
}

// The watch may be faster than the answer to a write.
func TestASliceThatIsDeletedDuringAWriteIsCreatedAgain(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.lose(v4)
	n.wait(2 * time.Second)
	n.meanwhile = func() {
		n.meanwhile = func() {}
		own := n.own(discoveryv1.AddressTypeIPv4)
		g.Expect(n.api.Delete(t.Context(), own)).To(Succeed())
		n.touch(own, nil)
	}
	n.pass()
	g.Expect(n.count("conflict")).To(BeEquivalentTo(1))
	n.lose(v4)
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.own(discoveryv1.AddressTypeIPv4)).NotTo(BeNil())
}

// The backoff grows to 30s, because the agents of a large cluster retry together. An endangered pod does not wait so
// long: see below.
func TestAWriteThatFailsIsRetried(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.apiErr = errors.New("connection refused")
	n.touch(nil, slice("other", "lin-1"))
	n.pass()
	n.wait(2 * time.Second)
	n.random = 0
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		g.Expect(n.pass()).To(Equal(wait * time.Second))
		n.wait(wait * time.Second)
	}
	n.random = 1
	g.Expect(n.pass()).To(Equal(45*time.Second), "spread by half")
	n.wait(45 * time.Second)
	n.apiErr = nil
	g.Expect(n.pass()).To(BeZero())
	g.Expect(n.writes()).To(BeEquivalentTo(1))
	g.Expect(n.count("failed")).To(BeEquivalentTo(8))

	n.echo()
	n.apiErr = errors.New("connection refused")
	n.random = 0
	n.lose(v4)
	n.wait(time.Second)
	g.Expect(n.pass()).To(Equal(time.Second), "after a success the backoff starts over")
}

func TestForAnEndangeredPodAFailedWriteIsRetriedSoon(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.apiErr = errors.New("connection refused")
	n.random = 0
	n.lose(v4)
	n.locals = []netip.Addr{v4}
	for _, wait := range []time.Duration{1, 2, 2, 2, 2} {
		g.Expect(n.pass()).To(Equal(wait * time.Second))
		n.wait(wait * time.Second)
	}
	n.locals = nil
	g.Expect(n.pass()).To(Equal(14*time.Second-time.Millisecond), "the rest of 16s: no pod is in danger any more")
}

// Otherwise every agent sent 452 requests an hour.
func TestAForbiddenWriteIsRarelyRetried(t *testing.T) {
	for name, random := range map[string]float64{"no jitter": 0, "half of the spread": halfOfSpread, "most jitter": 1} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := began(t)
			n.random = random
			n.apiErr = apierrors.NewForbidden(discoveryv1.Resource("endpointslices"), "hnsguard-flush-ipv4", errors.New("RBAC"))
			n.requests = 0
			for end := n.clock.Now().Add(time.Hour); n.clock.Now().Before(end); n.wait(time.Second) {
				if n.clock.Now().Second() == 0 { // losses continue, and each of them is a change that flushes the one before
					n.drop(v4)
				}
				n.pass()
			}
			t.Logf("%d requests in the first hour", n.requests)
			g.Expect(n.requests).To(And(BeNumerically("<", 12), BeNumerically(">", 5)))
			n.apiErr = nil
			n.locals = []netip.Addr{v4}
			n.wait(15 * time.Minute)
			n.pass()
			g.Expect(n.count("forbidden")).To(BeEquivalentTo(n.requests - 1))
			g.Expect(n.writes()).To(BeEquivalentTo(2), "it recovers by itself")
		})
	}
}

func TestOfAForbiddenWriteTheEndangeredPodHasNothing(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.random = 0
	n.apiErr = apierrors.NewForbidden(discoveryv1.Resource("endpointslices"), "hnsguard-flush-ipv4", errors.New("RBAC"))
	n.lose(v4)
	n.locals = []netip.Addr{v4}
	g.Expect(n.pass()).To(Equal(10*time.Second), "retrying sooner does not help")
}

// An address that is proved to be forgotten was removed by this agent, or does not matter.
func TestTheLossOfAForgottenAddressNeedsNoFlush(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.record = verdict.Record{KnownIPv4: true, Dropped: sets.New(netip.MustParseAddr("10.240.0.12"))}
	n.lose(v4)
	g.Expect(n.pass()).To(BeZero())
	n.wait(time.Minute)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(1))

	other := netip.MustParseAddr("10.240.0.12")
	n.lose(other)
	g.Expect(n.pass()).To(BeNumerically("~", 2*time.Second, 2*time.Millisecond))
}

func TestARequestWhileAPodWaitsIsSpreadToo(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.waiting = true
	n.flusher.Request(cluster.FamilyOf(v4))
	g.Expect(n.pass()).To(BeNumerically("~", 500*time.Millisecond, 2*time.Millisecond))
}

func TestRequest(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.flusher.Request(cluster.FamilyOf(v4), v4)
	g.Expect(n.pass()).To(BeNumerically("~", 2500*time.Millisecond, 2*time.Millisecond))
	n.wait(2000 * time.Millisecond)
	n.flusher.Request(cluster.FamilyOf(v4), v4)
	g.Expect(n.pass()).To(BeNumerically("<", 500*time.Millisecond), "a second request does not delay the first")
	n.wait(500 * time.Millisecond)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2))

	n.flusher.Request(cluster.FamilyOf(v6), v6)
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.own(discoveryv1.AddressTypeIPv6)).NotTo(BeNil(), "of the address's family")
}

func TestARequestForAnAddressThatAPodHasIsFlushedAfterItHasSettled(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.locals = []netip.Addr{v4}
	n.lose(netip.MustParseAddr("10.240.0.12"))
	n.flusher.Request(cluster.FamilyOf(v4), v4) // while another loss is pending
	n.wait(time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2))
}

func TestAKubeProxyWithoutTheFaultNeedsNoFlush(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.profile = sound
	n.touch(slice("cart", "lin-1", v4), slice("cart", "lin-1"))
	n.pass()
	n.remotes = []netip.Addr{v4}
	n.pass()
	n.remotes = nil
	g.Expect(n.pass()).To(BeZero())
	n.wait(time.Minute)
	n.pass()
	g.Expect(n.writes()).To(BeZero())

	n.profile = kubeproxy.ProfileOf("") // and an unknown one is not
	n.remotes = []netip.Addr{v4}
	n.pass()
	n.remotes = nil
	g.Expect(n.pass()).To(BeNumerically("~", 2*time.Second, 2*time.Millisecond))
}

func TestObservingWritesNothing(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(o *stalerecord.FlusherOptions) { o.Enforce = false })
	n.touch(nil, slice("other", "lin-1"))
	n.pass()
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.count("observed")).To(BeEquivalentTo(1))
	n.pass()
	g.Expect(n.count("observed")).To(BeEquivalentTo(1), "once for each time")
	g.Expect(n.own(discoveryv1.AddressTypeIPv4)).To(BeNil())
}

// Invariant 11: a proof requests a flush in every pass until a slice changes.
func TestObservingReportsAFlushOnceForEachRecord(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(o *stalerecord.FlusherOptions) { o.Enforce = false })
	n.touch(nil, slice("other", "lin-1"))
	request := func() float64 {
		for range 10 {
			n.flusher.Request(cluster.FamilyOf(v4), v4)
			n.wait(2 * time.Second)
			n.pass()
		}
		return n.count("observed")
	}
	g.Expect(request()).To(BeEquivalentTo(1))
	n.touch(slice("other", "lin-1"), slice("other", "lin-1", v4)) // the record may be another one now
	g.Expect(request()).To(BeEquivalentTo(2))
	n.drop(v4)
	g.Expect(request()).To(BeEquivalentTo(3))
}

func TestEachFamilyHasItsOwnRecord(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.lose(v6)
	n.wait(1500 * time.Millisecond)
	n.touch(nil, slice("x", "lin-1")) // of IPv4
	n.wait(time.Second)
	n.pass()
	g.Expect(n.own(discoveryv1.AddressTypeIPv6).Endpoints).To(ConsistOf(HaveField("Addresses", ConsistOf("2001:db8:0:1::2"))))
	g.Expect(n.own(discoveryv1.AddressTypeIPv6).AddressType).To(Equal(discoveryv1.AddressTypeIPv6))
}

func TestAddressesOfThisNodeDoNotCount(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.touch(slice("cart", nodeName, v4), slice("cart", nodeName))
	g.Expect(n.pass()).To(BeZero(), "kube-proxy records only what was elsewhere")
}

func TestMetricsAreLinted(t *testing.T) {
	NewWithT(t).Expect(testutil.GatherAndLint(newNode(t).metrics)).To(BeEmpty())
}
