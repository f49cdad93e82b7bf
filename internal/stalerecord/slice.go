// SPDX-License-Identifier: Apache-2.0

package stalerecord

import (
	"context"
	"encoding/json"
	"errors"
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

	"github.com/hnsguard/hnsguard/internal/admission"
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

// visible returns the slice if kube-proxy looks at it, and else nil: to kube-proxy, a slice that is labelled for
// another proxy is deleted. The watch leaves headless Services out already.
func visible(s *cluster.Slice) *cluster.Slice {
	if s == nil || s.OtherProxy || s.Service == "" || !listsIPs(s) {
		return nil
	}
	return s
}

func listsIPs(s *cluster.Slice) bool {
	return s.AddressType == discoveryv1.AddressTypeIPv4 || s.AddressType == discoveryv1.AddressTypeIPv6
}

// Flushes reports whether kube-proxy replaces its record when it processes the change. It compares whole slices; that
// of ports and endpoints is the part of it that this agent keeps. Either side may be nil.
//
// Source: esDataChanged in pkg/proxy/endpointslicecache.go.
func Flushes(before, after *cluster.Slice) bool {
	before, after = visible(before), visible(after)
	if before == nil || after == nil {
		return before != after
	}
	return !before.SameEndpoints(after)
}

// lost returns the addresses elsewhere that are in the first slice and not in the second: they go into the record.
func lost(before, after *cluster.Slice, node string) []netip.Addr {
	return before.AddressesElsewhere(node).Difference(after.AddressesElsewhere(node)).UnsortedList()
}

func (f *Flusher) isOwn(s *cluster.Slice) bool {
	return listsIPs(s) && s.Key.Namespace == f.opts.Namespace && s.Key.Name == SliceName(s.AddressType)
}

// The results of a write.
const (
	written    = "written"
	conflicted = "conflict"
	failed     = "failed"
	forbidden  = "forbidden"
	observed   = "observed"
	suppressed = "suppressed"
	// unrestricted: no admission policy restricts the write, so that it is not made.
	unrestricted = "unrestricted"
)

// write is what a write starts from.
type write struct {
	// seen is the slice as it was last seen; nil if it was not.
	seen *cluster.Slice
	// conflicts is how many writes met another's since the watch last showed a change of the slice.
	conflicts int
}

// mostConflicts is how many conflicts without a change in the watch are taken for other agents' writes.
const mostConflicts = 2

// errNoChange says why a conflict counts as a failure.
var errNoChange = errors.New("it was changed meanwhile, but the watch of EndpointSlices shows no change")

// write makes the change, if an admission policy restricts it. It returns the resource version that it wrote.
func (f *Flusher) write(
	ctx context.Context, kind discoveryv1.AddressType, w write,
) (result, version string, err error) {
	slice := newSlice(f.opts.Namespace, kind, 1)
	if err = f.opts.Gate.Pass(ctx, f.trial(kind)); err == nil {
		err = f.send(ctx, slice, w)
	}
	if result = resultOf(err, w); result == written || result == conflicted {
		return result, slice.ResourceVersion, nil
	}
	if apierrors.IsConflict(err) {
		err = errNoChange
	}
	return result, "", fmt.Errorf("writing EndpointSlice %s/%s: %w", f.opts.Namespace, SliceName(kind), err)
}

// send changes the slice's port from what it was seen to be, and only from that (invariant 3), or creates the slice.
// One that exists and that the watch does not show even after a conflict is hidden by a label, and changed as it is.
func (f *Flusher) send(ctx context.Context, slice *discoveryv1.EndpointSlice, w write) error {
	if w.seen == nil {
		err := f.opts.Client.Create(ctx, slice)
		if w.conflicts == 0 || !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return f.opts.Client.Patch(ctx, slice, patch(slice, w.seen))
}

func resultOf(err error, w write) string {
	switch {
	case err == nil:
		return written
	case errors.Is(err, admission.ErrUnrestricted):
		return unrestricted
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return forbidden
	case w.conflicts >= mostConflicts:
		return failed
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err) && w.seen != nil:
		return conflicted
	default:
		return failed
	}
}

// trial returns a write that the admission policy has to refuse: another address, from a range for documentation too.
func (f *Flusher) trial(kind discoveryv1.AddressType) func(context.Context) error {
	return func(ctx context.Context) error {
		slice := newSlice(f.opts.Namespace, kind, 1)
		slice.Endpoints[0].Addresses[0] = map[discoveryv1.AddressType]string{
			discoveryv1.AddressTypeIPv4: "203.0.113.1", discoveryv1.AddressTypeIPv6: "2001:db8::ffff",
		}[kind]
		return f.opts.Client.Create(ctx, slice, client.DryRunAll)
	}
}

func newSlice(namespace string, kind discoveryv1.AddressType, port int32) *discoveryv1.EndpointSlice {
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
		Ports: []discoveryv1.EndpointPort{{
			Name: new("flush"), Port: &port, Protocol: new(corev1.ProtocolTCP),
		}},
	}
}

// patch makes the slice what is wanted, whatever others have made of it (invariant 9), with its port changed between 1
// and 2, if it is still what it was seen to be. Nothing is known of a slice that was not seen: kube-proxy does not look
// at it either, so that any port is a change.
func patch(wanted *discoveryv1.EndpointSlice, seen *cluster.Slice) client.Patch {
	if seen != nil && seen.Port == 1 {
		wanted.Ports[0].Port = new(int32(2))
	}
	steps := []map[string]any{
		add("/metadata/labels", wanted.Labels), add("/metadata/annotations", map[string]string{}),
		add("/metadata/finalizers", []string{}), add("/metadata/ownerReferences", []metav1.OwnerReference{}),
		add("/metadata/managedFields", []metav1.ManagedFieldsEntry{{}}), // which resets them
		add("/endpoints", wanted.Endpoints), add("/ports", wanted.Ports),
	}
	if seen != nil {
		steps = append(steps, add("/metadata/resourceVersion", seen.ResourceVersion))
	}
	text, err := json.Marshal(steps)
	if err != nil {
		panic(err) // what the API server takes can be encoded
	}
	return client.RawPatch(types.JSONPatchType, text)
}

// add is the step of a JSON patch that adds a field or replaces it.
func add(path string, value any) map[string]any {
	return map[string]any{"op": "add", "path": path, "value": value}
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
