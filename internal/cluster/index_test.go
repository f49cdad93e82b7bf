// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

var addr = netip.MustParseAddr("10.240.0.11")

func podOn(node string, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "u"}}
	p.Spec.NodeName = node
	p.Status.Phase = corev1.PodRunning
	p.Status.PodIPs = []corev1.PodIP{{IP: addr.String()}}
	if change != nil {
		change(p)
	}
	return p
}

func TestPods(t *testing.T) {
	isTrue := true
	for name, tc := range map[string]struct {
		change        func(*corev1.Pod)
		live, waiting bool
		hostNetwork   bool
	}{
		"running":     {nil, true, false, false},
		"no address":  {func(p *corev1.Pod) { p.Status.PodIPs = nil }, true, true, false},
		"only podIP":  {func(p *corev1.Pod) { p.Status.PodIPs = nil; p.Status.PodIP = addr.String() }, true, false, false},
		"deleting":    {func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }, false, false, false},
		"succeeded":   {func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, false, false, false},
		"failed":      {func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, false, false, false},
		"hostNetwork": {func(p *corev1.Pod) { p.Spec.HostNetwork = true }, false, false, true},
		"HostProcess by pod": {func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{
				WindowsOptions: &corev1.WindowsSecurityContextOptions{HostProcess: &isTrue},
			}
		}, false, false, true},
		"HostProcess by container": {func(p *corev1.Pod) {
			p.Spec.Containers = []corev1.Container{{SecurityContext: &corev1.SecurityContext{
				WindowsOptions: &corev1.WindowsSecurityContextOptions{HostProcess: &isTrue},
			}}}
		}, false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			index := cluster.NewIndex("win-1")
			index.SetPod(podOn("win-1", tc.change))
			view := index.View(nil)
			g.Expect(view.Pods).To(HaveLen(1))
			g.Expect(view.Pods[0].Live()).To(Equal(tc.live))
			g.Expect(view.Pods[0].Waiting()).To(Equal(tc.waiting))
			g.Expect(view.Pods[0].HostNetwork).To(Equal(tc.hostNetwork))
			g.Expect(view.Waiting()).To(HaveLen(map[bool]int{true: 1}[tc.waiting]))
		})
	}
}

// Invariant 3.
func TestPodsOfOtherNodesAreNotInIt(t *testing.T) {
	g := NewWithT(t)
	index := cluster.NewIndex("win-1")
	index.SetPod(podOn("win-2", nil))
	index.SetPod(podOn("", nil))
	g.Expect(index.View(nil).Pods).To(BeEmpty())
	index.SetPod(podOn("win-1", nil))
	g.Expect(index.View(nil).PodsWith(addr)).To(HaveLen(1))
	index.DeletePod(podOn("win-1", nil))
	g.Expect(index.View(nil).Pods).To(BeEmpty())
}

func keyOf(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "default", Name: name}
}

func sliceOf(name string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "svc"},
		},
		Endpoints: endpoints,
	}
}

func set(index *cluster.Index, s *discoveryv1.EndpointSlice) { index.SetSlice(cluster.SliceOf(s)) }

// Invariant 4.
func TestConditionsThatAreLeftOut(t *testing.T) {
	yes, no := true, false
	for name, tc := range map[string]struct {
		conditions                  discoveryv1.EndpointConditions
		ready, serving, terminating bool
	}{
		"none":                   {discoveryv1.EndpointConditions{}, true, true, false},
		"not ready":              {discoveryv1.EndpointConditions{Ready: &no}, false, false, false},
		"terminating":            {discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}, false, true, true},
		"all said and all false": {discoveryv1.EndpointConditions{Ready: &no, Serving: &no, Terminating: &no}, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			index := cluster.NewIndex("win-1")
			set(index, sliceOf("a", discoveryv1.Endpoint{Addresses: []string{addr.String()}, Conditions: tc.conditions}))
			l := index.View([]netip.Addr{addr}).Listings(addr)
			NewWithT(t).Expect(l).To(ConsistOf(And(HaveField("Ready", tc.ready), HaveField("Serving", tc.serving),
				HaveField("Terminating", tc.terminating), HaveField("Service", "svc"), HaveField("Node", ""))))
		})
	}
}

