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

// Policy is the part of the decision that the operator configures.
type Policy struct {
	// Exclusions are address ranges in which nothing is ever removed.
	Exclusions []netip.Prefix
	// OrphanGrace is how long an address must be unclaimed before its endpoint is an orphan.
	OrphanGrace time.Duration
	// OrphanGraceUrgent is the same while [Evidence.Urgent].
	OrphanGraceUrgent time.Duration
}

// Evidence is everything that a decision rests on. The snapshot and the view must be complete; a caller without
// complete ones has no evidence and must not decide.
type Evidence struct {
	Snapshot  Snapshot
	Cluster   cluster.View
	KubeProxy kubeproxy.Profile
	Policy    Policy
	// Elsewhere are the pods on other nodes that may use an address, as the API server last returned them. They are not
	// watched: an address that is missing was not looked up, or had no such pod.
	Elsewhere map[netip.Addr][]cluster.Pod
	// Record reports what kube-proxy's record of terminated endpoints may hold.
	Record Record
	// UnclaimedSince is since when an endpoint has had an [Verdict.Unclaimed] verdict without a break. A missing endpoint
	// has it from now on.
	UnclaimedSince map[hns.EndpointID]time.Time
	// WaitingSince is since when a pod has been seen to wait for its address. A missing pod waits from now on.
	WaitingSince map[types.UID]time.Time
	// Urgent is set when a pod on this node has waited for its address for longer than usual: where HNS refuses
	// duplicates, an orphan may be in its way.
	Urgent bool
	Now    time.Time
}

// Decide returns a verdict for every endpoint of the snapshot, in the snapshot's order.
func Decide(e Evidence) []Verdict { return DecideInto(nil, e) }

// DecideInto is [Decide] for a caller that decides often: it overwrites verdicts that the caller no longer needs. What
// they refer to is not overwritten.
func DecideInto(verdicts []Verdict, e Evidence) []Verdict {
	d := prepare(e)
	verdicts = slices.Grow(verdicts[:0], len(e.Snapshot.Endpoints))[:len(e.Snapshot.Endpoints)]
	for i := range verdicts {
		d.decide(&verdicts[i], &e.Snapshot.Endpoints[i])
	}
	return verdicts
}

// DecideEndpoint returns the verdict that [Decide] gives one endpoint. It returns false if no endpoint has the ID.
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
	arrivals  sets.Set[hns.EndpointID]   // local endpoints that can only belong to waiting pods
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
	return d
}

