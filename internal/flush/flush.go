// SPDX-License-Identifier: Apache-2.0

package flush

import (
	"context"
	"net/netip"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

// Options are what a flusher is made of. All fields are required.
type Options struct {
	// Node is the name of this node, whose kube-proxy is meant.
	Node string
	// Namespace is where the slices are.
	Namespace string
	// Enforce says whether slices are written; otherwise it is only said that one should be.
	Enforce bool
	Client  client.Client
	// Settle is how long after the loss of an address a change has to come to count (invariant 2).
	Settle time.Duration
	// Spread is the random time over which the agents of a cluster spread their writes (invariant 3).
	Spread time.Duration
	// Random returns a number from 0 to 1.
	Random  func() float64
	Metrics *Metrics
	Clock   clock.PassiveClock
}

// Settle and Spread as they should be outside of tests: with both the record is clear well before kube-proxy's next
// periodic sync, which comes 30 seconds after the one that made it.
const (
	Settle = time.Second
	Spread = 2 * time.Second
)

// Flusher keeps book of kube-proxy's record, by IP family: each family has a record of its own.
type Flusher struct {
	Options

	mu       sync.Mutex
	families map[discoveryv1.AddressType]*record
	// remotes are kube-proxy's endpoints in the last snapshot; it is nil before the first.
	remotes map[hns.EndpointID]netip.Addr
}

// record is what is known of kube-proxy's record of one family.
type record struct {
	// stale is since when the record may hold an address that another endpoint may get; zero if it cannot.
	stale time.Time
	// due is when to write, unless somebody else was first; early is when to write if a pod waits for its address.
	due, early time.Time
	// dropped are the addresses that slices have lost and whose remote endpoints were still there, and since when.
	dropped map[netip.Addr]time.Time
	// own is the slice that all agents write, as it was last seen.
	own *discoveryv1.EndpointSlice
	// failures counts writes that failed, one after the other.
	failures int
}

// New makes a flusher.
func New(o Options) *Flusher {
	return &Flusher{Options: o, families: map[discoveryv1.AddressType]*record{}}
}

// forget is how long a remote endpoint may stay after its address was dropped before nobody waits for it any more. A
// leaked one stays for good, and is none of kube-proxy's record.
const forget = time.Minute

// Changed takes in a change of an EndpointSlice. Either side may be nil: the slice was added, or deleted.
func (f *Flusher) Changed(before, after *discoveryv1.EndpointSlice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := after
	if one == nil {
		one = before
	}
	if !concernsKubeProxy(one) {
		return
	}
	r := f.family(one.AddressType)
	if !differ(before, after) {
		if f.isOwn(one) {
			r.own = after // its resource version
		}
		return
	}
	now := f.Clock.Now()
	if !r.stale.IsZero() && now.Sub(r.stale) >= f.Settle {
		r.stale = time.Time{}
		f.Metrics.changes.WithLabelValues(suppressed).Inc()
	}
	if f.isOwn(one) {
		r.own = after
		return // its address is nobody's: that it is lost does no harm
	}
	for _, addr := range lost(before, after, f.Node) {
		r.dropped[addr] = now
	}
}

func (f *Flusher) family(kind discoveryv1.AddressType) *record {
	if f.families[kind] == nil {
		f.families[kind] = &record{dropped: map[netip.Addr]time.Time{}}
		if f.remotes != nil {
			f.markStale(f.families[kind], f.Settle) // the first slice of its family
		}
	}
	return f.families[kind]
}

// markStale notes that the record may be stale from now on, and decides when to write: a change of our own counts if it
// is made at least so long after.
func (f *Flusher) markStale(r *record, settle time.Duration) {
	early := f.Clock.Now().Add(settle)
	if r.stale.IsZero() || early.After(r.early) {
		r.early = early
	}
	r.stale = f.Clock.Now()
	r.due = r.stale.Add(f.Settle + time.Duration(f.Random()*float64(f.Spread)))
}

// Pass takes in a snapshot of HNS, writes if it is time to, and returns how soon the next snapshot should come; zero
// means that there is no hurry. Urgent is set while a pod of the node waits for its address: it may get one of those
// that kube-proxy remembers at any moment, so that it cannot be left to others to be first.
func (f *Flusher) Pass(
	ctx context.Context, snapshot inventory.Snapshot, profile kubeproxy.Profile, urgent bool,
) time.Duration {
	due, next := f.look(snapshot, profile, urgent)
	for kind, own := range due {
		next = sooner(next, f.flush(ctx, kind, own))
	}
	return next
}

// look returns the families that it is time to flush, with their slices as they were last seen.
func (f *Flusher) look(snapshot inventory.Snapshot, profile kubeproxy.Profile, urgent bool,
) (due map[discoveryv1.AddressType]*discoveryv1.EndpointSlice, next time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.see(snapshot)
	if !profile.StaleRecord {
		f.clear()
		return nil, 0
	}
	pending, due := 0, map[discoveryv1.AddressType]*discoveryv1.EndpointSlice{}
	for kind, r := range f.families {
		if len(r.dropped) > 0 {
			next = sooner(next, watchEvery)
		}
		if r.stale.IsZero() {
			continue
		}
		pending++
		when := r.due
		if urgent && r.early.Before(when) {
			when = r.early
		}
		if wait := when.Sub(f.Clock.Now()); wait > 0 {
			next = sooner(next, wait)
			continue
		}
		due[kind] = r.own
	}
	f.Metrics.pending.Set(float64(pending))
	return due, next
}

// watchEvery is how often to look whether kube-proxy has processed a loss.
const watchEvery = 250 * time.Millisecond

func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// see compares a snapshot with the one before, and with what slices have lost.
func (f *Flusher) see(snapshot inventory.Snapshot) {
	remotes, present := map[hns.EndpointID]netip.Addr{}, map[netip.Addr]bool{}
	for _, e := range snapshot.Endpoints {
		if e.Network == snapshot.Network.ID && kubeproxy.Owns(e.Endpoint) {
			remotes[e.ID], present[e.Addresses[0]] = e.Addresses[0], true
		}
	}
	first := f.remotes == nil
	for id, addr := range f.remotes {
		if _, there := remotes[id]; !there {
			// kube-proxy deletes endpoints at the end of a sync, and has taken in all changes before it: what comes now
			// comes after the loss.
			r := f.family(kindOf(addr))
			delete(r.dropped, addr)
			f.markStale(r, 0)
		}
	}
	f.remotes = remotes
	for _, r := range f.families {
		if first {
			f.markStale(r, f.Settle) // invariant 4
		}
		f.settleDropped(r, snapshot.Taken, present)
	}
}

// settleDropped looks which of the lost addresses have no remote endpoint any more, or never had one.
func (f *Flusher) settleDropped(r *record, taken time.Time, present map[netip.Addr]bool) {
	for addr, since := range r.dropped {
		switch {
		case !taken.After(since):
		case !present[addr]:
			delete(r.dropped, addr)
			f.markStale(r, f.Settle)
		case taken.Sub(since) > forget:
			delete(r.dropped, addr)
		}
	}
}

// clear forgets what a kube-proxy without the fault does not remember.
func (f *Flusher) clear() {
	for _, r := range f.families {
		r.stale = time.Time{}
		clear(r.dropped)
	}
	f.Metrics.pending.Set(0)
}

// writeTimeout bounds a write.
const writeTimeout = 5 * time.Second

// flush makes the change, and returns how soon to look again.
func (f *Flusher) flush(
	ctx context.Context, kind discoveryv1.AddressType, own *discoveryv1.EndpointSlice,
) time.Duration {
	log := logf.FromContext(ctx).WithValues("family", kind)
	result, err := observed, error(nil)
	if f.Enforce {
		ctx, cancel := context.WithTimeout(ctx, writeTimeout)
		defer cancel()
		result, err = f.toggle(ctx, kind, own)
	}
	f.Metrics.changes.WithLabelValues(result).Inc()
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.families[kind]
	switch result {
	case observed:
		log.Info("Observing: kube-proxy's record of terminated addresses would be flushed")
		r.stale = time.Time{}
		return 0
	case written:
		log.Info("Flushed kube-proxy's record of terminated addresses")
		r.stale, r.failures = time.Time{}, 0
		return 0
	case conflicted:
		// Somebody else is at it. When their change arrives it counts, if it came late enough.
		r.due = f.Clock.Now().Add(f.Settle + time.Duration(f.Random()*float64(f.Spread)))
		r.early = r.due
	default:
		r.failures++
		r.due = f.Clock.Now().Add(backoff(r.failures))
		r.early = r.due
		log.Error(err, "kube-proxy's record of terminated addresses was not flushed; "+
			"a pod that gets one of them may lose its endpoint", "retryIn", backoff(r.failures))
	}
	return r.due.Sub(f.Clock.Now())
}

// backoff is the time after so many failures: 1s, 2s, 4s, 8s at most.
func backoff(failures int) time.Duration {
	return time.Second << min(failures-1, 3)
}