func TestSlicesComeAndGo(t *testing.T) {
	g := NewWithT(t)
	index := cluster.NewIndex("win-1")
	node := "lin-1"
	endpoint := discoveryv1.Endpoint{Addresses: []string{addr.String()}, NodeName: &node}
	listings := func() []cluster.Listing { return index.View([]netip.Addr{addr}).Listings(addr) }
	set(index, sliceOf("a", endpoint))
	set(index, sliceOf("b", endpoint))
	g.Expect(listings()).To(HaveLen(2))
	g.Expect(listings()[0]).To(HaveField("Node", node))
	set(index, sliceOf("a"))
	g.Expect(listings()).To(ConsistOf(HaveField("Slice.Name", "b")))
	g.Expect(index.View(nil).Slices).To(Equal(2), "an empty slice is a slice")
	index.DeleteSlice(keyOf("b"))
	index.DeleteSlice(keyOf("a"))
	g.Expect(listings()).To(BeEmpty())
	g.Expect(index.View(nil).Slices).To(BeZero())
}

func TestListedOnAnotherNode(t *testing.T) {
	for name, tc := range map[string]struct {
		nodes []*string
		want  bool
	}{
		"nowhere":                 {nil, false},
		"on this node":            {[]*string{new("win-1")}, false},
		"outside of the cluster":  {[]*string{nil}, false},
		"on another node":         {[]*string{new("lin-1")}, true},
		"here and on another one": {[]*string{new("win-1"), new("lin-1")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			index := cluster.NewIndex("win-1")
			for i, node := range tc.nodes {
				set(index, sliceOf(fmt.Sprint(i), discoveryv1.Endpoint{Addresses: []string{addr.String()}, NodeName: node}))
			}
			NewWithT(t).Expect(index.ListedOnAnotherNode(addr)).To(Equal(tc.want))
		})
	}
}

func TestHostNamesInASliceAreNoAddresses(t *testing.T) {
	g := NewWithT(t)
	index := cluster.NewIndex("win-1")
	set(index, sliceOf("fqdn", discoveryv1.Endpoint{Addresses: []string{"db.example.com"}}))
	g.Expect(index.View(nil).Slices).To(Equal(1))
}

func TestAddressesAreReadAsTheAPIServerDoes(t *testing.T) {
	g := NewWithT(t)
	index := cluster.NewIndex("win-1")
	set(index, sliceOf("old", discoveryv1.Endpoint{Addresses: []string{"010.240.000.011", "::ffff:10.240.0.12"}}))
	mapped := netip.MustParseAddr("10.240.0.12")
	view := index.View([]netip.Addr{addr, mapped})
	g.Expect(view.Listings(addr)).To(HaveLen(1))
	g.Expect(view.Listings(mapped)).To(HaveLen(1))
}

func TestServices(t *testing.T) {
	g := NewWithT(t)
	index := cluster.NewIndex("win-1")
	g.Expect(index.View(nil).ServicesKnown).To(BeFalse())
	index.ReplaceServices(nil)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "svc"}}
	service.Spec.ClusterIPs = []string{"10.0.0.10", "None"}
	service.Spec.ExternalIPs = []string{"192.0.2.1"}
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.2"}, {Hostname: "lb.example.com"}}
	index.SetService(service)
	vips := []netip.Addr{netip.MustParseAddr("10.0.0.10"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	view := index.View(append(vips, addr))
	g.Expect(view.ServicesKnown).To(BeTrue())
	for _, vip := range vips {
		g.Expect(view.VIP(vip)).To(BeTrue(), vip)
	}
	g.Expect(view.VIP(addr)).To(BeFalse())
	index.DeleteService(service)
	g.Expect(index.View(vips).VIP(vips[0])).To(BeFalse())
}

// What a list of pods lacks is gone (invariant 3: those of other nodes are ignored).
func TestAListOfPodsReplacesThem(t *testing.T) {
	g := NewWithT(t)
	pod := func(name, node string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: node}}
	}
	index := cluster.NewIndex("win-1")
	index.SetPod(pod("gone", "win-1"))
	g.Expect(index.View(nil).Pods).To(HaveLen(1))
	index.ReplacePods([]*corev1.Pod{pod("web", "win-1"), pod("other", "win-2")})
	pods := index.View(nil).Pods
	g.Expect(pods).To(HaveLen(1))
	g.Expect(pods[0].Key.Name).To(Equal("web"))
}

