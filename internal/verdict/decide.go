// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

// Policy is what the operator may set of the decision.
type Policy struct {
	// Exclusions are address ranges in which nothing is ever removed.
	Exclusions []netip.Prefix
	// OrphanGrace is how long an address must be unclaimed before its endpoint is an orphan.
	OrphanGrace time.Duration
	// OrphanGraceUrgent is the same while [Evidence.Urgent].
	OrphanGraceUrgent time.Duration
}

// Evidence is everything that a decision rests on. The snapshot and the view have to be complete; a caller that has no
// complete ones has no evidence and must not decide.
type Evidence struct {
	Snapshot  Snapshot
	Cluster   cluster.View
	KubeProxy kubeproxy.Profile
	Policy    Policy
	// Elsewhere are the pods on other nodes that may use an address, by what the API server was last known to have. They
	// are not watched: an address that is missing was not looked up, or had no such pod.
	Elsewhere map[netip.Addr][]cluster.Pod
	// Record reports what kube-proxy's record of terminated endpoints may hold.
	Record Record
	// UnclaimedSince says since when an endpoint has had an [Verdict.Unclaimed] verdict without a break. One that is
	// missing has it from now on.
	UnclaimedSince map[hns.EndpointID]time.Time
	// WaitingSince says since when a pod has been seen to wait for its address. One that is missing waits from now on.
	WaitingSince map[types.UID]time.Time
	// Urgent is set when a pod on this node has waited for its address for longer than a pod does that gets it: an orphan
	// may be in its way, where HNS refuses duplicates.
	Urgent bool
	Now    time.Time
}

// Decide gives every endpoint of the snapshot its verdict, in the snapshot's order.
func Decide(e Evidence) []Verdict { return DecideInto(nil, e) }

// DecideInto is [Decide] for a caller that decides often: it overwrites verdicts that the caller needs no more. What
// they refer to stays.
func DecideInto(verdicts []Verdict, e Evidence) []Verdict {
	d := prepare(e)
	verdicts = slices.Grow(verdicts[:0], len(e.Snapshot.Endpoints))[:len(e.Snapshot.Endpoints)]
	for i := range verdicts {
		d.decide(&verdicts[i], &e.Snapshot.Endpoints[i])
	}
	return verdicts
}

// DecideEndpoint gives one endpoint of the snapshot the verdict that [Decide] gives it. It returns false if there is no
// endpoint with the ID.
func DecideEndpoint(e Evidence, id hns.EndpointID) (Verdict, bool) {
	at := slices.IndexFunc(e.Snapshot.Endpoints, func(ep Endpoint) bool { return ep.ID == id })
	if at < 0 {
		return Verdict{}, false
	}
	var v Verdict
	prepare(e).decide(&v, &e.Snapshot.Endpoints[at])
	return v, true
}

// decision is the evidence, indexed for lookups.
type decision struct {
	Evidence
	locals    map[netip.Addr][]*Endpoint // of the pod network
	arrivals  sets.Set[hns.EndpointID]   // local endpoints that can only be those of waiting pods
	left      sets.Set[hns.EndpointID]   // local endpoints that were left behind
	referrers map[hns.EndpointID][]hns.LoadBalancerID
}

func prepare(e Evidence) *decision {
	d := prepareLocals(e)
	d.referrers = map[hns.EndpointID][]hns.LoadBalancerID{}
	for i := range e.Snapshot.LoadBalancers {
		lb := &e.Snapshot.LoadBalancers[i]
		for _, id := range lb.Endpoints {
			d.referrers[id] = append(d.referrers[id], lb.ID)
		}
	}
	d.left = d.findLeft()
	return d
}

// prepareLocals puts in order what decides which pods are here.
func prepareLocals(e Evidence) *decision {
	d := &decision{Evidence: e, locals: map[netip.Addr][]*Endpoint{}}
	for i := range e.Snapshot.Endpoints {
		if ep := &e.Snapshot.Endpoints[i]; d.isLocalOfPods(ep) {
			for _, addr := range ep.Addresses {
				d.locals[addr] = append(d.locals[addr], ep)
			}
		}
	}
	d.arrivals = d.findArrivals()
	return d
}

func (d *decision) isLocalOfPods(ep *Endpoint) bool {
	return ep.Network == d.Snapshot.Network.ID && !ep.Remote()
}

func (d *decision) decide(v *Verdict, ep *Endpoint) {
	*v = Verdict{Endpoint: ep.Endpoint, LoadBalancers: d.referrers[ep.ID]}
	if len(ep.Addresses) > 0 && ep.Network == d.Snapshot.Network.ID {
		v.Keeps = d.Cluster.Keeps(ep.Addresses[0])
	}
	v.Kind, v.Reason = d.judge(v, ep)
}

