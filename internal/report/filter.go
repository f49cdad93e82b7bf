// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Filter selects endpoints and pods. An endpoint must match one element of each list that is not empty.
type Filter struct {
	Addresses []netip.Addr
	// Endpoint selects an endpoint by its ID or the first part of its ID, and all endpoints that share an address with it.
	Endpoint hns.EndpointID
	// Pods select the endpoints with their addresses, even if the pods are on other nodes.
	Pods []types.NamespacedName
	// OrServices lets Pods name Services too.
	OrServices bool
	Verdicts   []verdict.Kind
}

// Verdicts returns the verdicts that a report may have.
func Verdicts() []verdict.Kind { return append(verdict.Kinds(), KindUnknown) }

// ParsePod parses the name of a pod from a command line.
func ParsePod(text string) (types.NamespacedName, error) {
	namespace, name, _ := strings.Cut(text, "/")
	if namespace == "" || name == "" || strings.Contains(name, "/") {
		return types.NamespacedName{}, fmt.Errorf("%q: must be NAMESPACE/NAME", text)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}

// endpointID matches an ID, or its first part, which tables and the node page show.
var endpointID = regexp.MustCompile(`^[0-9a-fA-F]{8}((-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?$`)

// ParseTarget parses the target of an explanation: an address, an endpoint, a pod or a Service.
func ParseTarget(text string) (Filter, error) {
	if addr, err := hns.ParseAddr(text); err == nil {
		return Filter{Addresses: []netip.Addr{addr}}, nil
	}
	if strings.Contains(text, "/") {
		pod, err := ParsePod(text)
		return Filter{Pods: []types.NamespacedName{pod}, OrServices: true}, err
	}
	if !endpointID.MatchString(text) {
		return Filter{}, fmt.Errorf(
			"%q: must be an IP address, the ID of an endpoint, or a pod or Service as NAMESPACE/NAME", text)
	}
	return Filter{Endpoint: hns.EndpointID(strings.ToLower(text))}, nil
}

// explains reports whether the filter is the target of an explanation.
func (f Filter) explains() bool { return len(f.Addresses)+len(f.Pods) > 0 || f.Endpoint != "" }

// withAddresses makes the filter select everything that shares an address with its endpoint.
func (f Filter) withAddresses(endpoints []hns.Endpoint) Filter {
	for _, e := range endpoints {
		if f.hasID(e.ID) {
			f.Addresses = append(f.Addresses, e.Addresses...)
		}
	}
	return f
}

func (f Filter) hasID(id hns.EndpointID) bool {
	return f.Endpoint != "" && strings.HasPrefix(strings.ToLower(string(id)), strings.ToLower(string(f.Endpoint)))
}

// selects reports whether the filter selects an endpoint. An endpoint is about a named pod if it has an address of the
// pod, or if its verdict refers to the pod.
func (f Filter) selects(e Endpoint, pods []Pod) bool {
	about := func(p Pod) bool {
		return f.names(p) && (slices.Contains(e.Pods, p.Name) || intersect(p.Addresses, e.Addresses))
	}
	return (f.hasID(e.ID) || f.hasOneOf(e.Addresses)) &&
		(len(f.Pods) == 0 || slices.ContainsFunc(pods, about)) &&
		(len(f.Verdicts) == 0 || slices.Contains(f.Verdicts, e.Verdict))
}

// selectsPod reports whether the filter selects a pod without an endpoint. Verdicts select only endpoints.
func (f Filter) selectsPod(p Pod) bool {
	return f.hasOneOf(p.Addresses) && (len(f.Pods) == 0 || f.names(p)) && len(f.Verdicts) == 0
}

// names reports whether the filter names the pod.
func (f Filter) names(p Pod) bool {
	return slices.ContainsFunc(f.Pods, func(name types.NamespacedName) bool { return name.String() == p.Name })
}

func (f Filter) hasOneOf(addresses []netip.Addr) bool {
	return len(f.Addresses) == 0 && f.Endpoint == "" || intersect(f.Addresses, addresses)
}

func podIn(dump recording.Cluster, name types.NamespacedName) bool {
	return slices.ContainsFunc(dump.Pods, func(p *corev1.Pod) bool {
		return p.Namespace == name.Namespace && p.Name == name.Name
	})
}

func intersect(a, b []netip.Addr) bool {
	return slices.ContainsFunc(a, func(addr netip.Addr) bool { return slices.Contains(b, addr) })
}
