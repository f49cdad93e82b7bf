// SPDX-License-Identifier: Apache-2.0

package stalerecord

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
)

// Service is the name of the Service that the slices are for. With it, kube-proxy makes a remote endpoint for the
// slice's address, in which its progress can be seen. Without it, a change only clears the record.
const Service = "hnsguard-flush"

// ManagedBy is who the slices say is in charge of them, so that no controller takes them for its own.
const ManagedBy = cluster.ManagedBy

// PortName is the name of the port of the Service.
const PortName = "flush"

// SliceName is the name of the slice of a family.
func SliceName(kind discoveryv1.AddressType) string {
	return Service + "-" + strings.ToLower(string(kind))
}

// The barrier addresses begin so. They are in ranges that are set aside for documentation; 192.0.2.0/24 is avoided,
// because some test machines have their API server there. The last byte counts the moves, so that an address comes back
// after 254 of them.
const (
	barrierV4 = "198.51.100.0"
	barrierV6 = "2001:db8:0:1::"
	barriers  = 254
)

// IsBarrier reports whether an address is one of those that the flush slices move through.
func IsBarrier(addr netip.Addr) bool {
	bytes := addr.AsSlice()
	return len(bytes) > 0 && addr == barrierAt(cluster.FamilyOf(addr), int(bytes[len(bytes)-1]))
}

// barrierAt returns a family's barrier address of a number from 1 to [barriers].
func barrierAt(kind discoveryv1.AddressType, number int) netip.Addr {
	first := barrierV4
	if kind == discoveryv1.AddressTypeIPv6 {
		first = barrierV6
	}
	bytes := netip.MustParseAddr(first).AsSlice()
	bytes[len(bytes)-1] = byte(number)
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

// barrierOf returns the barrier address that a slice lists; the zero address if it lists none, or anything else.
func barrierOf(s *cluster.Slice) netip.Addr {
	var only netip.Addr
	for addr := range s.Listings() {
		if only.IsValid() || !IsBarrier(addr) {
			return netip.Addr{}
		}
		only = addr
	}
	return only
}

// nextBarrier returns the address that the slice moves to: the next one that this node's HNS does not have.
func nextBarrier(kind discoveryv1.AddressType, from int, taken sets.Set[netip.Addr]) netip.Addr {
	for step := range barriers {
		if addr := barrierAt(kind, (from+step)%barriers+1); !taken.Has(addr) {
			return addr
		}
	}
	return barrierAt(kind, from%barriers+1)
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

// lost returns the addresses elsewhere that are in the first slice and not in the second: they go into the record. A
// slice that gets another Service drops all of its addresses from the first one.
func lost(before, after *cluster.Slice, node string) []netip.Addr {
	if before != nil && after != nil && before.Service != after.Service {
		after = nil
	}
	return before.AddressesElsewhere(node).Difference(after.AddressesElsewhere(node)).UnsortedList()
}

// moved returns the addresses that the second slice lists on the node and the first does not. If another slice of the
// Service lists such an address elsewhere, it goes into the record: of two endpoints with one address, kube-proxy takes
// the local one.
//
// Source: addEndpoints in pkg/proxy/endpointslicecache.go.
func moved(before, after *cluster.Slice, node string) []netip.Addr {
	return after.AddressesOn(node).Difference(before.AddressesOn(node)).UnsortedList()
}

// isFlushSlice reports whether a slice is the one that all agents move.
func isFlushSlice(s *cluster.Slice, namespace string) bool {
	return listsIPs(s) && s.Key.Namespace == namespace && s.Key.Name == SliceName(s.AddressType)
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
	// to is the address that the slice moves to.
	to netip.Addr
}

// mostConflicts is how many conflicts without a change in the watch are taken for other agents' writes.
const mostConflicts = 2

// errNoChange says why a conflict counts as a failure.
var errNoChange = errors.New("it was changed meanwhile, but the watch of EndpointSlices shows no change")

// write makes the change, if an admission policy restricts it. It returns the resource version that it wrote.
func (f *Flusher) write(
	ctx context.Context, kind discoveryv1.AddressType, w write,
) (result, version string, err error) {
	slice := newSlice(f.opts.Namespace, kind, w.to)
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

// send moves the slice from what it was seen to be, and only from that (invariant 3), or creates the slice.
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
		forbidden := netip.MustParseAddr("203.0.113.1")
		if kind == discoveryv1.AddressTypeIPv6 {
			forbidden = netip.MustParseAddr("2001:db8::ffff")
		}
		return f.opts.Client.Create(ctx, newSlice(f.opts.Namespace, kind, forbidden), client.DryRunAll)
	}
}

func newSlice(namespace string, kind discoveryv1.AddressType, address netip.Addr) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: SliceName(kind),
			Labels: map[string]string{discoveryv1.LabelServiceName: Service, discoveryv1.LabelManagedBy: ManagedBy},
		},
		AddressType: kind,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address.String()}}},
		Ports: []discoveryv1.EndpointPort{{
			Name: new(PortName), Port: new(int32(1)), Protocol: new(corev1.ProtocolTCP),
		}},
	}
}

// patch makes the slice what is wanted, whatever others have made of it (invariant 9), if it is still what it was seen
// to be. Nothing is known of a slice that was not seen: kube-proxy does not look at it either.
func patch(wanted *discoveryv1.EndpointSlice, seen *cluster.Slice) client.Patch {
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

// provenNotNewer reports whether a resource version is known to be the same as another, or older. It recognises what
// the watch delivers late of an own write; before the first write there is no version to compare with.
func provenNotNewer(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err == nil && order <= 0
}

// keepsOf returns what a slice keeps for a node.
func keepsOf(s *cluster.Slice, node string) []cluster.Keep {
	return slices.DeleteFunc(slices.Collect(s.Keeps()), func(k cluster.Keep) bool { return k.Node != node })
}
