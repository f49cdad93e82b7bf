// SPDX-License-Identifier: Apache-2.0

package doctor_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hnsguard/hnsguard/internal/doctor"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

// podAt returns a pod on a node, in the form "node/name=address". A phase may follow.
func podAt(text string, phase ...corev1.PodPhase) *corev1.Pod {
	where, address, _ := strings.Cut(text, "=")
	node, name, _ := strings.Cut(where, "/")
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.PodSpec{NodeName: node},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: address}}},
	}
	for _, p.Status.Phase = range phase {
	}
	return p
}

func nodeWith(name string, cidrs ...string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDRs: cidrs}}
}

func sliceWith(node, address string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-x"},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{address}, NodeName: &node}},
	}
}

// Invariant 1: only observed evidence decides.
func TestWhereAddressesComeFrom(t *testing.T) {
	host := podAt("linux-1/agent=10.2.0.4")
	host.Spec.HostNetwork = true
	hybrid := nodeWith("win-1")
	hybrid.Annotations = map[string]string{"k8s.ovn.org/hybrid-overlay-node-subnet": "10.132.0.0/24"}
	own := []*corev1.Node{nodeWith("win-1", "10.2.0.0/24"), nodeWith("linux-1", "10.2.1.0/24")}
	for name, tc := range map[string]struct {
		nodes   []*corev1.Node
		pods    []*corev1.Pod
		slices  []*discoveryv1.EndpointSlice
		blocks  map[string]string
		sharing doctor.Sharing
		why     string
	}{
		"a range for each node": {
			nodes: own, pods: []*corev1.Pod{podAt("win-1/cart=10.2.0.4"), podAt("linux-1/web=10.2.1.4"), host},
			sharing: doctor.OwnRange, why: "its pods have addresses of its own range, 10.2.0.0/24",
		},
		"a range of OVN-Kubernetes": {
			nodes: []*corev1.Node{hybrid}, pods: []*corev1.Pod{podAt("win-1/cart=10.132.0.4")},
			sharing: doctor.OwnRange, why: "10.132.0.0/24",
		},
		"a range that its pods do not use": {
			nodes: own, pods: []*corev1.Pod{podAt("win-1/cart=10.9.0.4"), podAt("linux-1/web=10.9.0.5")},
			sharing: doctor.Shared, why: "pod shop/cart has 10.9.0.4, and pod shop/web on node linux-1 has 10.9.0.5",
		},
		"an ended pod on another node had it": {
			nodes: own, pods: []*corev1.Pod{podAt("win-1/cart=10.2.0.4"), podAt("linux-1/web=10.2.0.4", corev1.PodSucceeded)},
			sharing: doctor.Moved, why: "10.2.0.4 of pod shop/cart is also that of pod shop/web on node linux-1",
		},
		"a slice still lists it on another node": {
			nodes: own, pods: []*corev1.Pod{podAt("win-1/cart=10.2.0.4")},
			slices:  []*discoveryv1.EndpointSlice{sliceWith("win-1", "10.2.0.4"), sliceWith("linux-1", "10.2.0.4")},
			sharing: doctor.Moved, why: "an endpoint of EndpointSlice shop/web-x on node linux-1",
		},
		"its own ended pod had it": {
			nodes: own, pods: []*corev1.Pod{podAt("win-1/cart=10.2.0.4"), podAt("win-1/old=10.2.0.4", corev1.PodFailed)},
			sharing: doctor.OwnRange,
		},
		"blocks of Calico": {
			nodes: own, pods: []*corev1.Pod{podAt("win-1/cart=10.2.0.4")},
			blocks:  map[string]string{"win-1": "10.2.0.0/26", "linux-1": "10.2.0.64/26"},
			sharing: doctor.Shared, why: "Calico lends it blocks such as 10.2.0.0/26, and others to 1 more nodes",
		},
		"blocks of no other node": {
			nodes: own, pods: []*corev1.Pod{podAt("win-1/cart=10.2.0.4")}, blocks: map[string]string{"win-1": "10.2.0.0/26"},
			sharing: doctor.OwnRange,
		},
		"no range, and no neighbour": {
			nodes: []*corev1.Node{nodeWith("win-1")}, pods: []*corev1.Pod{podAt("win-1/cart=10.2.0.4"), podAt("linux-1/web=10.3.0.4")},
			sharing: doctor.SharingUnknown, why: "no pod on another node has one of the same subnet",
		},
		"a neighbour with IPv6": {
			nodes:   []*corev1.Node{nodeWith("win-1")},
			pods:    []*corev1.Pod{podAt("win-1/cart=fd00::4"), podAt("linux-1/web=fd00::5")},
			sharing: doctor.Shared, why: "fd00::5",
		},
		"no pods but ended ones and those of the host's network": {
			nodes: own, pods: []*corev1.Pod{podAt("win-1/cart=10.2.0.4", corev1.PodSucceeded), host},
			sharing: doctor.SharingUnknown, why: "no pod with an address of its own runs on it",
		},
		"what cannot be read is no evidence": {
			nodes:  []*corev1.Node{nodeWith("win-1", "x")},
			pods:   []*corev1.Pod{podAt("win-1/cart=10.2.0.4"), podAt("win-1/new=")},
			slices: []*discoveryv1.EndpointSlice{sliceWith("linux-1", "name.example")},
			blocks: map[string]string{"win-1": "y", "linux-1": "z"}, sharing: doctor.SharingUnknown,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			found := doctor.Judge("win-1", tc.nodes, tc.pods, tc.slices, tc.blocks)
			g.Expect(found.Sharing).To(Equal(tc.sharing), found.Why)
			g.Expect(found.Why).To(And(Not(BeEmpty()), ContainSubstring(tc.why)))
		})
	}
}