// judge applies ownership first: only what passes all of these is judged by its address.
func (d *decision) judge(v *Verdict, ep *Endpoint) (Kind, Reason) {
	switch {
	case !ep.Remote():
		return Local, d.judgeLocal(v, ep)
	case ep.Network != d.Snapshot.Network.ID:
		return Foreign, ReasonOtherNetwork
	case !kubeproxy.Owns(ep.Endpoint) && ofNode(ep.Endpoint):
		return Foreign, ReasonOfNode
	case !kubeproxy.Owns(ep.Endpoint):
		return Foreign, ReasonOtherMaker
	default:
		v.Since = ep.Seen
		return d.judgeRemote(v)
	}
}

// judgeLocal tells apart the local endpoints that a pod uses from those that were left behind. None is ever removed.
func (d *decision) judgeLocal(v *Verdict, ep *Endpoint) Reason {
	if v.Endpoint.Network != d.Snapshot.Network.ID {
		return ReasonOtherNetwork
	}
	for _, addr := range v.Endpoint.Addresses {
		if v.Pods = idsOf(d.podsUsing(addr)); len(v.Pods) > 0 {
			return d.judgeLocalOfPod(v.Endpoint, addr)
		}
	}
	if ofNode(v.Endpoint) {
		return ReasonOfNode
	}
	for _, addr := range v.Endpoint.Addresses {
		if listings := d.Cluster.Listings(addr); slices.ContainsFunc(listings, d.isReadyElsewhere) {
			v.Listings = listings
			return ReasonLocalLeaked
		}
	}
	if d.left.Has(v.Endpoint.ID) {
		v.Since = ep.Seen
		return ReasonLocalLeftBehind
	}
	return ReasonLocalUnclaimed
}

// judgeLocalOfPod judges a local endpoint whose address a pod on this node has. The pod uses an attached one.
func (d *decision) judgeLocalOfPod(e hns.Endpoint, addr netip.Addr) Reason {
	switch {
	case ofNode(e):
		return ReasonOfNode
	case e.Attached():
		return ReasonLocalPod
	case slices.ContainsFunc(d.locals[addr], attached):
		return ReasonLocalBesidePods
	default:
		return ReasonLocalNotAttached
	}
}

// leftAfter is how long a local endpoint that is neither attached nor a pod's has to be there to count as left behind.
const leftAfter = 10 * time.Minute

// findLeft returns the local endpoints that a CNI has left behind: nothing is attached to them, and no pod has their
// address. A CNI makes an endpoint seconds before it attaches it, and before the pod has its address. Where it is not
// known how long the endpoints have been there, as in a recording, each pod that waits may be about to get one.
func (d *decision) findLeft() sets.Set[hns.EndpointID] {
	var left, undated []hns.EndpointID
	for i := range d.Snapshot.Endpoints {
		switch e := &d.Snapshot.Endpoints[i]; {
		case !d.isLocalOfPods(e) || e.Attached() || ofNode(e.Endpoint) || d.isClaimed(e):
		case e.Seen.IsZero():
			undated = append(undated, e.ID)
		case d.Now.Sub(e.Seen) >= leftAfter:
			left = append(left, e.ID)
		}
	}
	if d.slicesKnown() && len(undated) > len(d.Cluster.Waiting()) {
		left = append(left, undated...)
	}
	return sets.New(left...)
}

// judgeRemote judges an endpoint that kube-proxy made on the pod network, which is one that has a single address.
func (d *decision) judgeRemote(v *Verdict) (Kind, Reason) {
	addr := v.Endpoint.Addresses[0]
	pods, locals := d.podsUsing(addr), d.locals[addr]
	v.Pods, v.Listings, v.Elsewhere = idsOf(pods), d.Cluster.Listings(addr), claimantsOf(d.Elsewhere[addr])
	for _, l := range locals {
		v.Locals = append(v.Locals, l.ID)
		v.Since = slices.MaxFunc([]time.Time{v.Since, l.Seen}, time.Time.Compare)
	}
	if reason, is := d.protected(addr, pods); is {
		return Protected, reason
	}
	switch {
	case slices.ContainsFunc(pods, cluster.Pod.Live) && slices.ContainsFunc(locals, attached):
		return d.judgeConflict(v)
	case slices.ContainsFunc(pods, cluster.Pod.Live):
		return Contested, ReasonNoLocalEndpoint
	case len(pods) > 0:
		return Contested, ReasonPodDeleting
	case d.arrived(v.Listings, locals):
		return d.judgeEarlyConflict(v)
	case len(locals) > 0 && slices.ContainsFunc(v.Listings, d.isReadyElsewhere):
		return LeakedLocal, ReasonListedReady
	case len(v.Listings) > 0:
		return InUse, d.reasonInUse(v.Listings)
	case len(d.Elsewhere[addr]) > 0:
		return InUse, ReasonPodElsewhere
	default:
		return d.judgeUnclaimed(v)
	}
}