// What a list of Services lacks is gone.
func TestAListOfServicesReplacesThem(t *testing.T) {
	g := NewWithT(t)
	index := cluster.NewIndex("win-1")
	service := func(name, ip string) *corev1.Service {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		s.Spec.ClusterIP = ip
		return s
	}
	index.SetService(service("gone", "10.0.0.10"))
	index.ReplaceServices([]*corev1.Service{service("svc", "10.0.0.11")})
	vips := []netip.Addr{netip.MustParseAddr("10.0.0.10"), netip.MustParseAddr("10.0.0.11")}
	view := index.View(vips)
	g.Expect(view.VIP(vips[0])).To(BeFalse())
	g.Expect(view.VIP(vips[1])).To(BeTrue())
}

// Invariant 6.
func TestOfAServiceWithTooManyAddressesNothingIsKnownToBeAbsent(t *testing.T) {
	g := NewWithT(t)
	index := cluster.NewIndex("win-1")
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "svc"}}
	service.Spec.ClusterIPs = []string{"10.0.0.10"}
	for n := range cluster.MaxExternalAddresses {
		service.Spec.ExternalIPs = append(service.Spec.ExternalIPs, fmt.Sprintf("192.0.%d.%d", n/256, n%256))
	}
	index.SetService(service)
	view := index.View([]netip.Addr{addr})
	g.Expect(view.VIP(addr)).To(BeFalse(), "all addresses are kept")
	g.Expect(view.OversizedServices).To(BeEmpty())

	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: addr.String()}}
	index.SetService(service)
	view = index.View([]netip.Addr{addr, netip.MustParseAddr("10.240.0.12")})
	g.Expect(view.VIP(netip.MustParseAddr("10.240.0.12"))).To(BeTrue())
	g.Expect(view.OversizedServices).To(ConsistOf(keyOf("svc")))

	service.Status.LoadBalancer.Ingress = nil
	index.SetService(service)
	view = index.View([]netip.Addr{addr})
	g.Expect(view.VIP(addr)).To(BeFalse())
	g.Expect(view.OversizedServices).To(BeEmpty())
}

// Invariant 7.
func TestWhatASliceOfAnAgentLists(t *testing.T) {
	for name, tc := range map[string]struct {
		managedBy string
		ready     bool
		listed    int
	}{
		"of a controller":                  {"endpointslice-controller.k8s.io", false, 1},
		"of no pod":                        {"", false, 1},
		"of its own Service":               {"hnsguard", false, 1},
		"of an agent, to keep an address":  {"hnsguard-keep", false, 0},
		"of an agent, for another purpose": {"hnsguard-reprogram", false, 0},
		"of an agent, ready":               {"hnsguard-keep", true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := sliceOf("a", discoveryv1.Endpoint{
				Addresses: []string{addr.String()}, Conditions: discoveryv1.EndpointConditions{Ready: new(tc.ready)},
			})
			s.Labels[discoveryv1.LabelManagedBy] = tc.managedBy
			index := cluster.NewIndex("win-1")
			set(index, s)
			g.Expect(index.View([]netip.Addr{addr}).Listings(addr)).To(HaveLen(tc.listed), "found")
			s.Labels[discoveryv1.LabelManagedBy] = "another"
			set(index, s)
			g.Expect(index.View([]netip.Addr{addr}).Listings(addr)).To(HaveLen(1), "relabelled")
			s.Labels[discoveryv1.LabelManagedBy] = tc.managedBy
			set(index, s)
			g.Expect(index.View([]netip.Addr{addr}).Listings(addr)).To(HaveLen(tc.listed), "followed")
		})
	}
}

