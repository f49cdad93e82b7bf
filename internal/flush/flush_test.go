// SPDX-License-Identifier: Apache-2.0

package flush_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hnsguard/hnsguard/internal/flush"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

const (
	nodeName  = "win-1"
	namespace = "hnsguard"
)

var (
	v4 = netip.MustParseAddr("10.240.0.11")
	v6 = netip.MustParseAddr("fd00::11")
)

// node is a node with a flusher; time passes only when the test says so, and every wait is half as long as it may be.
type node struct {
	t       *testing.T
	flusher *flush.Flusher
	api     client.Client
	apiErr  error
	clock   *testingclock.FakePassiveClock
	metrics *prometheus.Registry
	profile kubeproxy.Profile
	remotes []netip.Addr
	// waiting says that a pod of the node waits for its address.
	waiting bool
}

func newNode(t *testing.T, change ...func(*flush.Options)) *node {
	t.Helper()
	n := &node{
		t: t, clock: testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)),
		metrics: prometheus.NewPedanticRegistry(), profile: kubeproxy.ProfileOf("v1.32.3"),
	}
	fail := func() error { return n.apiErr }
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
	o := flush.Options{
		Node: nodeName, Namespace: namespace, Enforce: true, Client: n.api, Settle: time.Second, Spread: 2 * time.Second,
		Random: func() float64 { return 0.5 }, Metrics: flush.NewMetrics(n.metrics), Clock: n.clock,
	}
	for _, c := range change {
		c(&o)
	}
	n.flusher = flush.New(o)
	return n
}

// began is a node whose first, unconditional flush is over.
func began(t *testing.T) *node {
	t.Helper()
	n := newNode(t)
	n.flusher.Changed(nil, slice("other", "lin-1"))
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

// pass takes a snapshot; a moment passes with it.
func (n *node) pass() time.Duration {
	n.t.Helper()
	n.wait(time.Millisecond)
	snapshot := inventory.Snapshot{Taken: n.clock.Now(), Network: hns.Network{ID: "net"}}
	for _, addr := range n.remotes {
		snapshot.Endpoints = append(snapshot.Endpoints, inventory.Endpoint{Endpoint: hns.Endpoint{
			ID: hns.EndpointID("ep-" + addr.String()), Network: "net", Addresses: []netip.Addr{addr}, Flags: hns.FlagRemote,
			MAC: kubeproxy.RemoteMAC(addr),
		}})
	}
	return n.flusher.Pass(n.t.Context(), snapshot, n.profile, n.waiting)
}

// lose lets kube-proxy make a remote endpoint and delete it again; hnsguard sees both.
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
	err := n.api.Get(n.t.Context(), client.ObjectKey{Namespace: namespace, Name: flush.SliceName(kind)}, &s)
	if err != nil {
		return nil
	}
	return &s
}

// echo is the watch delivering the flusher's own last write.
func (n *node) echo() { n.flusher.Changed(nil, n.own(discoveryv1.AddressTypeIPv4)) }

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
	n.flusher.Changed(nil, slice("other", "lin-1"))
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
	g.Expect(s.Endpoints).To(ConsistOf(HaveField("Addresses", ConsistOf("192.0.2.1"))))
	g.Expect(s.Ports).To(ConsistOf(HaveField("Port", HaveValue(BeEquivalentTo(1)))))
	g.Expect(n.own(discoveryv1.AddressTypeIPv6)).To(BeNil(), "there is no such family in this cluster")
}

func TestTheLossOfAnEndpointIsFlushedOnce(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.remotes = []netip.Addr{v4}
	n.pass()
	n.remotes = nil
	g.Expect(n.pass()).To(Equal(2 * time.Second))
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2))
	g.Expect(n.own(discoveryv1.AddressTypeIPv4).Ports).To(ConsistOf(HaveField("Port", HaveValue(BeEquivalentTo(2)))))
	n.echo()
	n.wait(time.Hour)
	g.Expect(n.pass()).To(BeZero())
	g.Expect(n.writes()).To(BeEquivalentTo(2))
}

// kube-proxy records what slices lose even if it never made an endpoint for it, which HNS does not show.
func TestTheLossOfAnAddressWithoutEndpointIsFlushedToo(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.flusher.Changed(slice("cart", "lin-1", v4), slice("cart", "lin-1"))
	g.Expect(n.pass()).To(Equal(2 * time.Second))
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2))
}

// Invariant 2: as long as the endpoint is there, kube-proxy has not processed the loss.
func TestItWaitsForKubeProxyToProcessTheLoss(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.remotes = []netip.Addr{v4}
	n.pass()
	n.flusher.Changed(slice("cart", "lin-1", v4), slice("cart", "lin-1"))
	g.Expect(n.pass()).To(Equal(250*time.Millisecond), "it watches closely")
	n.wait(10 * time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(1))
	n.remotes = nil
	g.Expect(n.pass()).To(Equal(2 * time.Second))
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2))
}

