// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
)

// Kind is the closed set of verdicts.
type Kind string

// The kinds. Only Conflict, EarlyConflict and Orphan let an endpoint be removed.
const (
	// Conflict: a live pod on this node has the address, and its local endpoint is attached.
	Conflict Kind = "conflict"
	// EarlyConflict: no pod has reported the address yet, but a local endpoint with it was attached just now.
	EarlyConflict Kind = "conflict_early"
	// Held is a conflict on a node whose kube-proxy would delete the pod's endpoint once the remote one is gone.
	Held Kind = "held"
	// Contested: the claim to the address on this node is incomplete, or not the only one.
	Contested Kind = "contested"
	// LeakedLocal: the remote endpoint is the valid one; a local endpoint was left behind.
	LeakedLocal Kind = "leaked_local"
	// InUse: an EndpointSlice lists the address, or a pod on another node has it, and nothing here claims it.
	InUse Kind = "in_use"
	// Protected: the address must not be touched.
	Protected Kind = "protected"
	// Orphan: the address was unclaimed for longer than the grace period, and no load balancer refers to it.
	Orphan Kind = "orphan"
	// OrphanPending: the address is unclaimed, but a reason to keep the endpoint remains.
	OrphanPending Kind = "orphan_pending"
	// Foreign: a remote endpoint on another network, or one that kube-proxy did not create.
	Foreign Kind = "foreign"
	// Local: a local endpoint.
	Local Kind = "local"
)

// Kinds lists every kind, so that metrics can start at zero.
func Kinds() []Kind {
	return []Kind{
		Conflict, EarlyConflict, Held, Contested, LeakedLocal, InUse, Protected, Orphan, OrphanPending, Foreign, Local,
	}
}

// Removes reports whether the verdict lets the endpoint be removed.
func (k Kind) Removes() bool { return k == Conflict || k == EarlyConflict || k == Orphan }

// Stale reports whether the endpoint has outlived the use of its address: it is removed, or held.
func (k Kind) Stale() bool { return k.Removes() || k == Held }

// Reason is the closed set of reasons for verdicts.
type Reason string

// The reasons, by the kinds they belong to.
const (
	ReasonLivePod     Reason = "live-pod-with-local-endpoint"    // conflict
	ReasonNewEndpoint Reason = "new-local-endpoint-waiting-pod"  // early conflict
	ReasonStaleRecord Reason = "kube-proxy-would-delete-the-pod" // held: a slice still lists the address elsewhere
	ReasonMayRemember Reason = "kube-proxy-may-remember-it"      // held, orphan pending

	ReasonPodDeleting     Reason = "pod-is-being-deleted"       // contested
	ReasonNoLocalEndpoint Reason = "pod-without-local-endpoint" // contested
	ReasonPodElsewhere    Reason = "pod-on-another-node"        // contested, in use: found on the API server

	ReasonListedReady Reason = "listed-ready-elsewhere" // contested, leaked local, in use
	ReasonListed      Reason = "listed-in-a-slice"      // in use
	ReasonListedHere  Reason = "listed-on-this-node"    // in use

	ReasonExcluded    Reason = "excluded-by-policy" // protected
	ReasonVIP         Reason = "service-vip"        // protected
	ReasonNodeAddress Reason = "node-address"       // protected

	ReasonUnclaimed            Reason = "unclaimed"              // orphan
	ReasonGracePeriod          Reason = "grace-period"           // orphan pending
	ReasonReferenced           Reason = "load-balancer-refers"   // orphan pending
	ReasonLoadBalancersUnknown Reason = "load-balancers-unknown" // orphan pending
	ReasonNoSlices             Reason = "no-slices-known"        // orphan pending
	ReasonServicesUnknown      Reason = "services-unknown"       // orphan pending

	ReasonOtherNetwork Reason = "other-network"          // foreign
	ReasonOtherMaker   Reason = "not-made-by-kube-proxy" // foreign
	ReasonOfNode       Reason = "of-the-node"            // foreign, local: by the endpoint's name

	ReasonLocalPod         Reason = "local-pod"            // local
	ReasonLocalNotAttached Reason = "local-not-attached"   // local: a pod has the address, and cannot use the endpoint
	ReasonLocalBesidePods  Reason = "local-beside-the-pod" // local: another local endpoint is the pod's
	ReasonLocalUnclaimed   Reason = "local-without-pod"    // local
	ReasonLocalLeftBehind  Reason = "local-left-behind"    // local: not attached either
	ReasonLocalLeaked      Reason = "local-leaked"         // local: the address is in use elsewhere
)

