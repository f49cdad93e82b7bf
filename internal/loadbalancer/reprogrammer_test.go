// SPDX-License-Identifier: Apache-2.0

package loadbalancer_test

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// node is a node with a reprogrammer, and an API server that can fail.
type node struct {
	t            *testing.T
	reprogrammer *loadbalancer.Reprogrammer
	index        *cluster.Index
	api          client.Client
	apiErr       error
	reading      loadbalancer.Reading
	// soon is set if the next reading was requested as soon as possible.
	soon      bool
	endpoints []verdict.Endpoint
	verdicts  []verdict.Verdict
	// hnsVersion is the version of an HNS that does not update in place, unless a test sets another one.
	hnsVersion string
	kubeProxy  string
	asked      int
	gate       *admission.Gate
	events     *events.FakeRecorder
	metrics    *prometheus.Registry
	history    *history.Ring
	clock      *testingclock.FakeClock
}

func newNode(t *testing.T, objects ...client.Object) *node {
	t.Helper()
	n := &node{
		t: t, clock: testingclock.NewFakeClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)), index: cluster.NewIndex("win-1"),
		reading: loadbalancer.Reading{Processed: math.MaxUint64}, kubeProxy: "v1.37.2", hnsVersion: "13.0",
	}
	n.index.ReplaceServices(nil)
	for _, o := range objects {
		switch o := o.(type) {
		case *corev1.Service:
			n.index.SetService(o)
		case *discoveryv1.EndpointSlice:
			n.index.SetSlice(cluster.SliceOf(o))
		}
	}
	n.index.SetSlice(&cluster.Slice{Key: types.NamespacedName{Namespace: "default", Name: "kubernetes"}})
	n.api = interceptor.NewClient(fake.NewClientBuilder().WithObjects(objects...).
		WithIndex(&corev1.Service{}, metav1.ObjectNameField, func(o client.Object) []string {
			return []string{o.GetName()}
		}).Build(), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			n.asked++
			if n.apiErr != nil {
				return n.apiErr
			}
			return c.List(ctx, l, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if n.apiErr != nil {
				return n.apiErr
			}
			if made := o.GetCreationTimestamp(); made.IsZero() {
				o.SetCreationTimestamp(metav1.NewTime(n.clock.Now()))
			}
			return c.Create(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if n.apiErr != nil {
				return n.apiErr
			}
			return c.Delete(ctx, o, opts...)
		},
	})
	n.start(true)
	return n
}

// words returns the words of a node, with or without reprogramming.
func words(enforce bool) report.Words {
	c := config.Default()
	if enforce {
		c.Reprogram.Mode = config.Enforce
	}
	return report.Words{Node: "win-1", Config: c, KubeProxy: func() kubeproxy.Profile { return kubeproxy.Profile{} }}
}

// start starts a new process.
func (n *node) start(enforce bool) {
	n.reading.LoadBalancers = nil
	n.events, n.metrics = events.NewFakeRecorder(100), prometheus.NewPedanticRegistry()
	n.history = history.NewRing(history.Options{Clock: n.clock})
	n.reprogrammer = loadbalancer.NewReprogrammer(loadbalancer.ReprogrammerOptions{
		Node: "win-1", Enforce: enforce, LoadBalancers: n, Index: n.index, Server: n.api, Client: n.api, Gate: n.gate,
		Events: n.events, History: n.history, Metrics: loadbalancer.NewMetrics(n.metrics), Clock: n.clock,
		HNSVersion: func(context.Context) (string, error) {
			if n.hnsVersion == "" {
				return "", errors.New("no answer")
			}
			return n.hnsVersion, nil
		},
		Describe: words(enforce).Balancer,
	})
}

// pass makes a reading with these load balancers and runs a pass; twice if they are new.
func (n *node) pass(lbs ...hns.LoadBalancer) time.Duration {
	n.t.Helper()
	if !slices.EqualFunc(lbs, n.reading.LoadBalancers, func(a, b hns.LoadBalancer) bool { return a.ID == b.ID }) ||
		n.reading.Begun.IsZero() {
		n.read(lbs...)
	}
	return n.read(lbs...)
}

