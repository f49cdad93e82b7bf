// SPDX-License-Identifier: Apache-2.0

package distributions_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
)

// The nodes of every cluster here.
const (
	windowsNode = "win-1"
	linuxNode   = "lin-1"
)

// node is the expected result for a node of a distribution.
type node struct {
	// file is the path below testdata, without its extension.
	file string
	// network and kind are those of the pod network. Both are empty on a node without kube-proxy.
	network string
	kind    hns.NetworkType
	// web are the addresses of a pod on this node for which kube-proxy has left remote endpoints behind; backend are those
	// of a pod on a Linux node, and orphan those of a pod that is gone.
	web, backend, orphan []string
	// vips are the addresses of the backend's Service.
	vips []string
	// more are further verdicts, by address and kind of the endpoint.
	more map[string]string
}

// The verdicts that the tables below repeat.
const (
	ofNode       = "local: of-the-node"
	remoteOfNode = "foreign: of-the-node"
	otherNetwork = "local: other-network"
	notProxys    = "foreign: not-made-by-kube-proxy"
)

func nodes() []node {
	return []node{
		{
			file: "eks/vpc-bridge", network: "vpcbr0a1b2c3d4e5f", kind: hns.NetworkL2Bridge,
			web: []string{"192.168.7.110"}, backend: []string{"192.168.7.84"}, orphan: []string{"192.168.7.51"},
			vips: []string{"10.100.14.3"},
			// The backend of eks-extension-metrics-api is in the control plane, and on no node of the cluster.
			more: map[string]string{"172.0.32.0 remote": "in_use: listed-ready-elsewhere"},
		},
		{
			file: "aks/azure-cni", network: "azure", kind: hns.NetworkL2Bridge,
			web: []string{"10.224.0.17"}, backend: []string{"10.224.0.80"}, orphan: []string{"10.224.0.99"},
			vips: []string{"10.0.44.7"},
		},
		{
			file: "aks/l2tunnel", network: "azure", kind: hns.NetworkL2Tunnel,
			web: []string{"10.240.0.17"}, backend: []string{"10.240.0.80"}, orphan: []string{"10.240.0.99"},
			vips: []string{"10.0.44.7"},
		},
		{
			file: "aks/overlay", network: "azure", kind: hns.NetworkL2Bridge,
			web: []string{"10.244.3.17"}, backend: []string{"10.244.1.80"}, orphan: []string{"10.244.1.99"},
			vips: []string{"10.0.44.7"},
			more: map[string]string{"169.254.128.5 local": otherNetwork},
		},
		{
			file: "aks/dual-stack", network: "azure", kind: hns.NetworkL2Bridge,
			web:     []string{"10.244.3.17", "fd12:3456:789a:3::11"},
			backend: []string{"10.244.1.80", "fd12:3456:789a:1::50"},
			orphan:  []string{"10.244.1.99", "fd12:3456:789a:1::63"},
			vips:    []string{"10.0.44.7", "fd00:10::44:7"},
		},
		{
			file: "gke/l2bridge", network: "l2bridge", kind: hns.NetworkL2Bridge,
			web: []string{"10.64.3.17"}, backend: []string{"10.64.1.80"}, orphan: []string{"10.64.1.99"},
			vips: []string{"10.68.14.3"},
			more: map[string]string{"10.64.3.2 local": ofNode, "172.29.4.7 local": otherNetwork},
		},
		calico("rke2/calico"), calico("calico/vxlan"),
		{
			file: "calico/bgp", network: "Calico", kind: hns.NetworkL2Bridge,
			web: []string{"10.42.213.221"}, backend: []string{"10.42.88.80"}, orphan: []string{"10.42.88.99"},
			vips: []string{"10.43.14.3"}, more: map[string]string{"10.42.213.194 local": ofNode},
		},
		flannel("rke2/flannel"), flannel("kubeadm/flannel-overlay"), flannel("flannel/vxlan"),
		{
			file: "flannel/vxlan0", network: "vxlan0", kind: hns.NetworkOverlay,
			web: []string{"10.244.3.17"}, backend: []string{"10.244.1.80"}, orphan: []string{"10.244.1.99"},
			vips: []string{"10.96.14.3"},
			more: map[string]string{"10.244.2.141 remote": notProxys, "10.96.14.3 remote": notProxys},
		},
		{
			file: "flannel/host-gw", network: "cbr0", kind: hns.NetworkL2Bridge,
			web: []string{"10.244.3.17"}, backend: []string{"10.244.1.80"}, orphan: []string{"10.244.1.99"},
			vips: []string{"10.96.14.3"}, more: map[string]string{"10.244.3.2 local": ofNode},
		},
		{
			file: "openshift/hybrid-overlay", network: "OVNKubernetesHybridOverlayNetwork", kind: hns.NetworkOverlay,
			web: []string{"10.132.1.17"}, backend: []string{"10.128.2.80"}, orphan: []string{"10.128.2.99"},
			vips: []string{"172.30.14.3"},
			more: map[string]string{"10.132.1.2 local": ofNode, "172.30.14.3 remote": notProxys},
		},
		{file: "antrea/antrea-proxy"},
	}
}

