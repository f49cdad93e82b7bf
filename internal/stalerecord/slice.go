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

// Service is the name of the flush slices' Service. With it, kube-proxy creates a remote endpoint for the slice's
// address, which shows its progress. Without it, a change only clears the record.
const Service = "hnsguard-flush"

// ManagedBy is the manager that the slices name, so that no other controller manages them.
const ManagedBy = cluster.ManagedBy

// PortName is the name of the port of the Service.
const PortName = "flush"

// SliceName returns the name of the flush slice of a family.
func SliceName(kind discoveryv1.AddressType) string {
	return Service + "-" + strings.ToLower(string(kind))
}

// The prefixes of the barrier addresses are documentation ranges; 192.0.2.0/24 is avoided, because some test machines
// have their API server there. The last byte counts the moves, so an address is used again after 254 moves.
const (
	barrierV4 = "198.51.100.0"
	barrierV6 = "2001:db8:0:1::"
	barriers  = 254
)

// IsBarrier reports whether an address is a barrier address.
func IsBarrier(addr netip.Addr) bool {
	bytes := addr.AsSlice()
	return len(bytes) > 0 && addr == barrierAt(cluster.FamilyOf(addr), int(bytes[len(bytes)-1]))
}

// barrierAt returns a family's barrier address with a number from 1 to [barriers].
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

// barrierOf returns the barrier address that a slice lists, or the zero address if it does not list exactly one.
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

// nextBarrier returns the address that the slice moves to: the next one that is not in this node's HNS.
func nextBarrier(kind discoveryv1.AddressType, from int, taken sets.Set[netip.Addr]) netip.Addr {
	for step := range barriers {
		if addr := barrierAt(kind, (from+step)%barriers+1); !taken.Has(addr) {
			return addr
		}
	}
	return barrierAt(kind, from%barriers+1)
}

// visible returns the slice if kube-proxy uses it, and nil otherwise: for kube-proxy, a slice with the label of another
// proxy does not exist. The watch already leaves out headless Services.
func visible(s *cluster.Slice) *cluster.Slice {
	if s == nil || s.OtherProxy || s.Service == "" || !listsIPs(s) {
		return nil
	}
	return s
}

func listsIPs(s *cluster.Slice) bool {
	return s.AddressType == discoveryv1.AddressTypeIPv4 || s.AddressType == discoveryv1.AddressTypeIPv6
}

// Flushes reports whether kube-proxy replaces its record when it processes the change. kube-proxy compares whole
// slices; this agent keeps only their ports and endpoints. Either side may be nil.
//
// Source: esDataChanged in pkg/proxy/endpointslicecache.go.
func Flushes(before, after *cluster.Slice) bool {
	before, after = visible(before), visible(after)
	if before == nil || after == nil {
		return before != after
	}
	return !before.SameEndpoints(after)
}

// lost returns the addresses elsewhere that are in the first slice and not in the second: kube-proxy records them. A
// slice that moves to another Service drops all its addresses from the first one.
func lost(before, after *cluster.Slice, node string) []netip.Addr {
	if before != nil && after != nil && before.Service != after.Service {
		after = nil
	}
	return before.AddressesElsewhere(node).Difference(after.AddressesElsewhere(node)).UnsortedList()
}

// moved returns the addresses that the second slice lists on the node and the first does not. If another slice of the
// Service lists such an address elsewhere, kube-proxy records it: of two endpoints with one address, kube-proxy uses
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
	// unrestricted: no admission policy restricts the write, so it was not made.
	unrestricted = "unrestricted"
)

// write is the input of a write.
type write struct {
	// seen is the last seen state of the slice; nil if it was never seen.
	seen *cluster.Slice
	// conflicts counts conflicting writes since the watch last showed a change of the slice.
	conflicts int
	// to is the address that the slice moves to.
	to netip.Addr
}

// mostConflicts is how many conflicts without a change in the watch are attributed to other agents.
const mostConflicts = 2

// errNoChange is why a conflict counts as a failure.
var errNoChange = errors.New("it was changed meanwhile, but the watch of EndpointSlices shows no change")

// write writes the slice, if an admission policy restricts the write. It returns the written resource version.
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

// send moves the slice from its last seen state, and only from that (invariant 3), or creates it. A slice that exists
// but that the watch does not show even after a conflict is hidden by a label, and is patched unconditionally.
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

// trial returns a write that the admission policy must refuse: of another address from a documentation range.
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

// patch sets the slice to the wanted state, whatever others have changed (invariant 9), if it is still in the seen
// state. A slice that was not seen is patched unconditionally: kube-proxy does not see it either.
func patch(wanted *discoveryv1.EndpointSlice, seen *cluster.Slice) client.Patch {
	steps := []map[string]any{
		add("/metadata/labels", wanted.Labels), add("/metadata/annotations", map[string]string{}),
		add("/metadata/finalizers", []string{}), add("/metadata/ownerReferences", []metav1.OwnerReference{}),
		add("/metadata/managedFields", []metav1.ManagedFieldsEntry{{}}), // resets them
		add("/endpoints", wanted.Endpoints), add("/ports", wanted.Ports),
	}
	if seen != nil {
		steps = append(steps, add("/metadata/resourceVersion", seen.ResourceVersion))
	}
	text, err := json.Marshal(steps)
	if err != nil {
		panic(err) // what the API server accepts can be encoded
	}
	return client.RawPatch(types.JSONPatchType, text)
}

// add returns the step of a JSON patch that adds or replaces a field.
func add(path string, value any) map[string]any {
	return map[string]any{"op": "add", "path": path, "value": value}
}

// provenNotNewer reports whether a resource version is known to be the same as another, or older. It detects an own
// write that the watch delivers late; before the first write there is no version to compare with.
func provenNotNewer(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err == nil && order <= 0
}

// keepsOf returns the keeps of a slice for a node.
func keepsOf(s *cluster.Slice, node string) []cluster.Keep {
	return slices.DeleteFunc(slices.Collect(s.Keeps()), func(k cluster.Keep) bool { return k.Node != node })
}
