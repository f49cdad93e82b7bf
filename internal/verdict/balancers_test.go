// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"pgregory.net/rapid"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// balanced is a node with Services.
type balanced struct {
	services  []*corev1.Service
	slices    []*discoveryv1.EndpointSlice
	endpoints []verdict.Endpoint
	balancers []hns.LoadBalancer
	leaked    sets.Set[hns.EndpointID]
	obscured  sets.Set[hns.EndpointID]
	unknown   bool
	// changed are the Services that kube-proxy may not have processed.
	changed   sets.Set[string]
	kubeProxy bool
}

func (n balanced) judge() []verdict.Balancer {
	index := cluster.NewIndex(node)
	for _, s := range n.slices {
		index.SetSlice(cluster.SliceOf(s))
	}
	index.ReplaceServices(n.services)
	e := verdict.BalancerEvidence{
		Node: node, Leaked: n.leaked, Obscured: n.obscured, Backings: index.Backings(), ServicesKnown: !n.unknown,
		Processed: math.MaxUint64 - 1, KubeProxy: n.kubeProxy,
		Snapshot: verdict.Snapshot{
			Network: hns.Network{ID: podNet}, Endpoints: n.endpoints, LoadBalancers: n.balancers, LoadBalancersKnown: true,
		},
	}
	for i, b := range e.Backings {
		if n.changed.Has(b.Key.Name) {
			e.Backings[i].Revision = math.MaxUint64
		}
	}
	return verdict.JudgeBalancers(e)
}

// program makes kube-proxy sync on the node.
func (n *balanced) program(noDSR, reverse bool, families ...corev1.IPFamily) {
	for _, f := range families {
		p := proxier{
			family: f, node: node, services: n.services, slices: n.slices, endpoints: n.endpoints, noDSR: noDSR,
			reverse: reverse,
		}
		p.sync()
		n.endpoints, n.balancers = p.endpoints, append(n.balancers, p.made...)
	}
}

// shop returns a node with one Service that has a local and a remote backend, and its load balancer.
func shop() balanced {
	n := balanced{
		services:  []*corev1.Service{aService("cart", "10.0.0.7")},
		slices:    []*discoveryv1.EndpointSlice{aSliceOf("cart", listed("10.240.0.70", node), listed("10.240.1.7", "lin-1"))},
		endpoints: []verdict.Endpoint{aLocal("10.240.0.70")},
	}
	n.program(false, false, corev1.IPv4Protocol)
	return n
}

func aService(name, vip string) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	s.Spec.ClusterIP, s.Spec.ClusterIPs = vip, []string{vip}
	s.Spec.Ports = []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}}
	return s
}

func aSliceOf(service string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: service + "-x1", Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints,
		Ports: []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
	}
}

func listed(addr, node string) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{addr}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
	}
}

func aLocal(addr string) verdict.Endpoint {
	return verdict.Endpoint{Endpoint: hns.Endpoint{
		ID: hns.EndpointID("local-" + addr), Network: podNet, Namespace: "ns",
		Addresses: []netip.Addr{netip.MustParseAddr(addr)},
	}}
}

func aRemote(addr string) verdict.Endpoint {
	a := netip.MustParseAddr(addr)
	return verdict.Endpoint{Endpoint: hns.Endpoint{
		ID: hns.EndpointID("remote-" + addr), Network: podNet, Addresses: []netip.Addr{a}, MAC: kubeproxy.RemoteMAC(a),
		Flags: hns.FlagRemote,
	}}
}