// podsUsing returns the pods on this node that may use the address. A pod that has ended does not: its status keeps the
// address, which another pod may have by now.
func (d *decision) podsUsing(addr netip.Addr) []cluster.Pod {
	return slices.DeleteFunc(slices.Clone(d.Cluster.PodsWith(addr)), func(p cluster.Pod) bool { return p.Terminal })
}

// protected says whether the address is one that no evidence of pods and slices speaks about.
func (d *decision) protected(addr netip.Addr, pods []cluster.Pod) (Reason, bool) {
	switch {
	case slices.ContainsFunc(d.Policy.Exclusions, func(p netip.Prefix) bool { return p.Contains(addr) }):
		return ReasonExcluded, true
	case d.Snapshot.Network.Type == hns.NetworkOverlay && d.Cluster.VIP(addr): // kube-proxy makes endpoints for them there
		return ReasonVIP, true
	case slices.ContainsFunc(pods, func(p cluster.Pod) bool { return p.HostNetwork }):
		return ReasonNodeAddress, true
	default:
		return "", false
	}
}

// arrived reports whether a local endpoint of the address can only be that of a pod that has not reported it yet.
func (d *decision) arrived(listings []cluster.Listing, locals []*Endpoint) bool {
	return d.slicesKnown() &&
		slices.ContainsFunc(locals, func(l *Endpoint) bool { return d.arrivals.Has(l.ID) }) &&
		!slices.ContainsFunc(listings, d.isClaimedElsewhere)
}

// findArrivals returns the local endpoints that can only be those of pods that wait for their address: each appeared
// after a pod began to wait that still does, and counts for one pod only. If there are more such endpoints than pods,
// some were left behind, and which is unknown: then none counts.
func (d *decision) findArrivals() sets.Set[hns.EndpointID] {
	pods := d.waitingSince()
	if len(pods) == 0 {
		return nil
	}
	var endpoints []*Endpoint
	for i := range d.Snapshot.Endpoints {
		e := &d.Snapshot.Endpoints[i]
		// One that was there at first has no such time, which is before all.
		if d.unclaimedLocal(e) && !e.Appeared.Before(pods[0]) {
			endpoints = append(endpoints, e)
		}
	}
	slices.SortFunc(endpoints, func(a, b *Endpoint) int { return a.Appeared.Compare(b.Appeared) })
	arrivals := sets.New[hns.EndpointID]()
	for at, e := range endpoints {
		if at >= len(pods) || e.Appeared.Before(pods[at]) {
			return nil
		}
		arrivals.Insert(e.ID)
	}
	return arrivals
}

// waitingSince returns when each pod that waits began to, in order.
func (d *decision) waitingSince() []time.Time {
	var pods []time.Time
	for _, p := range d.Cluster.Waiting() {
		if since, known := d.WaitingSince[p.UID]; known {
			pods = append(pods, since)
		}
	}
	slices.SortFunc(pods, time.Time.Compare)
	return pods
}

// unclaimedLocal reports whether the endpoint is an attached local one of the pod network, and no pod on this node may
// use an address of it.
func (d *decision) unclaimedLocal(e *Endpoint) bool {
	return d.isLocalOfPods(e) && e.Attached() && !d.isClaimed(e)
}

// isClaimed reports whether a pod on this node may use an address of the endpoint.
func (d *decision) isClaimed(e *Endpoint) bool {
	return slices.ContainsFunc(e.Addresses, func(addr netip.Addr) bool { return len(d.podsUsing(addr)) > 0 })
}

// judgeConflict decides between two claims. That a slice lists the address on another node is none: slices lag. But a
// live pod there is one, and kubelet keeps the address in the status of a running pod whose sandbox is gone, so that
// the claim of the pod on this node may be the void one. A pod's second address, in practice its IPv6 one, cannot be
// looked up by on the API server: there, slices are all the evidence of the other claim.
func (d *decision) judgeConflict(v *Verdict) (Kind, Reason) {
	switch ipv6 := v.Address().Is6(); {
	case slices.ContainsFunc(d.Elsewhere[v.Address()], func(p cluster.Pod) bool { return !p.Deleting }):
		return Contested, ReasonPodElsewhere
	case ipv6 && slices.ContainsFunc(v.Listings, d.isReadyElsewhere):
		return Contested, ReasonListedReady
	default:
		v.NeedsCurrentSlices = ipv6
		return d.holdOrRemove(v, Conflict, ReasonLivePod)
	}
}

