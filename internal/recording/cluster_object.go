// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// The kinds that are read, as API version and kind.
const (
	statusKind       = "v1 Status"
	nodeKind         = "v1 Node"
	podKind          = "v1 Pod"
	serviceKind      = "v1 Service"
	sliceKind        = "discovery.k8s.io/v1 EndpointSlice"
	sliceKindRetired = "discovery.k8s.io/v1beta1 EndpointSlice"
)

// object is an object in a file.
type object struct {
	header

	at int
	// id is "Pod default/web", and name what faults call it: "items[17] Pod default/web".
	id, name string
}

// readObject reads one object of any kind.
func (r *clusterReader) readObject(h header, text []byte, at int, path string) {
	qualified := strings.TrimPrefix(h.Metadata.Namespace+"/"+h.Metadata.Name, "/")
	id := strings.TrimSpace(h.Kind + " " + qualified)
	o := object{h, at, id, strings.TrimSpace(path + " " + id)}
	r.dump.saw(h.kind())
	switch h.kind() {
	case nodeKind, podKind, sliceKind, serviceKind:
		if oversized(text) {
			r.report(at, "%s: the object is larger than any that an API server has", o.name)
			return
		}
		r.decode(o, text)
	case sliceKindRetired: // skipping it would make every address in it look unused
		r.report(at, "%s: the API version discovery.k8s.io/v1beta1 is not read, Kubernetes has removed it; "+
			"record them with: kubectl get endpointslices.v1.discovery.k8s.io -A -o json", o.name)
	case statusKind:
		r.report(at, "%s: the API server returned an error instead of objects: %.200s", o.name, h.Message)
	case "":
		r.report(at, "%s: not a Kubernetes object: apiVersion and kind are missing", path)
	default:
		r.dump.Skipped++
	}
}

// decode reads an object of a kind that verdicts need, checks it, and keeps what they need of it.
func (r *clusterReader) decode(o object, text []byte) {
	gvk := schema.FromAPIVersionAndKind(o.APIVersion, o.Kind)
	decoded, _, err := scheme.Codecs.UniversalDeserializer().Decode(text, &gvk, nil)
	if err != nil {
		r.report(o.at, "%s: %v", o.name, err)
		return
	}
	r.require(o, "metadata.name", o.Metadata.Name != "")
	r.require(o, "metadata.namespace", o.Metadata.Namespace != "" || o.kind() == nodeKind)
	switch d := decoded.(type) {
	case *corev1.Node:
		for _, c := range d.Status.Conditions {
			if c.LastHeartbeatTime.After(r.dump.Recorded) {
				r.dump.Recorded = c.LastHeartbeatTime.UTC()
			}
		}
		node := trimNode(d)
		r.require(o, "status.nodeInfo", node.Status.NodeInfo != corev1.NodeSystemInfo{})
		r.dump.Nodes = keep(r.source, o.at, o.id, r.dump.Nodes, node)
	case *corev1.Pod:
		r.require(o, "status.phase", d.Status.Phase != "")
		r.checkAddresses(o, d.Status.PodIP)
		for _, ip := range d.Status.PodIPs {
			r.checkAddresses(o, ip.IP)
		}
		r.dump.Pods = keep(r.source, o.at, o.id, r.dump.Pods, trimPod(d))
	case *discoveryv1.EndpointSlice:
		r.checkSlice(o, d)
		r.dump.Slices = keep(r.source, o.at, o.id, r.dump.Slices, trimSlice(d))
	case *corev1.Service:
		r.require(o, "spec.type", d.Spec.Type != "")
		if d.Spec.ClusterIP != corev1.ClusterIPNone {
			r.checkAddresses(o, append(d.Spec.ClusterIPs, d.Spec.ClusterIP)...)
		}
		r.checkAddresses(o, d.Spec.ExternalIPs...)
		for _, ingress := range d.Status.LoadBalancer.Ingress {
			r.checkAddresses(o, ingress.IP)
		}
		r.dump.Services = keep(r.source, o.at, o.id, r.dump.Services, trimService(d))
	}
}

// require reports that an object lacks what an API server sets in every one. An object that was cut off, or a manifest,
// is not read as one with less content.
func (r *clusterReader) require(o object, path string, has bool) {
	if !has {
		r.report(o.at, "%s: %s is missing: it was cut off, or is a manifest instead of a recorded object", o.name, path)
	}
}

func (r *clusterReader) checkSlice(o object, slice *discoveryv1.EndpointSlice) {
	switch slice.AddressType {
	case discoveryv1.AddressTypeFQDN:
	case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6:
		for _, endpoint := range slice.Endpoints {
			r.checkAddresses(o, endpoint.Addresses...)
		}
	default:
		r.report(o.at, "%s: addressType is %q: want IPv4, IPv6 or FQDN", o.name, slice.AddressType)
	}
}

// checkAddresses checks IP addresses, each of which may be missing.
func (r *clusterReader) checkAddresses(o object, texts ...string) {
	for _, text := range texts {
		if _, err := netip.ParseAddr(text); text != "" && err != nil {
			r.report(o.at, "%s: parsing IP address: %v", o.name, err)
		}
	}
}