func addrs(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func TestLoadBalancers(t *testing.T) {
	frontend := verdict.Frontend{VIP: netip.MustParseAddr("10.0.0.7"), Protocol: 6, Port: 80}
	cart := types.NamespacedName{Namespace: "shop", Name: "cart"}
	is := func(kind verdict.BalancerKind) verdict.Balancer {
		return verdict.Balancer{Kind: kind, ID: "IPv4-10.0.0.7-TCP-80", Frontend: frontend, Service: cart}
	}
	stale := func(dead, lacking []netip.Addr) verdict.Balancer {
		b := is(verdict.BalancerStale)
		b.Dead, b.Lacking = dead, lacking
		return b
	}
	missing := is(verdict.BalancerMissing)
	missing.ID, missing.Lacking = "", addrs("10.240.0.70", "10.240.1.7")
	gone := func(n *balanced) { n.balancers = nil }
	for name, tc := range map[string]struct {
		change func(*balanced)
		want   []verdict.Balancer
	}{
		"right": {func(*balanced) {}, []verdict.Balancer{is(verdict.BalancerRight)}},
		"an endpoint is gone": {func(n *balanced) { n.endpoints = n.endpoints[1:] }, []verdict.Balancer{{
			Kind: verdict.BalancerDangling, ID: "IPv4-10.0.0.7-TCP-80", Frontend: frontend, Service: cart,
			Gone: []hns.EndpointID{"local-10.240.0.70"},
		}}},
		"an endpoint is gone, and Services are unknown": {func(n *balanced) {
			n.endpoints, n.unknown = n.endpoints[1:], true
		}, []verdict.Balancer{{
			Kind: verdict.BalancerDangling, ID: "IPv4-10.0.0.7-TCP-80", Frontend: frontend,
			Gone: []hns.EndpointID{"local-10.240.0.70"},
		}}},
		"a backend is listed no more": {
			func(n *balanced) { n.slices[0].Endpoints = n.slices[0].Endpoints[:1] },
			[]verdict.Balancer{stale(addrs("10.240.1.7"), nil)},
		},
		"a backend is not ready": {
			func(n *balanced) { n.slices[0].Endpoints[1].Conditions.Ready = new(false) },
			[]verdict.Balancer{stale(addrs("10.240.1.7"), nil)},
		},
		"a backend lacks": {
			func(n *balanced) { n.balancers[0].Endpoints = n.balancers[0].Endpoints[:1] },
			[]verdict.Balancer{stale(nil, addrs("10.240.1.7"))},
		},
		"no backend is left": {
			func(n *balanced) { n.slices = nil },
			[]verdict.Balancer{stale(addrs("10.240.0.70", "10.240.1.7"), nil)},
		},
		"only a slice of hnsguard lists a backend": {func(n *balanced) {
			keep := aSliceOf("cart", n.slices[0].Endpoints[1])
			keep.Name, keep.Labels[discoveryv1.LabelManagedBy] = "keep", "hnsguard-keep"
			n.slices[0].Endpoints = n.slices[0].Endpoints[:1]
			n.slices = append(n.slices, keep)
		}, []verdict.Balancer{stale(addrs("10.240.1.7"), nil)}},
		"a backend was left behind": {func(n *balanced) {
			n.slices[0].Endpoints[0].NodeName = new("lin-2")
			n.leaked = sets.New[hns.EndpointID]("local-10.240.0.70")
		}, []verdict.Balancer{{
			Kind: verdict.BalancerOnLeakedLocal, ID: "IPv4-10.0.0.7-TCP-80", Frontend: frontend, Service: cart,
			BesideLeak: true,
		}}},
		"it was never made": {gone, []verdict.Balancer{missing}},
		"it was never made, nor any endpoint, by a kube-proxy that runs": {func(n *balanced) {
			n.balancers, n.endpoints, n.kubeProxy = nil, n.endpoints[:1], true
		}, []verdict.Balancer{missing}},
		"kube-proxy may not run here": {func(n *balanced) { n.balancers, n.endpoints = nil, n.endpoints[:1] }, nil},
		"the family of kube-proxy is unknown": {func(n *balanced) {
			n.balancers, n.endpoints, n.kubeProxy = nil, []verdict.Endpoint{aLocal("10.240.0.70"), aLocal("fd00::70")}, true
		}, nil},
		"its Service changed just now":                 {func(n *balanced) { n.changed = sets.New("cart") }, []verdict.Balancer{is(verdict.BalancerUnknown)}},
		"it is gone, and its Service changed just now": {func(n *balanced) { n.balancers, n.changed = nil, sets.New("cart") }, nil},
		"it is gone, and Services are unknown":         {func(n *balanced) { n.balancers, n.unknown = nil, true }, nil},
		"the addresses of a backend are unknown": {func(n *balanced) {
			n.obscured, n.slices = sets.New[hns.EndpointID]("local-10.240.0.70"), nil
		}, []verdict.Balancer{is(verdict.BalancerUnknown)}},
		"another proxy programs the Service": {func(n *balanced) {
			n.services[0].Labels = map[string]string{cluster.LabelServiceProxyName: "other"}
			n.balancers = nil
		}, nil},
		"a Service without a cluster IP": {func(n *balanced) {
			n.services[0].Spec.ClusterIP, n.services[0].Spec.ClusterIPs = "None", []string{"None"}
			n.balancers = nil
		}, nil},
		"no Service has its frontend": {func(n *balanced) { n.services[0].Spec.Ports[0].Port = 81 }, []verdict.Balancer{
			{Kind: verdict.BalancerForeign, ID: "IPv4-10.0.0.7-TCP-80", Frontend: frontend},
			{
				Kind: verdict.BalancerMissing, Service: cart, Lacking: missing.Lacking,
				Frontend: verdict.Frontend{VIP: frontend.VIP, Protocol: 6, Port: 81},
			},
		}},
		"a slice with another port": {func(n *balanced) {
			n.slices[0].Ports[0].Name = new("other")
			n.balancers = nil
		}, nil},
		"only a backend in the host's network": {func(n *balanced) {
			n.slices[0].Endpoints = []discoveryv1.Endpoint{listed("10.240.0.4", node)}
			n.balancers = nil
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := shop()
			tc.change(&n)
			NewWithT(t).Expect(n.judge()).To(HaveExactElements(tc.want))
		})
	}
}

// someNode generates a node with various Services, and what kube-proxy programs for them.
func someNode(t *rapid.T) balanced {
	n := someServices(t)
	families := []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}[:rapid.IntRange(1, 2).Draw(t, "families")]
	n.program(rapid.Bool().Draw(t, "noDSR"), rapid.Bool().Draw(t, "reverse"), families...)
	return n
}

