// SPDX-License-Identifier: Apache-2.0

package pass

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Inventory reads HNS.
type Inventory interface {
	Observe(ctx context.Context) (verdict.Snapshot, error)
}

// LoadBalancers provides the load balancers as they were last read.
type LoadBalancers interface {
	// Last returns them, and when the reading began. The last value is false if they are unknown.
	Last() ([]hns.LoadBalancer, time.Time, bool)
}

// Record reports what kube-proxy's record of terminated endpoints may hold.
type Record interface {
	// Record returns the present state.
	Record() verdict.Record
}

// Options configure a collector.
type Options struct {
	// Inventory reads HNS. Required.
	Inventory Inventory
	// Index is the view of the cluster. Required.
	Index *cluster.Index
	// KubeProxy returns the present profile of the node's kube-proxy. Required.
	KubeProxy func() kubeproxy.Profile
	// Record reports what kube-proxy's record of terminated endpoints may hold. Required.
	Record Record
	// LoadBalancers provides the last known ones. Required.
	LoadBalancers LoadBalancers
	// Policy is the part of the configuration that decisions depend on. Required.
	Policy verdict.Policy
	// FreshlyWaiting is how long a waiting pod counts as freshly waiting. A pod that waits longer waits for something
	// else, such as a failing CNI. Required.
	FreshlyWaiting time.Duration
	// Clock is the source of time. Required.
	Clock clock.PassiveClock
}

// Collector collects evidence. It is for one caller at a time.
type Collector struct {
	opts Options
	// unclaimed is since when each endpoint has been unclaimed without a break.
	unclaimed map[hns.EndpointID]time.Time
	// waiting is since when each waiting pod has been seen to wait for its address.
	waiting map[types.UID]time.Time
	// elsewhere are the pods on other nodes that may use an address, as they were last looked up. It is replaced, never
	// modified: evidence refers to it.
	elsewhere map[netip.Addr][]cluster.Pod
}

// NewCollector returns a collector without memory.
func NewCollector(o Options) *Collector {
	return &Collector{opts: o, unclaimed: map[hns.EndpointID]time.Time{}, waiting: map[types.UID]time.Time{}}
}

// Collect observes HNS and returns the present evidence. With an error, its snapshot is the one that [Inventory]
// returned with the error.
func (c *Collector) Collect(ctx context.Context) (verdict.Evidence, error) {
	// Pods first: a pod that waits by now began to wait before any endpoint appeared that only the snapshot shows.
	c.rememberWaiting(c.opts.Index.View(nil).Waiting())
	snapshot, err := c.opts.Inventory.Observe(ctx)
	if err != nil {
		c.unclaimed = map[hns.EndpointID]time.Time{} // invariant 2
		return c.With(snapshot), err
	}
	evidence := c.With(snapshot)
	c.rememberWaiting(evidence.Cluster.Waiting())
	evidence.WaitingSince = c.waiting
	return evidence, nil
}

// With returns the present evidence on the cluster and on kube-proxy, with the given snapshot.
func (c *Collector) With(snapshot verdict.Snapshot) verdict.Evidence {
	snapshot.LoadBalancers, snapshot.LoadBalancersRead, snapshot.LoadBalancersKnown = c.opts.LoadBalancers.Last()
	now := c.opts.Clock.Now()
	return verdict.Evidence{
		Snapshot:       snapshot,
		Cluster:        c.opts.Index.View(snapshot.Addresses()),
		KubeProxy:      c.opts.KubeProxy(),
		Policy:         c.opts.Policy,
		Record:         c.opts.Record.Record(),
		UnclaimedSince: c.unclaimed,
		WaitingSince:   c.waiting,
		Elsewhere:      c.elsewhere,
		Urgent:         c.waitsBetween(now, stuckAfter, c.opts.FreshlyWaiting),
		Now:            now,
	}
}

// Remember records which endpoints are unclaimed, for the next decision.
func (c *Collector) Remember(verdicts []verdict.Verdict) {
	now, unclaimed := c.opts.Clock.Now(), map[hns.EndpointID]time.Time{}
	elsewhere := map[netip.Addr][]cluster.Pod{}
	for i := range verdicts {
		v := &verdicts[i]
		if len(v.Elsewhere) > 0 {
			elsewhere[v.Address()] = c.elsewhere[v.Address()]
		}
		if !v.Unclaimed() {
			continue
		}
		unclaimed[v.Endpoint.ID] = cmp.Or(c.unclaimed[v.Endpoint.ID], now)
	}
	c.unclaimed, c.elsewhere = unclaimed, elsewhere
}

// RememberElsewhere replaces what is known about the pods on other nodes that may use these addresses. An empty entry
// means that there are none. An entry is kept as long as an endpoint has the address.
func (c *Collector) RememberElsewhere(pods map[netip.Addr][]cluster.Pod) {
	elsewhere := map[netip.Addr][]cluster.Pod{}
	maps.Copy(elsewhere, c.elsewhere)
	maps.Copy(elsewhere, pods)
	c.elsewhere = elsewhere
}

// FreshlyWaiting reports whether a pod on the node has recently begun to wait for its address.
func (c *Collector) FreshlyWaiting() bool {
	return c.waitsBetween(c.opts.Clock.Now(), 0, c.opts.FreshlyWaiting)
}

// rememberWaiting records since when each pod has been waiting for its address.
func (c *Collector) rememberWaiting(pods []cluster.Pod) {
	now := c.opts.Clock.Now()
	waiting := make(map[types.UID]time.Time, len(pods))
	for _, p := range pods {
		waiting[p.UID] = cmp.Or(c.waiting[p.UID], now)
	}
	c.waiting = waiting
}

// stuckAfter is how long a pod normally waits for its address at most: a CNI takes a second or two.
const stuckAfter = 3 * time.Second

// waitsBetween reports whether a pod has been waiting for at least the first and less than the second duration.
func (c *Collector) waitsBetween(now time.Time, least, most time.Duration) bool {
	for _, since := range c.waiting {
		if waited := now.Sub(since); waited >= least && waited < most {
			return true
		}
	}
	return false
}