// read makes one reading, and a pass after it.
func (n *node) read(lbs ...hns.LoadBalancer) time.Duration {
	n.t.Helper()
	n.reading.LoadBalancers, n.reading.Begun = lbs, n.reading.Begun.Add(1)
	if n.clock.Now().After(n.reading.Begun) {
		n.reading.Begun = n.clock.Now()
	}
	n.soon = false
	snapshot := verdict.Snapshot{Network: hns.Network{ID: "pods"}, Endpoints: n.endpoints}
	return n.reprogrammer.Run(n.t.Context(), pass.Pass{
		Evidence: verdict.Evidence{
			Snapshot: snapshot, Cluster: n.index.View(nil), KubeProxy: kubeproxy.ProfileOf(n.kubeProxy),
		}, Verdicts: n.verdicts,
	})
}

// Reading and ReadSoon implement loadbalancer.LoadBalancers.
func (n *node) Reading() loadbalancer.Reading { return n.reading }

func (n *node) ReadSoon(first bool) { n.soon = first }

func (n *node) slices() []discoveryv1.EndpointSlice {
	n.t.Helper()
	var all discoveryv1.EndpointSliceList
	before := n.apiErr
	n.apiErr = nil
	defer func() { n.apiErr = before }()
	if err := n.api.List(n.t.Context(), &all); err != nil {
		n.t.Fatal(err)
	}
	n.asked--
	return all.Items
}

// count returns the counter of a result, or the number of load balancers with a verdict.
func (n *node) count(of string) float64 {
	n.t.Helper()
	if _, counts := n.reprogrammer.Found(); slices.Contains(verdict.BalancerKinds(), verdict.BalancerKind(of)) {
		return float64(counts[verdict.BalancerKind(of)])
	}
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == of {
				return m.GetCounter().GetValue()
			}
		}
	}
	n.t.Fatalf("no series %s", of)
	return 0
}

func serviceWith(name, clusterIP string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "1"},
		Spec: corev1.ServiceSpec{
			ClusterIP: clusterIP, Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
}

// balancerAt returns a load balancer with an endpoint that is gone.
func balancerAt(id hns.LoadBalancerID, vips ...string) hns.LoadBalancer {
	return balancerOf(id, "gone", vips...)
}

func balancerOf(id hns.LoadBalancerID, endpoint hns.EndpointID, vips ...string) hns.LoadBalancer {
	lb := hns.LoadBalancer{
		ID: id, Endpoints: []hns.EndpointID{endpoint}, Ports: []hns.PortMapping{{Protocol: 6, ExternalPort: 80}},
	}
	for _, vip := range vips {
		lb.FrontendVIPs = append(lb.FrontendVIPs, netip.MustParseAddr(vip))
	}
	return lb
}

// cart returns a Service, and its slice with a ready endpoint on another node.
func cart() (*corev1.Service, *discoveryv1.EndpointSlice) {
	return serviceWith("cart", "10.0.0.7"), &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "cart-x1", UID: "2", Labels: map[string]string{discoveryv1.LabelServiceName: "cart"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.2.9"}, NodeName: new("lin-1")}},
	}
}

// remote returns the endpoint that kube-proxy creates for the address.
func remote(addr string) verdict.Endpoint {
	a := netip.MustParseAddr(addr)
	return verdict.Endpoint{Endpoint: hns.Endpoint{
		ID: hns.EndpointID(addr), Network: "pods", Flags: hns.FlagRemote, Addresses: []netip.Addr{a}, MAC: kubeproxy.RemoteMAC(a),
	}}
}

