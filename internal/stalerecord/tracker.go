// SPDX-License-Identifier: Apache-2.0

package stalerecord

import (
	"context"
	"maps"
	"net/netip"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
)

// Freshness proves how current the view of EndpointSlices is.
type Freshness interface {
	// Current reports whether the view has everything that the API server held at that moment.
	Current(ctx context.Context, since time.Time) (bool, error)
}

// Requester requests flushes.
type Requester interface {
	// Request requests a change of a slice of the address's family, unless one comes from elsewhere.
	Request(addr netip.Addr)
}

// TrackerOptions configure a tracker.
type TrackerOptions struct {
	// Node is the name of this node. Required.
	Node string
	// Freshness proves step 1. Required.
	Freshness Freshness
	// Syncs counts the syncs that kube-proxy has finished since it started. It fails where that cannot be known. Required.
	Syncs func(ctx context.Context) (uint64, error)
	// Version returns the API server's present resource version of EndpointSlices. Required.
	Version func(ctx context.Context) (string, error)
	// Flusher makes the change of step 3. Required.
	Flusher Requester
	// WatchLag is how far kube-proxy's watch may be behind the API server, which is not visible: usually [WatchLag].
	// It is never taken to be longer than the hold timeout. Required.
	WatchLag time.Duration
	// HoldTimeout is how far kube-proxy may be behind the API server, its watch and its sync together, where its syncs
	// cannot be counted. Required.
	HoldTimeout time.Duration
	// Interval is how often kube-proxy's metrics and the API server's version are requested. Required.
	Interval time.Duration
	// Clock is the source of time. Required.
	Clock clock.PassiveClock
}

// WatchLag is how far kube-proxy's watch may be behind the API server in production: longer than a cut connection takes
// to be noticed.
const WatchLag = 200 * time.Second

// Tracker follows the proof for each address. It is safe for concurrent use.
type Tracker struct {
	opts TrackerOptions
	// next is the earliest time of the next requests.
	next time.Time
	// unreadable is since when kube-proxy's metrics have not been readable; zero while they are.
	unreadable time.Time

	mu     sync.Mutex
	proofs map[netip.Addr]*proof
}

var (
	_ pass.Action         = (*Tracker)(nil)
	_ pass.SliceObserver  = (*Tracker)(nil)
	_ pass.RelistObserver = (*Tracker)(nil)
)

// step is how far a proof has come.
type step int

const (
	unlisted  step = iota // step 1 is under way
	processed             // step 2
	changed               // step 3
	forgotten             // step 4
	cleared               // done
)

type proof struct {
	step step
	// since is when the step began.
	since time.Time
	// base is the count of syncs at a moment that kube-proxy's watch has reached, if counted.
	base    uint64
	counted bool
	// version is what a change has to be newer than in step 3.
	version string
}

func (p *proof) enter(s step, now time.Time) { *p = proof{step: s, since: now} }

// NewTracker returns a tracker that has proved nothing.
func NewTracker(o TrackerOptions) *Tracker { return &Tracker{opts: o, proofs: map[netip.Addr]*proof{}} }

// Forgotten returns the addresses that kube-proxy is known not to remember.
func (t *Tracker) Forgotten() sets.Set[netip.Addr] {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := sets.New[netip.Addr]()
	for addr, p := range t.proofs {
		if p.step == cleared {
			all.Insert(addr)
		}
	}
	return all
}

// Run implements [pass.Action]: it advances the proofs of the addresses that need one.
func (t *Tracker) Run(ctx context.Context, pass pass.Pass) time.Duration {
	wanted := wanted(pass)
	t.follow(wanted)
	now := t.opts.Clock.Now()
	if !t.pending() {
		return 0
	}
	if wait := t.next.Sub(now); wait > 0 {
		return wait
	}
	t.next = now.Add(t.opts.Interval)
	o := t.observe(ctx, now)
	current := t.current(ctx, wanted)
	t.mu.Lock()
	defer t.mu.Unlock()
	for addr, p := range t.proofs {
		t.advance(addr, p, o, current.Has(addr))
		if pass.Evidence.Urgent && (p.step == processed || p.step == forgotten) {
			t.opts.Flusher.Request(addr) // each change makes kube-proxy sync
		}
	}
	return t.opts.Interval
}

// observe reads kube-proxy's metrics and, if a proof needs it, the API server's version.
func (t *Tracker) observe(ctx context.Context, now time.Time) observation {
	o := observation{now: now}
	var err error
	if o.syncs, err = t.opts.Syncs(ctx); err == nil {
		t.unreadable = time.Time{}
	} else if t.unreadable.IsZero() {
		t.unreadable = now
	}
	o.unreadable = t.unreadable
	if !t.any(processed) {
		return o
	}
	if o.version, err = t.opts.Version(ctx); err != nil {
		o.version = ""
		logf.FromContext(ctx).Error(err, "Cannot read the API server's resource version; conflicts stay held")
	}
	return o
}

