// SPDX-License-Identifier: Apache-2.0

package stalerecord

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// Service is the name of the Service that the slices are for, and that does not exist: kube-proxy processes changes of
// slices without a Service, and makes no endpoints for them.
const Service = "hnsguard-flush"

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

// FamilyOf returns the address type of the slices that list the address.
func FamilyOf(addr netip.Addr) discoveryv1.AddressType {
	if addr.Is4() {
		return discoveryv1.AddressTypeIPv4
	}
	return discoveryv1.AddressTypeIPv6
}

// concernsKubeProxy reports whether kube-proxy looks at the slice. The watch leaves headless Services out already.
func concernsKubeProxy(s *cluster.Slice) bool {
	return !s.OtherProxy && s.Service != "" &&
		(s.AddressType == discoveryv1.AddressTypeIPv4 || s.AddressType == discoveryv1.AddressTypeIPv6)
}

// Flushes reports whether kube-proxy replaces its record when it processes the change. It compares whole slices; that
// of ports and endpoints is the part of it that this agent keeps. Either side may be nil.
//
// Source: esDataChanged in pkg/proxy/endpointslicecache.go.
func Flushes(before, after *cluster.Slice) bool {
	if one := cmp.Or(after, before); one == nil || !concernsKubeProxy(one) {
		return false
	}
	if before == nil || after == nil {
		return true
	}
	return !before.SameEndpoints(after)
}

// lost returns the addresses elsewhere that are in the first slice and not in the second: they go into the record.
func lost(before, after *cluster.Slice, node string) []netip.Addr {
	return before.AddressesElsewhere(node).Difference(after.AddressesElsewhere(node)).UnsortedList()
}

func (f *Flusher) isOwn(s *cluster.Slice) bool {
	return s.Key.Namespace == f.opts.Namespace && s.Key.Name == SliceName(s.AddressType)
}

// The results of a write.
const (
	written    = "written"
	conflicted = "conflict"
	failed     = "failed"
	forbidden  = "forbidden"
	observed   = "observed"
	suppressed = "suppressed"
)

// toggle changes the slice's port from what it was seen to be, and only from that (invariant 3), or creates the slice.
// It returns the resource version that it wrote.
func (f *Flusher) toggle(
	ctx context.Context, kind discoveryv1.AddressType, seen *cluster.Slice,
) (result, version string, err error) {
	slice := newSlice(f.opts.Namespace, kind)
	if seen == nil {
		err = f.opts.Client.Create(ctx, slice)
	} else {
		err = f.opts.Client.Patch(ctx, slice, togglePatch(seen))
	}
	switch {
	case err == nil:
		return written, slice.ResourceVersion, nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err) && seen != nil:
		return conflicted, "", nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		result = forbidden
	default:
		result = failed
	}
	return result, "", fmt.Errorf("writing EndpointSlice %s/%s: %w", f.opts.Namespace, SliceName(kind), err)
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
func togglePatch(seen *cluster.Slice) client.Patch {
	number := int32(1)
	if seen.Port == 1 {
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

// provenNewer reports whether a resource version is known to be newer than another. Versions that cannot be compared
// prove nothing: the proof that an address is forgotten waits for another change.
func provenNewer(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err == nil && order > 0
}

// provenNotNewer reports whether a resource version is known to be the same as another, or older. It recognises what
// the watch delivers late of an own write; before the first write there is no version to compare with.
func provenNotNewer(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err == nil && order <= 0
}