func TestAffected(t *testing.T) {
	g := NewWithT(t)
	bad, good := kubeproxy.ProfileOf("v1.32.3"), kubeproxy.ProfileOf("v1.37.2")
	for sharing, want := range map[doctor.Sharing][2]doctor.Affected{
		doctor.Moved: {doctor.AffectedYes, doctor.AffectedPartly}, doctor.Shared: {doctor.AffectedYes, doctor.AffectedPartly},
		doctor.OwnRange:       {doctor.AffectedHardly, doctor.AffectedHardly},
		doctor.SharingUnknown: {doctor.AffectedUnknown, doctor.AffectedUnknown},
	} {
		g.Expect(doctor.IsAffected(sharing, bad)).To(Equal(want[0]), sharing)
		g.Expect(doctor.IsAffected(sharing, good)).To(Equal(want[1]), sharing)
		g.Expect(doctor.IsAffected(sharing, kubeproxy.ProfileOf(""))).To(Equal(want[0]), "an unknown version has every fault")
	}
}

func TestUnfitNodes(t *testing.T) {
	for name, tc := range map[string]struct {
		info corev1.NodeSystemInfo
		want string
	}{
		"fit": {corev1.NodeSystemInfo{
			ContainerRuntimeVersion: "containerd://1.7.20+azure", KernelVersion: "10.0.17763.6893", Architecture: "amd64",
		}, ""},
		"it says nothing":  {corev1.NodeSystemInfo{}, ""},
		"an odd version":   {corev1.NodeSystemInfo{ContainerRuntimeVersion: "containerd://dev", KernelVersion: "?"}, ""},
		"Docker":           {corev1.NodeSystemInfo{ContainerRuntimeVersion: "docker://20.10.9"}, "need containerd"},
		"an old runtime":   {corev1.NodeSystemInfo{ContainerRuntimeVersion: "containerd://1.6.17"}, "1.6.18 or later"},
		"an old Windows":   {corev1.NodeSystemInfo{KernelVersion: "10.0.14393.0"}, "Windows Server 2019 (17763) or later"},
		"another machine":  {corev1.NodeSystemInfo{Architecture: "arm64"}, "amd64 is needed"},
		"the first one is": {corev1.NodeSystemInfo{ContainerRuntimeVersion: "containerd://1.6.18", KernelVersion: "10.0.17763.1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			if tc.want == "" {
				g.Expect(doctor.Unfit(tc.info)).To(BeEmpty())
			} else {
				g.Expect(doctor.Unfit(tc.info)).To(ContainSubstring(tc.want))
			}
		})
	}
}