// Claimant is a pod on another node that may use an address.
type Claimant struct {
	Pod  types.NamespacedName
	Node string
}

// Verdict is the decision about one endpoint, with its evidence.
type Verdict struct {
	Endpoint hns.Endpoint
	Kind     Kind
	Reason   Reason
	// Pods are the pods on this node that have, or in an early conflict may be waiting for, the address.
	Pods []cluster.PodID
	// Locals are the local endpoints that share the address with a remote one.
	Locals []hns.EndpointID
	// Listings are the places in EndpointSlices that list the address.
	Listings []cluster.Listing
	// Keeps are the keep-slices that list the address, including those of other nodes.
	Keeps []cluster.Keep
	// Elsewhere are the pods on other nodes that may use the address, if it was looked up on the API server.
	Elsewhere []Claimant
	// LoadBalancers are the ones that refer to the endpoint, if they are known.
	LoadBalancers []hns.LoadBalancerID
	// Due is when an orphan's grace period ends; it is zero for other kinds.
	Due time.Time
	// NeedsCurrentSlices is set when the verdict rests on the absence of a listing. Before a removal, the view of
	// EndpointSlices has to be proved to include everything that the API server held after [Verdict.Since].
	NeedsCurrentSlices bool
	// Since is when the youngest endpoint that the verdict rests on was first seen.
	Since time.Time

	early bool
}

// Unclaimed reports whether the endpoint's address is unclaimed.
func (v Verdict) Unclaimed() bool { return v.Kind == Orphan || v.Kind == OrphanPending }

// Early reports whether the verdict rests on a pod that has not reported the address yet.
func (v Verdict) Early() bool { return v.early }

// LeftBehind reports whether a CNI has left the endpoint behind, and its address is either unused or used by a pod here
// that has another endpoint.
func (r Reason) LeftBehind() bool { return r == ReasonLocalLeftBehind || r == ReasonLocalBesidePods }

// MayBeRemembered reports whether the endpoint stays because kube-proxy may hold its address in its record of
// terminated endpoints.
func (v Verdict) MayBeRemembered() bool { return v.Reason == ReasonMayRemember }

// Address returns the address that the verdict is about, or the zero address if the endpoint has none.
func (v Verdict) Address() netip.Addr {
	if len(v.Endpoint.Addresses) == 0 {
		return netip.Addr{}
	}
	return v.Endpoint.Addresses[0]
}

// Equal reports whether both verdicts are the same, with the same evidence.
func (v Verdict) Equal(other Verdict) bool {
	return v.Kind == other.Kind && v.Reason == other.Reason && v.early == other.early &&
		v.NeedsCurrentSlices == other.NeedsCurrentSlices && v.Due.Equal(other.Due) && v.Since.Equal(other.Since) &&
		v.Endpoint.Equal(other.Endpoint) && v.sameClaims(other) &&
		slices.Equal(v.Locals, other.Locals) && slices.Equal(v.LoadBalancers, other.LoadBalancers)
}

// sameClaims reports whether both verdicts name the same claims to the address.
func (v Verdict) sameClaims(other Verdict) bool {
	return slices.Equal(v.Pods, other.Pods) && slices.Equal(v.Listings, other.Listings) &&
		slices.Equal(v.Elsewhere, other.Elsewhere) && slices.Equal(v.Keeps, other.Keeps)
}

// KeysAndValues returns the verdict and its evidence for a structured log.
func (v Verdict) KeysAndValues() []any {
	pods := make([]types.NamespacedName, 0, len(v.Pods))
	for _, p := range v.Pods {
		pods = append(pods, p.NamespacedName)
	}
	return []any{
		"endpointID", v.Endpoint.ID, "ip", v.Address().String(), "verdict", v.Kind, "reason", v.Reason,
		"pods", pods, "localEndpointIDs", v.Locals, "listings", len(v.Listings), "elsewhere", v.Elsewhere,
	}
}