// prepareLocals indexes the evidence that decides which pods are on this node.
func prepareLocals(e Evidence) *decision {
	d := &decision{Evidence: e, locals: map[netip.Addr][]*Endpoint{}}
	for i := range e.Snapshot.Endpoints {
		if ep := &e.Snapshot.Endpoints[i]; d.isLocalOfPods(ep) {
			for _, addr := range ep.Addresses {
				d.locals[addr] = append(d.locals[addr], ep)
			}
		}
	}
	d.arrivals, d.left = d.findArrivals(), d.findLeft()
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

// judge checks ownership first: only an endpoint that passes is judged by its address.
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

// judgeLocal tells the local endpoints that a pod uses from those that were left behind. None is ever removed.
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

// judgeLocalOfPod judges a local endpoint whose address belongs to a pod on this node. The pod uses an attached one.
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

// leftAfter is how long a local endpoint that is neither attached nor a pod's must exist to count as left behind.
const leftAfter = 10 * time.Minute

// findLeft returns the local endpoints that a CNI has left behind: nothing is attached to them, and no pod has their
// address. A CNI creates an endpoint seconds before it attaches it, and before the pod has its address. If the age of
// the endpoints is unknown, as in a recording, each waiting pod may be about to get one of them.
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

// judgeRemote judges an endpoint that kube-proxy created on the pod network: it has a single address.
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

// podsUsing returns the pods on this node that may use the address. A pod that has ended does not use it: its status
// keeps the address, but another pod may have it by now.
func (d *decision) podsUsing(addr netip.Addr) []cluster.Pod {
	return slices.DeleteFunc(slices.Clone(d.Cluster.PodsWith(addr)), func(p cluster.Pod) bool { return p.Terminal })
}

// protected reports whether the address is one that pods and slices cannot show to be unused.
func (d *decision) protected(addr netip.Addr, pods []cluster.Pod) (Reason, bool) {
	switch {
	case slices.ContainsFunc(d.Policy.Exclusions, func(p netip.Prefix) bool { return p.Contains(addr) }):
		return ReasonExcluded, true
	case d.Snapshot.Network.Type == hns.NetworkOverlay && d.Cluster.VIP(addr): // kube-proxy creates endpoints for VIPs
		return ReasonVIP, true
	case slices.ContainsFunc(pods, func(p cluster.Pod) bool { return p.HostNetwork }):
		return ReasonNodeAddress, true
	default:
		return "", false
	}
}

// arrived reports whether a local endpoint with the address can only belong to a pod that has not reported it yet.
func (d *decision) arrived(listings []cluster.Listing, locals []*Endpoint) bool {
	return d.slicesKnown() &&
		slices.ContainsFunc(locals, func(l *Endpoint) bool { return d.arrivals.Has(l.ID) }) &&
		!slices.ContainsFunc(listings, d.isClaimedElsewhere)
}

// findArrivals returns the local endpoints that can only belong to waiting pods: each appeared after a pod began to
// wait that is still waiting, and counts for one pod only. If there are more such endpoints than pods, some were left
// behind, and nothing shows which: then none counts.
func (d *decision) findArrivals() sets.Set[hns.EndpointID] {
	pods := d.waitingSince()
	if len(pods) == 0 {
		return nil
	}
	var endpoints []*Endpoint
	for i := range d.Snapshot.Endpoints {
		e := &d.Snapshot.Endpoints[i]
		// An endpoint of the first snapshot has a zero Appeared, which is before all others.
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

// waitingSince returns when each waiting pod began to wait, in order.
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

// unclaimedLocal reports whether the endpoint is an attached local one of the pod network whose addresses no pod on
// this node may use.
func (d *decision) unclaimedLocal(e *Endpoint) bool {
	return d.isLocalOfPods(e) && e.Attached() && !d.isClaimed(e)
}

// isClaimed reports whether a pod on this node may use an address of the endpoint.
func (d *decision) isClaimed(e *Endpoint) bool {
	return slices.ContainsFunc(e.Addresses, func(addr netip.Addr) bool { return len(d.podsUsing(addr)) > 0 })
}

// judgeConflict decides between two claims. A slice that lists the address on another node is no claim: slices lag. A
// live pod there is one: kubelet keeps the address in the status of a running pod whose sandbox is gone, so the claim
// of the pod on this node may be void. The API server cannot look up pods by their second address, in practice the IPv6
// one: for those, slices are the only evidence of the other claim.
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

// judgeEarlyConflict decides on an address that no pod has reported yet. A pod on another node that is being deleted
// may use the address until it is gone.
func (d *decision) judgeEarlyConflict(v *Verdict) (Kind, Reason) {
	v.Pods = idsOf(d.Cluster.Waiting())
	if len(d.Elsewhere[v.Address()]) > 0 {
		return Contested, ReasonPodElsewhere
	}
	v.early, v.NeedsCurrentSlices = true, true
	return d.holdOrRemove(v, EarlyConflict, ReasonNewEndpoint)
}

// holdOrRemove holds back a removal that this kube-proxy would answer by deleting the pod's own endpoint. When a
// Service drops an address, an affected kube-proxy records it, and at the end of a sync deletes whichever endpoint has
// it. As long as the remote endpoint exists, kube-proxy may find that one. An address that this node keeps listed is
// not dropped: every drop by another slice, however late, follows the keep-slice in the view.
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

// mayRemember reports whether kube-proxy may delete whichever endpoint has the address.
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

// judgeUnclaimed is the orphan rule: every case but the last is a reason to wait.
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

// loadBalancersKnown reports whether load balancers were read after the address had been free for the grace period.
func (d *decision) loadBalancersKnown(v *Verdict) bool {
	return d.Snapshot.LoadBalancersKnown && !d.Snapshot.LoadBalancersRead.Before(v.Due)
}

// isElsewhere reports whether a slice lists the address on another node, or outside the cluster.
func (d *decision) isElsewhere(l cluster.Listing) bool { return l.Elsewhere(d.Cluster.Node) }

func (d *decision) isReadyElsewhere(l cluster.Listing) bool { return d.isElsewhere(l) && l.Ready }

// isClaimedElsewhere also counts a terminating endpoint that still serves: its pod has the address.
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
