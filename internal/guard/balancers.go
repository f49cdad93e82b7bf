// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// balancers is what is known of load balancers, and when they may be read again: a list of thousands takes a slow node
// tens of seconds.
type balancers struct {
	next time.Time // not before
	due  time.Time // at the latest
	// dangling are those that named an endpoint which was gone when they were last read; true if also when they were
	// read before that. kube-proxy replaces load balancers all the time, so that once may be chance.
	dangling map[hns.LoadBalancerID]bool
	known    []hns.LoadBalancer
}

// How often load balancers are read: every minute, because one that dangles breaks a Service and nobody else looks;
// more often while one does, and at once again when one seems to; as often as a decision needs it; and never for more
// than a small share of the time.
const (
	balancersEvery = time.Minute
	danglingEvery  = 10 * time.Second
	balancersGap   = time.Second
	balancerShare  = 0.05
)

func newBalancers() *balancers { return &balancers{dangling: map[hns.LoadBalancerID]bool{}} }

// wanted reports whether load balancers should be read now: it is their time, or an orphan lacks nothing but that no
// load balancer refers to it.
func (b *balancers) wanted(now time.Time, verdicts []verdict.Verdict) bool {
	switch {
	case now.Before(b.next):
		return false
	case !now.Before(b.due):
		return true
	}
	return slices.ContainsFunc(verdicts, func(v verdict.Verdict) bool {
		return v.Reason == verdict.ReasonLoadBalancersUnknown
	})
}

// took notes that a reading is over.
func (b *balancers) took(now time.Time, took time.Duration) {
	b.next = now.Add(max(balancersGap, time.Duration(float64(took)/balancerShare)))
	b.due = now.Add(balancersEvery)
}

// see takes in what was read, with the endpoints that were there afterwards, and returns the load balancers that now
// are known to dangle and were not before.
func (b *balancers) see(read []hns.LoadBalancer, present sets.Set[hns.EndpointID]) (news []hns.LoadBalancer) {
	dangling := map[hns.LoadBalancerID]bool{}
	for _, lb := range read {
		if present.HasAll(lb.Endpoints...) {
			continue
		}
		confirmed, again := b.dangling[lb.ID]
		dangling[lb.ID] = again
		switch {
		case !again:
			b.due = b.next
		case !confirmed:
			news = append(news, lb)
		}
		b.due = earlier(b.due, b.next.Add(danglingEvery))
	}
	b.known, b.dangling = read, dangling
	return news
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// confirmed returns the load balancers that dangle, and not by chance.
func (b *balancers) confirmed() []hns.LoadBalancer {
	var all []hns.LoadBalancer
	for _, lb := range b.known {
		if b.dangling[lb.ID] {
			all = append(all, lb)
		}
	}
	return all
}

// readLoadBalancers adds them to the snapshot, if they can be read. Without them orphans wait and all else goes on.
func (g *Guard) readLoadBalancers(ctx context.Context, snapshot *inventory.Snapshot) {
	start := g.Clock.Now()
	read, err := g.Inventory.LoadBalancers(ctx)
	g.balancers.took(g.Clock.Now(), g.Clock.Since(start))
	if err != nil {
		logf.FromContext(ctx).Error(err, "Load balancers are unknown; orphans wait")
		return
	}
	snapshot.LoadBalancers, snapshot.LoadBalancersKnown = read, true
	// Endpoints that were made since the snapshot was taken are no reason to take a load balancer for dangling.
	ids, err := g.HNS.ListEndpointIDs(ctx)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Whether load balancers dangle is unknown")
		return
	}
	g.recordLoadBalancers(ctx, g.balancers.see(read, sets.New(ids...)))
}