// Invariants 2 and 8.
func TestAMissingLoadBalancerIsReportedAndItsServiceDisturbed(t *testing.T) {
	g := NewWithT(t)
	svc, slice := cart()
	n := newNode(t, svc, slice)
	n.endpoints = []verdict.Endpoint{remote("10.244.2.9")}
	n.reading.Processed = 0
	n.pass()
	g.Expect(n.count("missing")).To(BeZero(), "kube-proxy may not have processed the Service")
	g.Expect(n.soon).To(BeFalse())

	n.reading.Processed = math.MaxUint64
	n.read()
	g.Expect(n.count("missing")).To(BeZero(), "once may be chance")
	g.Expect(n.soon).To(BeTrue(), "the second reading comes soon")
	g.Expect(n.slices()).To(HaveLen(1))
	n.read()
	g.Expect(n.count("missing")).To(BeEquivalentTo(1))
	broken, _ := n.reprogrammer.Found()
	g.Expect(broken).To(HaveLen(1))
	g.Expect(n.events.Events).To(Receive(And(ContainSubstring("Warning LoadBalancerMissing"),
		ContainSubstring("node win-1"), ContainSubstring("10.0.0.7:80/TCP"), ContainSubstring("hnsguard makes kube-proxy program the Service again"))))
	g.Expect(n.count("done")).To(BeEquivalentTo(1))
	g.Expect(n.history.Entries()).To(ContainElement(And(
		HaveField("Result", "done"), HaveField("Subject", "shop/cart"), HaveField("Address", netip.MustParseAddr("10.0.0.7")))))

	n.clock.Step(5 * time.Second)
	n.read(balancerOf("lb", "10.244.2.9", "10.0.0.7")) // kube-proxy has created it
	g.Expect(n.count("missing")).To(BeZero())
	g.Expect(n.count("right")).To(BeEquivalentTo(1))
	g.Expect(n.slices()).To(HaveLen(1), "the slice that disturbs is gone")
	g.Expect(n.events.Events).NotTo(Receive(), "it is reported once")
}

func TestAStaleLoadBalancerIsReportedAndItsServiceDisturbed(t *testing.T) {
	g := NewWithT(t)
	svc, slice := cart()
	n := newNode(t, svc, slice)
	n.hnsVersion = "15.5" // it exists, and can be updated
	n.endpoints = []verdict.Endpoint{remote("10.244.2.9"), remote("10.244.9.9")}
	n.pass(balancerOf("lb", "10.244.9.9", "10.0.0.7"))
	g.Expect(n.count("stale")).To(BeEquivalentTo(1))
	g.Expect(n.count("done")).To(BeEquivalentTo(1))
	g.Expect(n.events.Events).To(Receive(And(ContainSubstring("Warning LoadBalancerStale"),
		ContainSubstring("sends to addresses that no EndpointSlice of the Service lists as ready"))))
}

// Invariant 9. A version that cannot be read may be one that updates in place.
func TestNoMissingOneIsProgrammedAgainWhereItWouldBeUpdatedInPlace(t *testing.T) {
	for _, version := range []string{"15.5", ""} {
		g := NewWithT(t)
		svc, slice := cart()
		n := newNode(t, svc, slice)
		n.hnsVersion = version
		n.endpoints = []verdict.Endpoint{remote("10.244.2.9")}
		n.pass()
		g.Expect(n.count("updates_in_place")).To(BeEquivalentTo(1))
		g.Expect(n.slices()).To(HaveLen(1))
		g.Expect(n.events.Events).To(Receive(ContainSubstring("Restart kube-proxy")))
	}
}

// Invariant 13.
func TestNoServiceIsDisturbedWhoseLoadBalancerKubeProxyMayLoseByIt(t *testing.T) {
	const local, all = corev1.ServiceInternalTrafficPolicyLocal, corev1.ServiceInternalTrafficPolicyCluster
	for _, tc := range []struct {
		version string
		policy  corev1.ServiceInternalTrafficPolicy
		loses   bool
	}{
		{"v1.34.1", local, true}, {"v1.34.1", all, false}, {"v1.34.2", local, false}, {"v1.30.14", all, true}, {"", all, true},
	} {
		g := NewWithT(t)
		svc, slice := cart()
		svc.Spec.InternalTrafficPolicy = &tc.policy
		n := newNode(t, svc, slice)
		n.kubeProxy = tc.version
		n.pass(balancerAt("lb", "10.0.0.7"))
		done, slices := "done", 2
		if tc.loses {
			done, slices = "kube_proxy_loses_it", 1
		}
		g.Expect(n.count(done)).To(BeEquivalentTo(1), "%q, %s", tc.version, tc.policy)
		g.Expect(n.slices()).To(HaveLen(slices), "%q, %s", tc.version, tc.policy)
	}
}