// someAddresses returns the addresses of pods on this node, and on others.
func someAddresses() (locals, remotes []string) {
	return []string{"10.240.0.70", "10.240.0.71", "fd00::70"}, []string{"10.240.1.7", "10.240.1.8", "fd00:1::7"}
}

// someServices generates a node with various Services that kube-proxy has not programmed yet.
func someServices(t *rapid.T) balanced {
	n := balanced{kubeProxy: true}
	locals, remotes := someAddresses()
	for _, addr := range locals[:rapid.IntRange(1, 3).Draw(t, "locals")] {
		n.endpoints = append(n.endpoints, aLocal(addr))
	}
	if rapid.Bool().Draw(t, "twin") { // of a pod on this node, or of a leaked local endpoint
		n.endpoints = append(n.endpoints, aRemote(locals[0]))
	}
	if rapid.Bool().Draw(t, "leak") {
		n.endpoints = append(n.endpoints, aLocal(remotes[0]))
	}
	for at := range rapid.IntRange(1, 4).Draw(t, "Services") {
		name := fmt.Sprintf("svc-%d", at)
		n.services = append(n.services, someService(t, name, at))
		for s := range rapid.IntRange(0, 3).Draw(t, "slices") {
			n.slices = append(n.slices, someSlice(t, name, s, slices.Concat(locals, remotes)))
		}
	}
	return n
}

func someService(t *rapid.T, name string, at int) *corev1.Service { //nolint:gocyclo // each line draws one thing
	s := aService(name, fmt.Sprintf("10.0.0.%d", at+1))
	yes := rapid.Bool()
	if yes.Draw(t, "dual") {
		s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, fmt.Sprintf("fd00:0:0:1::%d", at+1))
	}
	if yes.Draw(t, "udp") {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53})
	}
	if yes.Draw(t, "node port") {
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = int32(30000 + 10*at + i)
		}
	}
	if yes.Draw(t, "internal local") {
		s.Spec.InternalTrafficPolicy = new(corev1.ServiceInternalTrafficPolicyLocal)
	}
	if yes.Draw(t, "external local") {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	if yes.Draw(t, "preserve") {
		s.Annotations = map[string]string{"preserve-destination": "true"}
	}
	if yes.Draw(t, "external IP") {
		s.Spec.ExternalIPs = []string{fmt.Sprintf("192.0.2.%d", at+1)}
	}
	if yes.Draw(t, "ingress") {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: fmt.Sprintf("203.0.113.%d", at+1)}}
		if yes.Draw(t, "proxy mode") {
			s.Status.LoadBalancer.Ingress[0].IPMode = new(corev1.LoadBalancerIPModeProxy)
		}
	}
	switch rapid.IntRange(0, 9).Draw(t, "odd") {
	case 0:
		s.Labels = map[string]string{cluster.LabelServiceProxyName: "other"}
	case 1:
		s.Labels = map[string]string{corev1.IsHeadlessService: ""}
	case 2:
		s.Spec.ClusterIP, s.Spec.ClusterIPs = "None", []string{"None"}
	}
	return s
}