// judgeEarlyConflict decides about an address that no pod has reported yet. A pod on another node that is being deleted
// may use it until it is gone.
func (d *decision) judgeEarlyConflict(v *Verdict) (Kind, Reason) {
	v.Pods = idsOf(d.Cluster.Waiting())
	if len(d.Elsewhere[v.Address()]) > 0 {
		return Contested, ReasonPodElsewhere
	}
	v.early, v.NeedsCurrentSlices = true, true
	return d.holdOrRemove(v, EarlyConflict, ReasonNewEndpoint)
}

// holdOrRemove holds the removal back on a kube-proxy that would answer it by deleting the pod's own endpoint. When a
// Service drops an address, such a kube-proxy records it, and deletes whatever endpoint it finds under it at the end of
// a sync. As long as the remote endpoint is there, that may be the remote one. An address that this node keeps listed
// is not dropped: every drop by another slice, however late it comes, comes after the keep-slice that the view has.
func (d *decision) holdOrRemove(v *Verdict, kind Kind, reason Reason) (Kind, Reason) {
	switch {
	case !d.KubeProxy.StaleRecord:
		return kind, reason
	case !d.slicesKnown() ||
		slices.ContainsFunc(v.Listings, func(l cluster.Listing) bool { return d.mayBeDropped(l, v.Address()) }):
		return Held, ReasonStaleRecord
	case d.mayRemember(v.Address()):
		return Held, ReasonMayRemember
	default:
		v.NeedsCurrentSlices = true
		return kind, reason
	}
}

// mayRemember reports whether kube-proxy may delete whatever endpoint has the address.
func (d *decision) mayRemember(addr netip.Addr) bool {
	return d.KubeProxy.StaleRecord && d.Record.MayHold(addr)
}

func (d *decision) reasonInUse(listings []cluster.Listing) Reason {
	switch {
	case slices.ContainsFunc(listings, d.isReadyElsewhere):
		return ReasonListedReady
	case slices.ContainsFunc(listings, d.isElsewhere):
		return ReasonListed
	default:
		return ReasonListedHere
	}
}

// judgeUnclaimed is the orphan rule: every line but the last is a reason to wait.
func (d *decision) judgeUnclaimed(v *Verdict) (Kind, Reason) {
	since, known := d.UnclaimedSince[v.Endpoint.ID]
	if !known {
		since = d.Now
	}
	v.Due, v.NeedsCurrentSlices = since.Add(d.grace()), true
	switch {
	case !d.slicesKnown():
		return OrphanPending, ReasonNoSlices
	case d.Snapshot.Network.Type == hns.NetworkOverlay && !d.Cluster.ServicesKnown:
		return OrphanPending, ReasonServicesUnknown
	case d.Now.Before(v.Due):
		return OrphanPending, ReasonGracePeriod
	case d.mayRemember(v.Address()):
		return OrphanPending, ReasonMayRemember
	case !d.loadBalancersKnown(v):
		return OrphanPending, ReasonLoadBalancersUnknown
	case len(v.LoadBalancers) > 0:
		return OrphanPending, ReasonReferenced
	default:
		return Orphan, ReasonUnclaimed
	}
}

func (d *decision) grace() time.Duration {
	if d.Urgent {
		return min(d.Policy.OrphanGrace, d.Policy.OrphanGraceUrgent)
	}
	return d.Policy.OrphanGrace
}

// slicesKnown reports whether the absence of a listing means anything (invariant 3).
func (d *decision) slicesKnown() bool { return d.Cluster.Slices > 0 }

// loadBalancersKnown reports whether load balancers were read after the address was free for the whole grace period.
func (d *decision) loadBalancersKnown(v *Verdict) bool {
	return d.Snapshot.LoadBalancersKnown && !d.Snapshot.LoadBalancersRead.Before(v.Due)
}

// isElsewhere reports whether a slice has the address on another node, or nowhere in the cluster.
func (d *decision) isElsewhere(l cluster.Listing) bool { return l.Elsewhere(d.Cluster.Node) }

func (d *decision) isReadyElsewhere(l cluster.Listing) bool { return d.isElsewhere(l) && l.Ready }

// isClaimedElsewhere also counts an endpoint that terminates and still serves: its pod has the address.
func (d *decision) isClaimedElsewhere(l cluster.Listing) bool { return d.isElsewhere(l) && l.Claims() }

func attached(e *Endpoint) bool { return e.Attached() }

func idsOf(pods []cluster.Pod) []cluster.PodID {
	ids := make([]cluster.PodID, 0, len(pods))
	for _, p := range pods {
		ids = append(ids, p.ID())
	}
	return ids
}

func claimantsOf(pods []cluster.Pod) []Claimant {
	claimants := make([]Claimant, 0, len(pods))
	for _, p := range pods {
		claimants = append(claimants, Claimant{Pod: p.Key, Node: p.Node})
	}
	return claimants
}