func TestAServiceIsDisturbedForAMoment(t *testing.T) {
	for family, tc := range map[string]struct {
		vip, address string
		kind         discoveryv1.AddressType
	}{
		"IPv4": {"10.0.0.7", "192.0.2.2", discoveryv1.AddressTypeIPv4},
		"IPv6": {"fd00:10::7", "2001:db8::2", discoveryv1.AddressTypeIPv6},
	} {
		t.Run(family, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t, serviceWith("cart", tc.vip), serviceWith("other", "10.0.0.8"))
			n.pass(balancerAt("lb", tc.vip))
			g.Expect(n.slices()).To(ConsistOf(And(
				HaveField("Namespace", "shop"), HaveField("Name", "hnsguard-reprogram-cart"),
				HaveField("Labels", Equal(map[string]string{
					discoveryv1.LabelServiceName: "cart", discoveryv1.LabelManagedBy: "hnsguard-reprogram",
				})),
				HaveField("OwnerReferences", ConsistOf(And(
					HaveField("Kind", "Service"), HaveField("Name", "cart"), HaveField("UID", BeEquivalentTo("1"))))),
				HaveField("AddressType", tc.kind),
				HaveField("Endpoints", ConsistOf(And(
					HaveField("Addresses", ConsistOf(tc.address)),
					HaveField("Conditions.Ready", HaveValue(BeFalse())),
					HaveField("Conditions.Serving", HaveValue(BeFalse())),
				))),
			)))
			g.Expect(n.events.Events).To(Receive(And(
				ContainSubstring("Warning LoadBalancerDangling"), ContainSubstring("node win-1"))))
			g.Expect(n.count("done")).To(BeEquivalentTo(1))
			g.Expect(n.history.Entries()).To(ConsistOf(And(
				HaveField("Act", history.Reprogram), HaveField("Result", "done"), HaveField("Subject", "shop/cart"),
				HaveField("Address", netip.MustParseAddr(tc.vip)))))

			g.Expect(n.pass()).To(Equal(5 * time.Second))
			n.clock.Step(5 * time.Second)
			g.Expect(n.pass()).To(BeZero())
			g.Expect(n.slices()).To(BeEmpty())
		})
	}
}

// Invariant 7.
func TestAttemptsThatDoNotHelpGetRarer(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, serviceWith("cart", "10.0.0.7"))
	var waits []int
	last := 0
	for second := range 2 * 60 * 60 {
		n.pass(balancerAt("lb", "10.0.0.7"))
		if done := int(n.count("done")); done > last {
			last = done
			waits = append(waits, second)
		}
		n.clock.Step(time.Second)
	}
	g.Expect(waits[:4]).To(Equal([]int{0, 30, 90, 210}))
	g.Expect(len(waits)).To(BeNumerically("<", 12))
	g.Expect(n.events.Events).To(HaveLen(1), "it is reported once")
}

func TestObservingOnlyReports(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, serviceWith("cart", "10.0.0.7"))
	n.start(false)
	for range 100 {
		n.pass(balancerAt("lb", "10.0.0.7"))
		n.clock.Step(time.Minute)
	}
	g.Expect(n.slices()).To(BeEmpty())
	g.Expect(n.count("observed")).To(BeEquivalentTo(1))
	g.Expect(n.history.Entries()).To(ConsistOf(HaveField("Result", "observed")))
	g.Expect(n.events.Events).To(Receive(ContainSubstring("Restart kube-proxy")))
	g.Expect(n.asked).To(Equal(1))
}

func TestAnotherAgentWasFirst(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, serviceWith("cart", "10.0.0.7"))
	n.pass(balancerAt("lb", "10.0.0.7"))
	n.start(true)
	n.pass(balancerAt("lb", "10.0.0.7"))
	g.Expect(n.count("done_by_another")).To(BeEquivalentTo(1))
	n.clock.Step(10 * time.Second)
	n.pass()
	g.Expect(n.slices()).To(HaveLen(1), "its maker takes it away")
}

// A slice that another party created, or changed so that hnsguard does not find it, does not belong to another agent.
func TestASliceOfThisNameThatIsNotOwn(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, serviceWith("cart", "10.0.0.7"), &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: loadbalancer.SliceName("cart")},
	})
	n.pass(balancerAt("lb", "10.0.0.7"))
	g.Expect(n.count("failed")).To(BeEquivalentTo(1))
	g.Expect(n.history.Entries()).To(ContainElement(HaveField("Detail", ContainSubstring("delete it"))))
}