// calico returns a node with an overlay of Calico: its host endpoint is a remote one, which kube-proxy needs.
func calico(file string) node {
	return node{
		file: file, network: "Calico", kind: hns.NetworkOverlay,
		web: []string{"10.42.213.221"}, backend: []string{"10.42.88.80"}, orphan: []string{"10.42.88.99"},
		vips: []string{"10.43.14.3"},
		more: map[string]string{"10.42.213.194 remote": remoteOfNode, "10.43.14.3 remote": notProxys},
	}
}

// flannel returns a node with an overlay of flannel, and the source VIP that was reserved for kube-proxy.
func flannel(file string) node {
	return node{
		file: file, network: "flannel.4096", kind: hns.NetworkOverlay,
		web: []string{"10.244.3.17"}, backend: []string{"10.244.1.80"}, orphan: []string{"10.244.1.99"},
		vips: []string{"10.43.14.3"},
		more: map[string]string{"10.244.3.2 local": ofNode, "10.43.14.3 remote": notProxys},
	}
}

// rests reports whether there is nothing to guard on the node.
func (n node) rests() bool { return n.network == "" }

// distribution returns the folder of the node.
func (n node) distribution() string { return strings.Split(n.file, "/")[0] }

// dump reads the objects of HNS on the node.
func (n node) dump(t *testing.T) recording.HNS {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(n.file)+".json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	dump, err := recording.ReadHNS(recording.File{Name: path, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return dump
}

// verdicts returns the expected verdicts of a scan, by address and kind of the endpoint.
func (n node) verdicts() map[string]string {
	want := map[string]string{}
	for at, addr := range n.web {
		want[addr+" remote"] = "conflict: live-pod-with-local-endpoint"
		if at == 0 { // one local endpoint has both addresses
			want[addr+" local"] = "local: local-pod"
		}
	}
	for _, addr := range n.backend {
		want[addr+" remote"] = "in_use: listed-ready-elsewhere"
	}
	for _, addr := range n.orphan {
		want[addr+" remote"] = "orphan: unclaimed"
	}
	for endpoint, verdict := range n.more {
		want[endpoint] = verdict
	}
	return want
}

func kubeNode(name, os string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{OperatingSystem: os}},
	}
}

// cluster returns the objects on the API server.
func (n node) cluster() recording.Cluster {
	dump := recording.Cluster{
		Nodes:         []*corev1.Node{kubeNode(windowsNode, "windows"), kubeNode(linuxNode, "linux")},
		NodesRecorded: true, PodsRecorded: true, SlicesRecorded: true, ServicesRecorded: true, Whole: true,
		Slices: []*discoveryv1.EndpointSlice{slice("kube-system", "eks-extension-metrics-api", "", "172.0.32.0")},
		Services: []*corev1.Service{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "backend"}, Spec: corev1.ServiceSpec{ClusterIPs: n.vips},
		}},
	}
	for name, addrs := range map[string][]string{windowsNode: n.web, linuxNode: n.backend} {
		if len(addrs) > 0 {
			dump.Pods = append(dump.Pods, pod("on-"+name, name, addrs))
		}
	}
	for _, addr := range n.backend {
		dump.Slices = append(dump.Slices, slice("shop", "backend", linuxNode, addr))
	}
	return dump
}

func pod(name, onNode string, addrs []string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	p.Spec.NodeName, p.Status.Phase, p.Status.PodIP = onNode, corev1.PodRunning, addrs[0]
	for _, addr := range addrs {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: addr})
	}
	return p
}

// slice lists an address of a Service, on no node if it is empty.
func slice(namespace, service, onNode, addr string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: service + "-4", Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{addr}}},
	}
	if netip.MustParseAddr(addr).Is6() {
		s.Name, s.AddressType = service+"-6", discoveryv1.AddressTypeIPv6
	}
	if onNode != "" {
		s.Endpoints[0].NodeName = &onNode
	}
	return s
}