// A pod that waits for its address may get one that kube-proxy remembers within a second.
func TestAWaitingPodMakesItUrgent(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.lose(v4)
	g.Expect(n.writes()).To(BeEquivalentTo(1), "there is time for somebody else to be first")
	n.waiting = true
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2))
	n.echo()

	n.flusher.Changed(slice("cart", "lin-1", v4), slice("cart", "lin-1")) // of which HNS shows nothing
	g.Expect(n.pass()).To(Equal(time.Second), "kube-proxy may not have taken it in yet")
	n.lose(netip.MustParseAddr("10.240.0.12"))
	g.Expect(n.writes()).To(BeEquivalentTo(2), "neither when another is known to be")
	n.wait(time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(3))
}

// When HNS shows that kube-proxy has taken in the loss, nothing has to be waited for.
func TestTheLossOfAnEndpointIsFlushedAtOnceIfUrgent(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.waiting = true
	n.remotes = []netip.Addr{v4}
	n.pass()
	n.flusher.Changed(slice("cart", "lin-1", v4), slice("cart", "lin-1"))
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(1), "the endpoint is still there")
	n.remotes = nil
	g.Expect(n.pass()).To(BeZero())
	g.Expect(n.writes()).To(BeEquivalentTo(2))
}

func TestALeakedEndpointIsNotWaitedForForEver(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.remotes = []netip.Addr{v4}
	n.pass()
	n.flusher.Changed(slice("cart", "lin-1", v4), slice("cart", "lin-1"))
	n.wait(2 * time.Minute)
	n.pass()
	g.Expect(n.pass()).To(BeZero())
}

// Invariant 3.
func TestSomebodyElsesChangeSuffices(t *testing.T) {
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

func (n *node) touch(before, after *discoveryv1.EndpointSlice) { n.flusher.Changed(before, after) }

func withPort(s *discoveryv1.EndpointSlice, port int32) *discoveryv1.EndpointSlice {
	s.Ports = []discoveryv1.EndpointPort{{Port: &port}}
	return s
}

func flushed(port int32) *discoveryv1.EndpointSlice { return withPort(slice("elsewhere", ""), port) }

func foreign(port int32) *discoveryv1.EndpointSlice {
	s := flushed(port)
	s.Labels[flush.LabelServiceProxyName] = "other"
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

// Two agents that write at the same time meet in the resource version.
func TestTheSecondOfTwoWritersLetsBe(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.lose(v4)
	other := n.own(discoveryv1.AddressTypeIPv4) // somebody else writes first, and nobody has told us yet
	other.Ports[0].Port = new(int32(2))
	g.Expect(n.api.Update(t.Context(), other)).To(Succeed())
	n.wait(2 * time.Second)
	g.Expect(n.pass()).To(Equal(2*time.Second), "it will try again, unless it hears of the other's")
	g.Expect(n.count("conflict")).To(BeEquivalentTo(1))
	n.touch(flushedOwn(1), n.own(discoveryv1.AddressTypeIPv4))
	g.Expect(n.pass()).To(BeZero())
	n.wait(time.Minute)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(1))
}

func flushedOwn(port int32) *discoveryv1.EndpointSlice {
	s := withPort(slice("hnsguard-flush", ""), port)
	s.Namespace, s.Name = namespace, flush.SliceName(discoveryv1.AddressTypeIPv4)
	return s
}

func TestASliceThatSomebodyDeletedIsMadeAgain(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	own := n.own(discoveryv1.AddressTypeIPv4)
	g.Expect(n.api.Delete(t.Context(), own)).To(Succeed())
	n.lose(v4)
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.count("conflict")).To(BeEquivalentTo(1))
	n.touch(own, nil) // the watch tells; the deletion is a change that kube-proxy processes
	n.wait(2 * time.Second)
	g.Expect(n.pass()).To(BeZero())
	n.lose(v4)
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.own(discoveryv1.AddressTypeIPv4)).NotTo(BeNil())
}

func TestAWriteThatFailsIsTriedAgain(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.apiErr = errors.New("connection refused")
	n.touch(nil, slice("other", "lin-1"))
	n.pass()
	n.wait(2 * time.Second)
	for _, wait := range []time.Duration{1, 2, 4, 8, 8} {
		g.Expect(n.pass()).To(Equal(wait * time.Second))
		n.wait(wait * time.Second)
	}
	n.apiErr = nil
	g.Expect(n.pass()).To(BeZero())
	g.Expect(n.writes()).To(BeEquivalentTo(1))
	g.Expect(n.count("failed")).To(BeEquivalentTo(5))
}

func TestAGoodKubeProxyIsLeftAlone(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.profile = kubeproxy.ProfileOf("v1.34.0")
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
	g.Expect(n.pass()).To(Equal(2 * time.Second))
}

func TestObservingWritesNothing(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(o *flush.Options) { o.Enforce = false })
	n.touch(nil, slice("other", "lin-1"))
	n.pass()
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.count("observed")).To(BeEquivalentTo(1))
	g.Expect(n.own(discoveryv1.AddressTypeIPv4)).To(BeNil())
}

func TestEachFamilyHasItsOwnRecord(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.lose(v6)
	n.wait(1500 * time.Millisecond)
	n.touch(nil, slice("x", "lin-1")) // of IPv4
	n.wait(time.Second)
	n.pass()
	g.Expect(n.own(discoveryv1.AddressTypeIPv6).Endpoints).To(ConsistOf(HaveField("Addresses", ConsistOf("2001:db8::1"))))
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
