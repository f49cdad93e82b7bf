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
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

// Policy is what the operator may set of the decision.
type Policy struct {
	// Exclusions are address ranges in which nothing is ever removed.
	Exclusions []netip.Prefix
	// OrphanGrace is how long nobody may have claimed an address before its endpoint is an orphan.
	OrphanGrace time.Duration
	// OrphanGraceUrgent is the same while [Evidence.Urgent].
	OrphanGraceUrgent time.Duration
}

// Evidence is everything that a decision rests on. The snapshot and the view have to be complete; a caller that has no
// complete ones has no evidence and must not decide.
type Evidence struct {
	Snapshot  inventory.Snapshot
	Cluster   cluster.View
	KubeProxy kubeproxy.Profile
	Policy    Policy
	// Forgotten are the addresses that this node's kube-proxy is known not to hold in its record of terminated endpoints.
	// They matter with a profile that has [kubeproxy.Profile.StaleRecord] only.
	Forgotten sets.Set[netip.Addr]
	// UnclaimedSince says since when an endpoint has had an [Verdict.Unclaimed] verdict without a break. One that is
	// missing has it from now on.
	UnclaimedSince map[hns.EndpointID]time.Time
	// WaitingSince says since when a pod has been seen to wait for its address. One that is missing waits from now on.
	WaitingSince map[types.UID]time.Time
	// Urgent is set when a pod of this node has waited for its address for longer than a pod does that gets it: an orphan
	// may be in its way, where HNS refuses duplicates.
	Urgent bool
	Now    time.Time
}

// Decide gives every endpoint of the snapshot its verdict, in the snapshot's order.
func Decide(e Evidence) []Verdict { return new(Decider).Decide(e) }

// About gives one endpoint of the snapshot the verdict that [Decide] gives it. It returns false if there is no endpoint
// with the ID.
func About(e Evidence, id hns.EndpointID) (Verdict, bool) {
	at := slices.IndexFunc(e.Snapshot.Endpoints, func(ep inventory.Endpoint) bool { return ep.ID == id })
	if at < 0 {
		return Verdict{}, false
	}
	var d Decider
	d.prepare(e)
	var v Verdict
	d.judge(&v, at, referrers(e.Snapshot.LoadBalancers, id))
	return v, true
}

// referrers returns which load balancers refer to an endpoint.
func referrers(balancers []hns.LoadBalancer, id hns.EndpointID) []hns.LoadBalancerID {
	var all []hns.LoadBalancerID
	for i := range balancers {
		if slices.Contains(balancers[i].Endpoints, id) {
			all = append(all, balancers[i].ID)
		}
	}
	return all
}

// Decider decides again and again in the same memory: of a node on which nothing changes, a decision leaves no garbage.
// It knows what has not changed by its place in memory, since snapshots do not change. The zero value is ready. It is
// for one caller at a time.
type Decider struct {
	decision
	verdicts []Verdict
	// The endpoints, their network and the load balancers of the decision before.
	endpoints []inventory.Endpoint
	network   hns.NetworkID
	balancers []hns.LoadBalancer
}

// Decide is [Decide]. What it returned before is overwritten, but not what the verdicts refer to.
func (d *Decider) Decide(e Evidence) []Verdict {
	d.prepare(e)
	d.findReferrers()
	d.verdicts = slices.Grow(d.verdicts[:0], len(e.Snapshot.Endpoints))[:len(e.Snapshot.Endpoints)]
	for i := range e.Snapshot.Endpoints {
		d.judge(&d.verdicts[i], i, d.referrers[e.Snapshot.Endpoints[i].ID])
	}
	return d.verdicts
}

// prepare puts the evidence in order.
func (d *Decider) prepare(e Evidence) {
	d.Evidence = e
	d.findLocals()
	d.arrivals = d.findArrivals()
}

// judge makes the verdict of an endpoint of the snapshot.
func (d *Decider) judge(v *Verdict, at int, referrers []hns.LoadBalancerID) {
	ep := &d.Snapshot.Endpoints[at]
	*v = Verdict{Endpoint: ep.Endpoint, LoadBalancers: referrers}
	d.about(v, ep)
}

// findLocals finds the local endpoints of the pod network by address.
func (d *Decider) findLocals() {
	endpoints, network := d.Snapshot.Endpoints, d.Snapshot.Network.ID
	if network == d.network && shared(endpoints, d.endpoints) {
		return
	}
	d.endpoints, d.network, d.locals = endpoints, network, map[netip.Addr][]inventory.Endpoint{}
	for i := range endpoints {
		ep := &endpoints[i]
		if ep.Network != network || ep.Remote() {
			continue
		}
		for _, addr := range ep.Addresses {
			d.locals[addr] = append(d.locals[addr], *ep)
		}
	}
}