func someSlice(t *rapid.T, service string, at int, addresses []string) *discoveryv1.EndpointSlice {
	s := aSliceOf(service)
	s.Name = fmt.Sprintf("%s-%d", service, at)
	v6 := rapid.Bool().Draw(t, "IPv6")
	if v6 {
		s.AddressType = discoveryv1.AddressTypeIPv6
	}
	if rapid.Bool().Draw(t, "two ports") {
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{
			Name: new("dns"), Port: new(int32(5353)), Protocol: new(corev1.ProtocolUDP),
		})
	}
	if rapid.IntRange(0, 9).Draw(t, "other proxy") == 0 {
		s.Labels[cluster.LabelServiceProxyName] = "other"
	}
	for _, addr := range rapid.SliceOfN(rapid.SampledFrom(addresses), 0, 4).Draw(t, "addresses") {
		if netip.MustParseAddr(addr).Is6() != v6 {
			continue
		}
		e := listed(addr, rapid.SampledFrom([]string{node, "lin-1"}).Draw(t, "node"))
		condition := func(name string) *bool { return rapid.Ptr(rapid.Bool(), true).Draw(t, name) }
		e.Conditions = discoveryv1.EndpointConditions{
			Ready: condition("ready"), Serving: condition("serving"), Terminating: condition("terminating"),
		}
		if e.Conditions.Serving == nil { // the API server sets it to this value
			e.Conditions.Serving = new(e.Conditions.Ready == nil || *e.Conditions.Ready)
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

// Invariant 7: whatever the Services, their slices and the endpoints are, what kube-proxy has programmed is right.
func TestWhatKubeProxyProgramsIsRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, b := range someNode(t).judge() {
			if b.Kind != verdict.BalancerRight && b.Kind != verdict.BalancerUnknown {
				t.Fatalf("false alarm: %+v", b)
			}
		}
	})
}

// Faults that occur afterwards are found.
func TestWhatIsWrongIsFound(t *testing.T) {
	found := map[verdict.BalancerKind]int{}
	rapid.Check(t, func(t *rapid.T) {
		n := someNode(t)
		n.expectFound(t, found)
	})
	NewWithT(t).Expect(slices.Collect(maps.Keys(found))).To(HaveLen(3))
}

// anyRight returns the index of a load balancer that is right; -1 if kube-proxy programs none.
func (n *balanced) anyRight() int {
	right := sets.New[hns.LoadBalancerID]()
	for _, b := range n.judge() {
		if b.Kind == verdict.BalancerRight {
			right.Insert(b.ID)
		}
	}
	return slices.IndexFunc(n.balancers, func(lb hns.LoadBalancer) bool {
		return right.Has(lb.ID) && len(lb.FrontendVIPs) > 0 && lb.FrontendVIPs[0].Is4() && lb.FrontendVIPs[0].As4()[0] == 10
	})
}

// expectFound breaks a right load balancer, if there is one, in each way, and counts what is found.
func (n *balanced) expectFound(t *rapid.T, found map[verdict.BalancerKind]int) {
	at := n.anyRight()
	if at < 0 {
		return
	}
	lb := n.balancers[at]
	for fault := range 3 {
		harmed := *n
		harmed.balancers, harmed.endpoints = slices.Clone(n.balancers), slices.Clone(n.endpoints)
		want := harmed.harm(at, fault)
		isFound := slices.ContainsFunc(harmed.judge(), func(b verdict.Balancer) bool {
			return b.Kind == want && b.Frontend.VIP == lb.FrontendVIPs[0] && b.Frontend.Port == lb.Ports[0].ExternalPort
		})
		switch {
		case isFound:
			found[want]++
		case want != verdict.BalancerMissing || !excusable(harmed, lb):
			t.Fatalf("%s not found: %+v", want, lb)
		}
	}
}