// A dry run that succeeds shows that no admission policy is bound.
func TestWithoutAnAdmissionPolicyNoServiceIsDisturbed(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, serviceWith("cart", "10.0.0.7"))
	n.gate = admission.NewGate(admission.Reprogram, admission.NewMetric(prometheus.NewRegistry()), n.clock)
	n.start(true)
	n.pass(balancerAt("lb", "10.0.0.7"))
	g.Expect(n.count("unrestricted")).To(BeEquivalentTo(1))
	var all discoveryv1.EndpointSliceList
	g.Expect(n.api.List(t.Context(), &all)).To(Succeed())
	g.Expect(all.Items).To(BeEmpty())
}

// create adds a slice that another agent or controller has created.
func (n *node) create(name, manager string, made time.Time) {
	n.t.Helper()
	err := n.api.Create(n.t.Context(), &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(made),
		Labels: map[string]string{discoveryv1.LabelManagedBy: manager},
	}})
	if err != nil {
		n.t.Fatal(err)
	}
}

// Invariant 6. The clock of the API server may differ from the node's.
func TestWhatAStoppedAgentLeftBehindIsDeleted(t *testing.T) {
	for name, skew := range map[string]time.Duration{"same clock": 0, "ahead": 2 * time.Hour, "behind": -2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t, serviceWith("cart", "10.0.0.7"))
			n.create("old", loadbalancer.ManagedBy, n.clock.Now().Add(skew))
			n.create("foreign", "endpointslice-controller.k8s.io", n.clock.Now().Add(skew-time.Hour))
			n.apiErr = errors.New("connection refused")
			n.pass()
			n.apiErr = nil
			n.clock.Step(10 * time.Second)
			n.pass()
			g.Expect(n.slices()).To(HaveLen(2), "an agent may have made it a moment ago")
			n.clock.Step(50 * time.Second)
			n.create("new", loadbalancer.ManagedBy, n.clock.Now().Add(skew))
			n.clock.Step(10 * time.Second)
			n.pass()
			g.Expect(n.slices()).To(ConsistOf(HaveField("Name", "new"), HaveField("Name", "foreign")))
			g.Expect(n.api.Delete(t.Context(), &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: "new",
			}})).To(Succeed())
			n.clock.Step(time.Minute)
			n.pass()
			asked := n.asked
			n.clock.Step(time.Hour)
			n.pass()
			g.Expect(n.asked).To(Equal(asked), "there is none left to look for")
		})
	}
}

// Invariant 6: a slice that is in the way makes the agent look for slices that were left behind.
func TestAnAbandonedSliceDoesNotBlockItsService(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, serviceWith("cart", "10.0.0.7"))
	n.pass()
	n.create(loadbalancer.SliceName("cart"), loadbalancer.ManagedBy, n.clock.Now())
	for range 30 {
		n.clock.Step(10 * time.Second)
		n.pass(balancerAt("lb", "10.0.0.7"))
	}
	g.Expect(n.count("done_by_another")).To(BeNumerically(">", 0))
	g.Expect(n.count("done")).To(BeNumerically(">", 0))
}

// Invariant 10: each disturbance reaches all Windows nodes.
func TestManyDanglingOnesAreOnlyReported(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	var many []hns.LoadBalancer
	for i := range byte(40) {
		vip := netip.AddrFrom4([4]byte{10, 0, 1, i}).String()
		g.Expect(n.api.Create(t.Context(), serviceWith(vip, vip))).To(Succeed())
		n.index.SetService(serviceWith(vip, vip))
		many = append(many, balancerAt(hns.LoadBalancerID(vip), vip))
	}
	for range 60 {
		n.pass(many...)
		n.clock.Step(time.Second)
	}
	g.Expect(n.slices()).To(BeEmpty())
	g.Expect(n.count("too_many")).To(BeNumerically(">=", 40))
	g.Expect(n.events.Events).To(HaveLen(40))
	g.Expect(n.events.Events).To(Receive(ContainSubstring("Restart kube-proxy")))
	n.clock.Step(time.Hour)
	n.pass(many[:10]...)
	g.Expect(n.slices()).NotTo(BeEmpty(), "so few are their Services' problem")
}