// New addresses are looked up; addresses that a later view does not have are dropped, and found again.
func TestTheAddressesOfViewsChange(t *testing.T) {
	g := NewWithT(t)
	other := netip.MustParseAddr("10.240.0.12")
	index := cluster.NewIndex("win-1")
	set(index, sliceOf("a", discoveryv1.Endpoint{Addresses: []string{addr.String(), other.String()}}))
	listed := func(asked netip.Addr) int { return len(index.View([]netip.Addr{asked}).Listings(asked)) }
	for range 2 {
		g.Expect(listed(addr)).To(Equal(1))
		g.Expect(listed(other)).To(Equal(1))
	}
	set(index, sliceOf("a", discoveryv1.Endpoint{Addresses: []string{addr.String()}}))
	g.Expect(listed(other)).To(BeZero())
	g.Expect(listed(addr)).To(Equal(1))
}

// Invariant 2.
func TestAViewStaysWhatItIs(t *testing.T) {
	g := NewWithT(t)
	index := cluster.NewIndex("win-1")
	set(index, sliceOf("a", discoveryv1.Endpoint{Addresses: []string{addr.String()}}))
	set(index, sliceOf("b", discoveryv1.Endpoint{Addresses: []string{addr.String()}}))
	view := index.View([]netip.Addr{addr})
	before := fmt.Sprint(view.Listings(addr))
	index.DeleteSlice(keyOf("a"))
	index.SetPod(podOn("win-1", nil))
	g.Expect(fmt.Sprint(view.Listings(addr))).To(Equal(before))
	g.Expect(view.Pods).To(BeEmpty())
}

func TestItMayBeUsedFromEverywhere(*testing.T) {
	index := cluster.NewIndex("win-1")
	var done sync.WaitGroup
	for i := range 8 {
		done.Go(func() {
			for j := range 200 {
				s := sliceOf(fmt.Sprintf("s-%d", (i+j)%5), discoveryv1.Endpoint{Addresses: []string{addr.String()}})
				set(index, s)
				index.SetPod(podOn("win-1", nil))
				index.View([]netip.Addr{addr})
				index.DeleteSlice(keyOf(s.Name))
			}
		})
	}
	done.Wait()
}

// Invariant 8: of two revisions, the later one has everything up to the earlier one.
func TestRevisionsOfServices(t *testing.T) {
	g := NewWithT(t)
	index := cluster.NewIndex("win-1")
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "svc"}}
	service.Spec.ClusterIP = "10.0.0.10"
	service.Spec.Ports = []corev1.ServicePort{{Port: 80}}
	revision := func(of string) uint64 {
		for _, b := range index.Backings() {
			if b.Key.Name == of {
				return b.Revision
			}
		}
		return 0
	}
	slice := sliceOf("x", discoveryv1.Endpoint{Addresses: []string{"10.1.0.1"}})
	slice.Namespace, slice.Labels = "a", map[string]string{discoveryv1.LabelServiceName: "svc"}
	changes := func(is bool, change func()) {
		t.Helper()
		before := index.Revision()
		change()
		g.Expect(index.Revision() > before).To(Equal(is))
		g.Expect(revision("svc") > before).To(Equal(is))
	}
	changes(true, func() { set(index, slice.DeepCopy()) })
	changes(true, func() { index.SetService(service) })
	changes(false, func() { index.SetService(service.DeepCopy()) })
	changes(false, func() {
		slice.ResourceVersion, slice.Annotations = "2", map[string]string{"holder": "b"}
		set(index, slice.DeepCopy())
	})
	g.Expect(index.Backings()[0].Slices).To(HaveExactElements(HaveField("ResourceVersion", "2")))
	changes(true, func() {
		slice.Ports = []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(80))}}
		set(index, slice.DeepCopy())
	})
	changes(true, func() {
		slice.Endpoints[0].Conditions.Ready = new(false)
		set(index, slice.DeepCopy())
	})
	changes(true, func() {
		service.Spec.Ports[0].NodePort = 30080
		index.SetService(service.DeepCopy())
	})
	own := slice.DeepCopy()
	own.Name, own.Labels[discoveryv1.LabelManagedBy] = "keep", cluster.ManagedBy+"-keep"
	changes(false, func() { set(index, own) })
	g.Expect(index.Backings()).To(HaveExactElements(HaveField("Slices", HaveLen(1))))
	index.DeleteSlice(types.NamespacedName{Namespace: "a", Name: "x"})
	index.ReplaceServices(nil)
	g.Expect(index.Backings()).To(BeEmpty())
}