// harm breaks a load balancer, and returns the expected verdict.
func (n *balanced) harm(at, fault int) verdict.BalancerKind {
	lb := &n.balancers[at]
	switch fault {
	case 0:
		n.balancers = slices.Delete(n.balancers, at, at+1)
		return verdict.BalancerMissing
	case 1:
		lb.Endpoints = append(slices.Clone(lb.Endpoints), "gone")
		return verdict.BalancerDangling
	default:
		n.endpoints = append(n.endpoints, aRemote("10.240.9.9"))
		lb.Endpoints = append(slices.Clone(lb.Endpoints), "remote-10.240.9.9")
		return verdict.BalancerStale
	}
}

// excusable reports whether kube-proxy may have had no reason to create the load balancer: all of its backends are
// listed twice with differences, or are unready, or have two endpoints; or nothing says that it serves IPv4.
func excusable(n balanced, lb hns.LoadBalancer) bool { //nolint:gocyclo // a list of excuses
	served := slices.ContainsFunc(n.endpoints, func(e verdict.Endpoint) bool { return e.Remote() && e.Addresses[0].Is4() }) ||
		slices.ContainsFunc(n.balancers, func(lb hns.LoadBalancer) bool {
			return len(lb.FrontendVIPs) > 0 && lb.FrontendVIPs[0].Is4()
		})
	if !served {
		return true
	}
	index := cluster.NewIndex(node)
	for _, s := range n.slices {
		index.SetSlice(cluster.SliceOf(s))
	}
	for _, e := range n.endpoints {
		if !lb.Refers(e.ID) {
			continue
		}
		addr := e.Addresses[0]
		listings := index.View([]netip.Addr{addr}).Listings(addr)
		twins := 0
		for _, other := range n.endpoints {
			if other.Has(addr) {
				twins++
			}
		}
		if twins == 1 && len(listings) == 1 && listings[0].Ready && listings[0].Serving && (listings[0].Node == node) != e.Remote() {
			return false
		}
	}
	return true
}

// BenchmarkJudgeBalancers judges the load balancers of a large node in a large cluster.
func BenchmarkJudgeBalancers(b *testing.B) {
	index := cluster.NewIndex(node)
	e := verdict.BalancerEvidence{Node: node, ServicesKnown: true, Processed: math.MaxUint64, KubeProxy: true}
	e.Snapshot.Network.ID = podNet
	for at := range 5000 {
		addr := netip.AddrFrom4([4]byte{10, 240, byte(at >> 8), byte(at)})
		e.Snapshot.Endpoints = append(e.Snapshot.Endpoints, verdict.Endpoint{Endpoint: hns.Endpoint{
			ID: hns.EndpointID(fmt.Sprintf("00000000-0000-4000-8000-%012d", at)), Network: podNet, Addresses: []netip.Addr{addr},
			MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote,
		}})
	}
	var services []*corev1.Service
	for at := range 10_000 {
		name := fmt.Sprintf("svc-%d", at)
		s := aService(name, netip.AddrFrom4([4]byte{10, 0, byte(at >> 8), byte(at)}).String())
		services = append(services, s)
		if at >= 2000 {
			index.SetSlice(cluster.SliceOf(aSliceOf(name)))
			continue
		}
		slice := aSliceOf(name)
		lb := hns.LoadBalancer{
			ID: hns.LoadBalancerID(fmt.Sprintf("10000000-0000-4000-8000-%012d", at)), FrontendVIPs: addrs(s.Spec.ClusterIP),
			Ports: []hns.PortMapping{{Protocol: 6, ExternalPort: 80}},
		}
		for n := range 3 {
			ep := e.Snapshot.Endpoints[(at*3+n)%5000]
			slice.Endpoints = append(slice.Endpoints, listed(ep.Addresses[0].String(), "lin-1"))
			lb.Endpoints = append(lb.Endpoints, ep.ID)
		}
		index.SetSlice(cluster.SliceOf(slice))
		e.Snapshot.LoadBalancers = append(e.Snapshot.LoadBalancers, lb)
	}
	index.ReplaceServices(services)
	b.ReportAllocs()
	for b.Loop() {
		e.Backings = index.Backings()
		for _, v := range verdict.JudgeBalancers(e) {
			if v.Kind != verdict.BalancerRight {
				b.Fatalf("%+v", v)
			}
		}
	}
}