// findReferrers finds which load balancers refer to an endpoint.
func (d *Decider) findReferrers() {
	balancers := d.Snapshot.LoadBalancers
	if shared(balancers, d.balancers) {
		return
	}
	d.balancers, d.referrers = balancers, map[hns.EndpointID][]hns.LoadBalancerID{}
	for i := range balancers {
		for _, id := range balancers[i].Endpoints {
			d.referrers[id] = append(d.referrers[id], balancers[i].ID)
		}
	}
}

// shared reports whether both are the same list in the same place.
func shared[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// decision is the evidence with what is looked up again and again put in order.
type decision struct {
	Evidence
	locals    map[netip.Addr][]inventory.Endpoint // of the pod network
	arrivals  sets.Set[hns.EndpointID]            // local endpoints that can only be those of waiting pods
	referrers map[hns.EndpointID][]hns.LoadBalancerID
}

// about applies ownership first: only what passes all of these is judged by its address.
func (d *decision) about(v *Verdict, ep *inventory.Endpoint) *Verdict {
	switch {
	case !ep.Remote():
		return d.local(v)
	case ep.Network != d.Snapshot.Network.ID:
		return v.is(Foreign, ReasonOtherNetwork)
	case !kubeproxy.Owns(ep.Endpoint):
		return v.is(Foreign, ReasonOtherMaker)
	default:
		v.Since = ep.Seen
		return d.owned(v)
	}
}

// local tells apart the local endpoints that a pod uses from those that were left behind. None is ever removed.
func (d *decision) local(v *Verdict) *Verdict {
	if v.Endpoint.Network != d.Snapshot.Network.ID {
		return v.is(Local, ReasonOtherNetwork)
	}
	for _, addr := range v.Endpoint.Addresses {
		if pods := d.Cluster.PodIDsWith(addr); len(pods) > 0 {
			v.Pods = pods
			return v.is(Local, ReasonLocalPod)
		}
	}
	for _, addr := range v.Endpoint.Addresses {
		if listings := d.Cluster.Listings(addr); slices.ContainsFunc(listings, d.readyElsewhere) {
			v.Listings = listings
			return v.is(Local, ReasonLocalLeaked)
		}
	}
	return v.is(Local, ReasonLocalUnclaimed)
}

// owned judges an endpoint that kube-proxy made on the pod network, which is one that has a single address.
func (d *decision) owned(v *Verdict) *Verdict {
	addr := v.Endpoint.Addresses[0]
	pods, locals := d.Cluster.PodsWith(addr), d.locals[addr]
	pods = slices.DeleteFunc(slices.Clone(pods), func(p cluster.Pod) bool { return p.Terminal }) // it may be in use again
	v.Pods, v.Listings = idsOf(pods), d.Cluster.Listings(addr)
	for i := range locals {
		l := &locals[i]
		v.Locals = append(v.Locals, l.ID)
		v.Since = later(v.Since, l.Seen)
	}
	if reason, is := d.protected(addr, pods); is {
		return v.is(Protected, reason)
	}
	switch {
	case slices.ContainsFunc(pods, cluster.Pod.Live) && slices.ContainsFunc(locals, attached):
		return d.conflict(v, Conflict, ReasonLivePod)
	case slices.ContainsFunc(pods, cluster.Pod.Live):
		return v.is(Contested, ReasonNoLocalEndpoint)
	case len(pods) > 0:
		return v.is(Contested, ReasonPodDeleting)
	case d.early(v.Listings, locals):
		v.Pods, v.early, v.NeedsCurrentSlices = idsOf(d.Cluster.Waiting()), true, true
		return d.conflict(v, EarlyConflict, ReasonNewEndpoint)
	case len(locals) > 0 && slices.ContainsFunc(v.Listings, d.readyElsewhere):
		return v.is(LeakedLocal, ReasonListedReady)
	case len(v.Listings) > 0:
		return v.is(InUse, d.inUse(v.Listings))
	default:
		return d.unclaimed(v)
	}
}

// protected says whether the address is one that no evidence of pods and slices speaks about.
func (d *decision) protected(addr netip.Addr, pods []cluster.Pod) (Reason, bool) {
	switch {
	case slices.ContainsFunc(d.Policy.Exclusions, func(p netip.Prefix) bool { return p.Contains(addr) }):
		return ReasonExcluded, true
	case d.Cluster.VIP(addr):
		return ReasonVIP, true
	case slices.ContainsFunc(pods, func(p cluster.Pod) bool { return p.HostNetwork }):
		return ReasonNodeAddress, true
	default:
		return "", false
	}
}

// early reports whether a local endpoint of the address can only be that of a pod that has not reported it yet.
func (d *decision) early(listings []cluster.Listing, locals []inventory.Endpoint) bool {
	return d.slicesKnown() &&
		slices.ContainsFunc(locals, func(l inventory.Endpoint) bool { return d.arrivals.Has(l.ID) }) &&
		!slices.ContainsFunc(listings, d.claimedElsewhere)
}

// findArrivals returns the local endpoints that can only be those of pods that wait for their address: each appeared
// after a pod began to wait that still does, and speaks for one pod only. If there are more such endpoints than pods,
// some were left behind, and which is unknown: then none counts.
func (d *decision) findArrivals() sets.Set[hns.EndpointID] {
	pods := d.waitingSince()
	if len(pods) == 0 {
		return nil
	}
	var endpoints []inventory.Endpoint
	for i := range d.Snapshot.Endpoints {
		e := &d.Snapshot.Endpoints[i]
		// One that was there at first has no such time, which is before all.
		if d.unclaimedLocal(e) && !e.Appeared.Before(pods[0]) {
			endpoints = append(endpoints, *e)
		}
	}
	slices.SortFunc(endpoints, func(a, b inventory.Endpoint) int { return a.Appeared.Compare(b.Appeared) })
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

// unclaimedLocal reports whether the endpoint is an attached local one of the pod network, and no pod of this node has
// an address of it.
func (d *decision) unclaimedLocal(e *inventory.Endpoint) bool {
	return e.Network == d.Snapshot.Network.ID && !e.Remote() && e.Attached() &&
		!slices.ContainsFunc(e.Addresses, func(addr netip.Addr) bool { return len(d.Cluster.PodsWith(addr)) > 0 })
}

// conflict holds the removal back on a kube-proxy that would answer it by deleting the pod's own endpoint. When slices
// drop an address, such a kube-proxy records it, and deletes whatever endpoint it finds under it at the end of a sync.
// As long as the remote endpoint is there, that may be the remote one.
func (d *decision) conflict(v *Verdict, kind Kind, reason Reason) *Verdict {
	switch {
	case !d.KubeProxy.StaleRecord:
		return v.is(kind, reason)
	case !d.slicesKnown() || slices.ContainsFunc(v.Listings, d.elsewhere):
		return v.is(Held, ReasonStaleRecord)
	case d.mayRemember(v.Address()):
		return v.is(Held, ReasonMayRemember)
	default:
		v.NeedsCurrentSlices = true
		return v.is(kind, reason)
	}
}

// mayRemember reports whether kube-proxy may delete whatever endpoint has the address.
func (d *decision) mayRemember(addr netip.Addr) bool {
	return d.KubeProxy.StaleRecord && !d.Forgotten.Has(addr)
}

func (d *decision) inUse(listings []cluster.Listing) Reason {
	switch {
	case slices.ContainsFunc(listings, d.readyElsewhere):
		return ReasonListedReady
	case slices.ContainsFunc(listings, d.elsewhere):
		return ReasonListed
	default:
		return ReasonListedHere
	}
}

// unclaimed is the orphan rule: every line but the last is a reason to wait.
func (d *decision) unclaimed(v *Verdict) *Verdict {
	since, known := d.UnclaimedSince[v.Endpoint.ID]
	if !known {
		since = d.Now
	}
	v.Due, v.NeedsCurrentSlices = since.Add(d.grace()), true
	switch {
	case !d.slicesKnown():
		return v.is(OrphanPending, ReasonNoSlices)
	case d.Snapshot.Network.Type == hns.NetworkOverlay && !d.Cluster.ServicesKnown:
		return v.is(OrphanPending, ReasonServicesUnknown)
	case d.Now.Before(v.Due):
		return v.is(OrphanPending, ReasonGracePeriod)
	case d.mayRemember(v.Address()):
		return v.is(OrphanPending, ReasonMayRemember)
	case !d.loadBalancersKnown(v):
		return v.is(OrphanPending, ReasonLoadBalancersUnknown)
	case len(v.LoadBalancers) > 0:
		return v.is(OrphanPending, ReasonReferenced)
	default:
		return v.is(Orphan, ReasonUnclaimed)
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

// elsewhere reports whether a slice has the address on another node, or nowhere in the cluster.
func (d *decision) elsewhere(l cluster.Listing) bool { return l.Elsewhere(d.Cluster.Node) }

func (d *decision) readyElsewhere(l cluster.Listing) bool { return d.elsewhere(l) && l.Ready }

// claimedElsewhere also counts an endpoint that terminates and still serves: its pod has the address.
func (d *decision) claimedElsewhere(l cluster.Listing) bool { return d.elsewhere(l) && l.Claims() }

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func attached(e inventory.Endpoint) bool { return e.Attached() }

func (v *Verdict) is(kind Kind, reason Reason) *Verdict {
	v.Kind, v.Reason = kind, reason
	return v
}

func idsOf(pods []cluster.Pod) []cluster.PodID {
	ids := make([]cluster.PodID, 0, len(pods))
	for _, p := range pods {
		ids = append(ids, p.ID())
	}
	return ids
}
