// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// The kinds that are told apart, as API version and kind.
const (
	statusKind       = "v1 Status"
	nodeKind         = "v1 Node"
	podKind          = "v1 Pod"
	serviceKind      = "v1 Service"
	endpointsKind    = "v1 Endpoints"
	sliceKind        = "discovery.k8s.io/v1 EndpointSlice"
	sliceKindRetired = "discovery.k8s.io/v1beta1 EndpointSlice"
)

// maxFields is how many fields and elements an object may have: a slice has about 15,000 at most. Each takes up to a
// kilobyte while it is decoded.
const maxFields = 50_000

// maxSkipped is how many kinds are counted that are not read.
const maxSkipped = 100

// saw notes that the file mentions a kind.
func (d *Cluster) saw(kind string) {
	switch kind {
	case nodeKind:
		d.NodesRecorded = true
	case podKind:
		d.PodsRecorded = true
	case sliceKind:
		d.SlicesRecorded = true
	case serviceKind:
		d.ServicesRecorded = true
	}
}

// readObject reads one object of any kind.
func (r *clusterReader) readObject(h header, text []byte, at int, path string) {
	at, name := r.at(at), h.name(path)
	r.dump.saw(h.kind())
	switch h.kind() {
	case nodeKind, podKind, sliceKind, serviceKind:
		if len(text) > maxObject || bytes.Count(text, []byte(",")) > maxFields {
			r.file.report(at, "%s: the object is larger than any that an API server has", name)
			return
		}
		r.decode(h, text, at, name)
	case sliceKindRetired: // skipping it would make every address in it look unused
		r.file.report(at, "%s: the API version discovery.k8s.io/v1beta1 is not read, Kubernetes has removed it; "+
			"record them with: kubectl get endpointslices.v1.discovery.k8s.io -A -o json", name)
	case statusKind:
		r.file.report(at, "%s: the API server returned an error instead of objects: %.200s; record it again", name, h.Message)
	case "":
		r.file.report(at, "%s: not a Kubernetes object: apiVersion and kind are missing; record it again", path)
	default:
		kind := h.kind()
		if _, known := r.dump.Skipped[kind]; !known && len(r.dump.Skipped) == maxSkipped {
			kind = "other kinds"
		}
		r.dump.Skipped[kind]++
	}
}

// decode reads an object of a kind that verdicts need, checks it, and keeps what they need of it.
func (r *clusterReader) decode(h header, text []byte, at int, name string) {
	gvk := schema.FromAPIVersionAndKind(h.APIVersion, h.Kind)
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(text, &gvk, nil)
	if err != nil {
		r.file.report(at, "%s: %v", name, err)
		return
	}
	var faults []string
	switch o := object.(type) {
	case *corev1.Node:
		faults = checkNode(o)
		r.dump.Nodes = append(r.dump.Nodes, NodeOf(o))
		r.file.keep(at, NodeOf(o))
	case *corev1.Pod:
		faults = checkPod(o)
		r.dump.Pods = append(r.dump.Pods, trimPod(o))
		r.file.keep(at, r.dump.Pods[len(r.dump.Pods)-1])
	case *discoveryv1.EndpointSlice:
		faults = checkSlice(o)
		r.dump.Slices = append(r.dump.Slices, trimSlice(o))
		r.file.keep(at, r.dump.Slices[len(r.dump.Slices)-1])
	case *corev1.Service:
		faults = checkService(o)
		r.dump.Services = append(r.dump.Services, trimService(o))
		r.file.keep(at, r.dump.Services[len(r.dump.Services)-1])
	}
	if h.Metadata.Name == "" {
		faults = append(faults, "metadata.name is missing")
	}
	if h.Metadata.Namespace == "" && h.kind() != nodeKind {
		faults = append(faults, "metadata.namespace is missing")
	}
	for _, fault := range faults {
		r.file.report(at, "%s: %s", name, fault)
	}
}

// The checks require what an API server sets in every object. An object that was cut off, or a manifest, is not read as
// one with less content. They return what is wrong.

const manifest = "is missing: it was cut off, or is a manifest instead of a recorded object"

func checkNode(node *corev1.Node) []string {
	if node.Status.NodeInfo.KubeletVersion == "" && NodeOf(node).OS == "" {
		return []string{"status.nodeInfo " + manifest}
	}
	return nil
}

func checkPod(pod *corev1.Pod) []string {
	faults := checkAddrs("status.podIP", pod.Status.PodIP)
	for i, ip := range pod.Status.PodIPs {
		faults = append(faults, checkAddrs(fmt.Sprintf("status.podIPs[%d].ip", i), ip.IP)...)
	}
	if pod.Status.Phase == "" {
		faults = append(faults, "status.phase "+manifest)
	}
	return faults
}

func checkSlice(slice *discoveryv1.EndpointSlice) []string {
	switch slice.AddressType {
	case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6:
	case discoveryv1.AddressTypeFQDN:
		return nil
	default:
		return []string{fmt.Sprintf("addressType is %q: want IPv4, IPv6 or FQDN", slice.AddressType)}
	}
	var faults []string
	for i, endpoint := range slice.Endpoints {
		faults = append(faults, checkAddrs(fmt.Sprintf("endpoints[%d].addresses", i), endpoint.Addresses...)...)
	}
	return faults
}

func checkService(service *corev1.Service) []string {
	faults := checkAddrs("spec.externalIPs", service.Spec.ExternalIPs...)
	if service.Spec.Type == "" {
		faults = append(faults, "spec.type "+manifest)
	}
	ips := slices.Concat(service.Spec.ClusterIPs, []string{service.Spec.ClusterIP})
	if !slices.Contains(ips, corev1.ClusterIPNone) {
		faults = append(faults, checkAddrs("spec.clusterIPs", ips...)...)
	}
	for i, ingress := range service.Status.LoadBalancer.Ingress {
		faults = append(faults, checkAddrs(fmt.Sprintf("status.loadBalancer.ingress[%d].ip", i), ingress.IP)...)
	}
	return faults
}

// checkAddrs checks IP addresses, each of which may be missing.
func checkAddrs(path string, texts ...string) []string {
	var faults []string
	for _, text := range texts {
		if _, err := netip.ParseAddr(text); text != "" && err != nil {
			faults = append(faults, fmt.Sprintf("%s: parsing IP address: %v", path, err))
		}
	}
	return faults
}