// observation is what one look has found.
type observation struct {
	now   time.Time
	syncs uint64
	// unreadable is since when syncs cannot be counted; zero while they can.
	unreadable time.Time
	// version is the API server's; empty if it is not known.
	version string
}

// wanted returns the addresses that removal waits for, or may wait for later, and since when their endpoints are known.
func wanted(pass pass.Pass) map[netip.Addr]time.Time {
	addresses := map[netip.Addr]time.Time{}
	if !pass.Evidence.KubeProxy.StaleRecord {
		return addresses
	}
	for _, v := range pass.Verdicts {
		if v.MayBeRemembered() || v.Unclaimed() || v.Kind.Removes() {
			since := addresses[v.Address()]
			if v.Since.After(since) {
				since = v.Since
			}
			addresses[v.Address()] = since
		}
	}
	return addresses
}

// follow starts and drops proofs. A proof is dropped when its address needs none, which is also when a slice lists it.
func (t *Tracker) follow(wanted map[netip.Addr]time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.proofs, func(addr netip.Addr, _ *proof) bool {
		_, still := wanted[addr]
		return !still
	})
	for addr := range wanted {
		if t.proofs[addr] == nil {
			t.proofs[addr] = new(proof)
			t.proofs[addr].enter(unlisted, t.opts.Clock.Now())
		}
	}
}

func (t *Tracker) pending() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.proofs {
		if p.step != cleared {
			return true
		}
	}
	return false
}

func (t *Tracker) any(s step) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.proofs {
		if p.step == s {
			return true
		}
	}
	return false
}

// current returns the addresses for which the view is known to be current since their proof began.
func (t *Tracker) current(ctx context.Context, wanted map[netip.Addr]time.Time) sets.Set[netip.Addr] {
	since := map[netip.Addr]time.Time{}
	t.mu.Lock()
	for addr, p := range t.proofs {
		if p.step == unlisted {
			since[addr] = p.since
			if seen := wanted[addr]; seen.After(p.since) {
				since[addr] = seen
			}
		}
	}
	t.mu.Unlock()
	current := sets.New[netip.Addr]()
	for addr, moment := range since {
		is, err := t.opts.Freshness.Current(ctx, moment)
		if err != nil {
			logf.FromContext(ctx).Error(err, "Cannot verify that the EndpointSlice watch is current; conflicts stay held")
			return current
		}
		if is {
			current.Insert(addr)
		}
	}
	return current
}

// advance moves a proof by at most one step.
func (t *Tracker) advance(addr netip.Addr, p *proof, o observation, current bool) {
	switch p.step {
	case unlisted:
		if current {
			p.enter(processed, o.now)
		}
	case processed:
		if t.synced(p, o) && o.version != "" {
			p.enter(changed, o.now)
			p.version = o.version
			t.opts.Flusher.Request(addr)
		}
	case changed: // SliceChanged ends it
		t.opts.Flusher.Request(addr)
	case forgotten:
		if t.synced(p, o) {
			p.enter(cleared, o.now)
		}
	case cleared:
	}
}

// synced reports whether kube-proxy has finished a sync that started after the step began, and after its watch had time
// to reach it (invariant 7).
func (t *Tracker) synced(p *proof, o observation) bool {
	if !o.unreadable.IsZero() {
		p.counted = false
		return min(o.now.Sub(p.since), o.now.Sub(o.unreadable)) >= t.opts.HoldTimeout
	}
	if o.now.Sub(p.since) < min(t.opts.WatchLag, t.opts.HoldTimeout) {
		return false
	}
	if !p.counted || o.syncs < p.base { // a kube-proxy that was restarted counts from zero
		p.base, p.counted = o.syncs, true
	}
	return o.syncs >= p.base+kubeproxy.SyncsBetween
}

// SliceChanged implements [pass.SliceObserver].
func (t *Tracker) SliceChanged(before, after *cluster.Slice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.proofs) == 0 {
		return
	}
	for _, slice := range []*cluster.Slice{before, after} {
		for addr := range slice.AddressesElsewhere(t.opts.Node) {
			if p := t.proofs[addr]; p != nil {
				p.enter(unlisted, t.opts.Clock.Now())
			}
		}
	}
	if after == nil || !Flushes(before, after) {
		return
	}
	for addr, p := range t.proofs {
		if p.step == changed && FamilyOf(addr) == after.AddressType && provenNewer(after.ResourceVersion, p.version) {
			p.enter(forgotten, t.opts.Clock.Now())
		}
	}
}

// SlicesRelisted implements [pass.RelistObserver]: an address may have been listed and dropped unseen.
func (t *Tracker) SlicesRelisted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.proofs {
		p.enter(unlisted, t.opts.Clock.Now())
	}
}
