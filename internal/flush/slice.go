// SPDX-License-Identifier: Apache-2.0

package flush

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// Service is the name of the Service that the slices are for, and that does not exist: kube-proxy processes changes of
// slices without a Service, and makes no endpoints for them.
const Service = "hnsguard-flush"

// LabelServiceProxyName marks what is for another proxy than kube-proxy.
const LabelServiceProxyName = "service.kubernetes.io/service-proxy-name"

// ManagedBy is who the slices say is in charge of them, so that no controller takes them for its own.
const ManagedBy = "hnsguard"

// SliceName is the name of the slice of a family.
func SliceName(kind discoveryv1.AddressType) string {
	return Service + "-" + strings.ToLower(string(kind))
}

// The addresses of the slices, from the ranges that are set aside for documentation.
const (
	addressV4 = "192.0.2.1"
	addressV6 = "2001:db8::1"
)

func kindOf(addr netip.Addr) discoveryv1.AddressType {
	if addr.Is4() {
		return discoveryv1.AddressTypeIPv4
	}
	return discoveryv1.AddressTypeIPv6
}

// concernsKubeProxy reports whether kube-proxy looks at the slice. The watch leaves headless Services out already.
func concernsKubeProxy(s *discoveryv1.EndpointSlice) bool {
	_, other := s.Labels[LabelServiceProxyName]
	return !other && s.Labels[discoveryv1.LabelServiceName] != "" &&
		(s.AddressType == discoveryv1.AddressTypeIPv4 || s.AddressType == discoveryv1.AddressTypeIPv6)
}

// differ reports whether kube-proxy sees a change between both: it compares ports and endpoints.
func differ(before, after *discoveryv1.EndpointSlice) bool {
	if before == nil || after == nil {
		return true
	}
	return !apiequality.Semantic.DeepEqual(before.Ports, after.Ports) ||
		!apiequality.Semantic.DeepEqual(before.Endpoints, after.Endpoints)
}

// lost returns the addresses of other nodes that are in the first and not in the second: they go into the record.
func lost(before, after *discoveryv1.EndpointSlice, node string) []netip.Addr {
	return remoteAddresses(before, node).Difference(remoteAddresses(after, node)).UnsortedList()
}

func remoteAddresses(s *discoveryv1.EndpointSlice, node string) sets.Set[netip.Addr] {
	if s == nil {
		return nil
	}
	remote := slices.DeleteFunc(slices.Clone(s.Endpoints), func(e discoveryv1.Endpoint) bool {
		return e.NodeName != nil && *e.NodeName == node
	})
	return sets.New(cluster.AddressesOf(remote)...)
}

func (f *Flusher) isOwn(s *discoveryv1.EndpointSlice) bool {
	return s.Namespace == f.Namespace && s.Name == SliceName(s.AddressType)
}

// The results of a write.
const (
	written    = "written"
	conflicted = "conflict"
	failed     = "failed"
	observed   = "observed"
	suppressed = "suppressed"
)

// toggle changes the slice's port from what it was seen to be, and only from that (invariant 3), or makes the slice.
func (f *Flusher) toggle(
	ctx context.Context, kind discoveryv1.AddressType, seen *discoveryv1.EndpointSlice,
) (string, error) {
	var err error
	if seen == nil {
		err = f.Client.Create(ctx, newSlice(f.Namespace, kind))
	} else {
		err = f.Client.Patch(ctx, &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.Namespace, Name: SliceName(kind)},
		}, togglePatch(seen))
	}
	switch {
	case err == nil:
		return written, nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err) && seen != nil:
		return conflicted, nil
	default:
		return failed, fmt.Errorf("writing EndpointSlice %s/%s: %w", f.Namespace, SliceName(kind), err)
	}
}

func newSlice(namespace string, kind discoveryv1.AddressType) *discoveryv1.EndpointSlice {
	address := addressV4
	if kind == discoveryv1.AddressTypeIPv6 {
		address = addressV6
	}
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: SliceName(kind),
			Labels: map[string]string{discoveryv1.LabelServiceName: Service, discoveryv1.LabelManagedBy: ManagedBy},
		},
		AddressType: kind,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address}}},
		Ports:       ports(1),
	}
}

func ports(number int32) []discoveryv1.EndpointPort {
	return []discoveryv1.EndpointPort{{Name: new("flush"), Port: &number, Protocol: new(corev1.ProtocolTCP)}}
}

// togglePatch changes the port between 1 and 2, if the slice is still what it was seen to be.
func togglePatch(seen *discoveryv1.EndpointSlice) client.Patch {
	number := int32(1)
	if slices.ContainsFunc(seen.Ports, func(p discoveryv1.EndpointPort) bool { return p.Port != nil && *p.Port == 1 }) {
		number = 2
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": seen.ResourceVersion}, "ports": ports(number),
	})
	if err != nil {
		panic(err) // strings and numbers can be encoded
	}
	return client.RawPatch(types.MergePatchType, patch)
}