// Invariant 12.
func TestBesideALeakedLocalEndpointNoServiceIsDisturbed(t *testing.T) {
	g := NewWithT(t)
	svc, slice := cart()
	n := newNode(t, svc, slice)
	leak := verdict.Endpoint{Endpoint: hns.Endpoint{
		ID: "leaked", Network: "pods", Addresses: []netip.Addr{netip.MustParseAddr("10.244.2.9")},
	}}
	n.endpoints = []verdict.Endpoint{leak}
	n.verdicts = []verdict.Verdict{{Kind: verdict.Local, Reason: verdict.ReasonLocalLeaked, Endpoint: leak.Endpoint}}
	n.pass(balancerAt("lb", "10.0.0.7"))
	g.Expect(n.slices()).To(HaveLen(1), "kube-proxy would build the load balancer on the leaked endpoint")
	g.Expect(n.count("leaked_local")).To(BeEquivalentTo(1))
	g.Expect(n.events.Events).To(Receive(ContainSubstring("HNSGuardLeakedLocalEndpoints")))

	n.clock.Step(time.Hour)
	leak.Addresses[0] = netip.MustParseAddr("10.244.2.10") // it belongs to another Service
	n.pass(balancerAt("lb", "10.0.0.7"))
	g.Expect(n.slices()).To(HaveLen(2))

	n.clock.Step(time.Hour)
	leak.Addresses[0] = netip.MustParseAddr("10.244.2.9")
	n.pass(balancerOf("on leak", "leaked", "10.0.0.7"))
	g.Expect(n.count("on_leaked_local")).To(BeEquivalentTo(1))
	g.Expect(n.slices()).To(HaveLen(1), "to program it again does not help")
}

func TestFailuresAreTriedAgain(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, serviceWith("cart", "10.0.0.7"))
	n.pass()
	n.apiErr = errors.New("connection refused")
	n.pass(balancerAt("lb", "10.0.0.7"))
	g.Expect(n.count("unknown_service")).To(BeEquivalentTo(1))
	g.Expect(n.history.Entries()).To(ConsistOf(And(HaveField("Result", "unknown_service"),
		HaveField("Detail", ContainSubstring("connection refused")))))
	n.apiErr = nil
	n.pass(balancerAt("lb", "10.0.0.7"))
	g.Expect(n.slices()).To(BeEmpty(), "not at once")
	n.clock.Step(31 * time.Second)
	n.pass(balancerAt("lb", "10.0.0.7"))
	g.Expect(n.slices()).To(HaveLen(1))
	n.apiErr = errors.New("connection refused")
	n.clock.Step(5 * time.Second)
	n.pass()
	g.Expect(n.slices()).To(HaveLen(1))
	n.apiErr = nil
	n.pass()
	g.Expect(n.slices()).To(HaveLen(1), "a delete is not tried again at once")
	n.clock.Step(31 * time.Second)
	n.pass()
	g.Expect(n.slices()).To(BeEmpty())
}

func TestLoadBalancersOfNoService(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, serviceWith("cart", "10.0.0.7"))
	n.pass(balancerAt("node port"), balancerAt("external", "203.0.113.1"))
	g.Expect(n.count("dangling")).To(BeEquivalentTo(2))
	g.Expect(n.asked).To(BeEquivalentTo(1), "it looks only for what a stopped agent has left behind")
	g.Expect(n.slices()).To(BeEmpty())
}

func TestAPassDoesNotWaitForManyAnswers(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	var many []hns.LoadBalancer
	for i := range byte(100) {
		vip := netip.AddrFrom4([4]byte{10, 0, 1, i}).String()
		n.index.SetService(serviceWith(vip, vip))
		many = append(many, balancerAt(hns.LoadBalancerID(string(rune('a'+i))), vip))
	}
	n.pass()
	n.asked = 0
	n.pass(many...)
	g.Expect(n.asked).To(Equal(4))
	n.pass(many...)
	g.Expect(n.asked).To(Equal(8), "the others have their turn")
}

func TestMetricsAreLinted(t *testing.T) {
	NewWithT(t).Expect(testutil.GatherAndLint(newNode(t).metrics)).To(BeEmpty())
}
