// SPDX-License-Identifier: Apache-2.0

package stalerecord

import (
	"cmp"
	"context"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// FlusherOptions configure a flusher.
type FlusherOptions struct {
	// Node is the name of this node. Required.
	Node string
	// Namespace is the namespace of the slices. Required.
	Namespace string
	// Enforce allows slices to be written. If it is false, a needed flush is only reported.
	Enforce bool
	// Client writes the slices. Required.
	Client client.Client
	// Gate is open while an admission policy restricts what Client writes.
	// Default: it is always open.
	Gate *admission.Gate
	// Settle is how long after the loss of an address a change must come to count as a flush (invariant 2). Required.
	Settle time.Duration
	// Spread is the time over which the agents of a cluster spread their writes (invariant 3). Required.
	Spread time.Duration
	// UrgentSpread is the same for agents on whose node a pod waits for its address. Required.
	UrgentSpread time.Duration
	// Random returns a number from 0 to 1. Required.
	Random func() float64
	// History records the flushes. Default: no history is kept.
	History *history.Ring
	// Metrics are the measurements. Required.
	Metrics *Metrics
	// Clock is the source of time. Required.
	Clock clock.PassiveClock
}

// The times in production. kube-proxy checks its record again 30 seconds after the sync that created it; the sum of
// these times leaves a margin. The spreads are several times longer than a watch takes to deliver another agent's
// write. TestHerd simulates both with up to 5,000 agents: with an urgent spread of 4 seconds they made up to 36
// requests, with 6 seconds up to 14.
const (
	Settle       = time.Second
	Spread       = 12 * time.Second
	UrgentSpread = 6 * time.Second
)

// Flusher tracks what kube-proxy's record may hold, by IP family, and makes kube-proxy replace it. It is safe for
// concurrent use.
type Flusher struct {
	opts FlusherOptions

	mu       sync.Mutex
	families map[discoveryv1.AddressType]*record
	// remotes are kube-proxy's endpoints in the last snapshot; it is nil before the first one with an affected kube-proxy.
	remotes map[hns.EndpointID]netip.Addr
}

var (
	_ pass.Action        = (*Flusher)(nil)
	_ pass.SliceObserver = (*Flusher)(nil)
)

// record is the known state of kube-proxy's record for one family.
type record struct {
	// stale is since when the record may hold an address that another endpoint may get; zero if it holds none.
	stale time.Time
	// reported is set in observe mode when a flush was found to be needed, until the record may hold something else.
	reported bool
	// barrier is set while a proof waits for the slice to move: other changes do not help.
	barrier bool
	// lost are the addresses that the record may hold, as far as this agent has seen them disappear.
	lost sets.Set[netip.Addr]
	// When to write, unless another change comes first: due in general, urgent if a pod waits for its address, and
	// endangered if a pod on this node has got one of the lost addresses.
	due, urgent, endangered time.Time
	// dropped are addresses that slices have dropped and whose remote endpoints still existed, and the times of the drops.
	dropped map[netip.Addr]time.Time
	// own is the last seen state of the slice that all agents write.
	own *cluster.Slice
	// wrote is the resource version of this agent's last write. Versions up to it are older than that write.
	wrote string
	// conflicts counts conflicting writes since the watch last showed a change of the slice.
	conflicts int
	// failures counts consecutive failed writes. The next write waits until retry, or until retrySoon while a pod on this
	// node is endangered. A change by another writer resets neither.
	failures         int
	retry, retrySoon time.Time
}

// NewFlusher returns a flusher.
func NewFlusher(o FlusherOptions) *Flusher {
	return &Flusher{opts: o, families: map[discoveryv1.AddressType]*record{}}
}

// forget is how long the flusher waits for the remote endpoint of a dropped address to disappear. A leaked one never
// does.
const forget = time.Minute

// SliceChanged implements [pass.SliceObserver].
func (f *Flusher) SliceChanged(before, after *cluster.Slice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := cmp.Or(after, before)
	own := isFlushSlice(one, f.opts.Namespace)
	if !own && visible(before) == nil && visible(after) == nil {
		return
	}
	r := f.family(one.AddressType)
	if own {
		r.own, r.conflicts = after, 0
	}
	now := f.opts.Clock.Now()
	if Flushes(before, after) {
		f.flushed(r, after, now)
	}
	if own {
		return // no pod has its address
	}
	for _, addr := range lost(visible(before), visible(after), f.opts.Node) {
		r.dropped[addr] = now
	}
	if len(keepsOf(before, f.opts.Node)) > 0 && after == nil { // this agent dropped it, and has to flush it
		f.markStale(r, f.opts.Settle)
		r.due = pass.Earlier(r.due, now.Add(f.opts.Settle))
	}
}

// flushed records that a change of a slice clears kube-proxy's record. A change that is older than the last write
// precedes the loss, even if the watch delivers it late.
func (f *Flusher) flushed(r *record, after *cluster.Slice, now time.Time) {
	r.reported = false
	if after != nil && provenNotNewer(after.ResourceVersion, r.wrote) {
		return
	}
	if after != nil && isFlushSlice(after, f.opts.Namespace) {
		r.barrier = false
	}
	if !r.stale.IsZero() && now.Sub(r.stale) >= f.opts.Settle {
		r.stale = time.Time{}
		f.opts.Metrics.changes.WithLabelValues(suppressed).Inc()
	}
}

// pending reports whether the slice has to be moved.
func (r *record) pending() bool { return r.barrier || !r.stale.IsZero() }

// clean records that kube-proxy's record holds no address that another endpoint may get.
func (r *record) clean() { r.stale, r.barrier = time.Time{}, false }

// Request implements [Requester]. What a proof waits for is in the record already, so nothing has to settle.
func (f *Flusher) Request(kind discoveryv1.AddressType, addresses ...netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.family(kind)
	if r.reported {
		return
	}
	if !r.pending() {
		f.schedule(r, 0)
		r.due = f.opts.Clock.Now().Add(f.opts.Settle + f.wait(f.opts.Spread*3/2)) // three of them make one wave
	}
	r.barrier = true
	r.lost.Insert(addresses...)
}

func (f *Flusher) family(kind discoveryv1.AddressType) *record {
	if f.families[kind] == nil {
		f.families[kind] = &record{dropped: map[netip.Addr]time.Time{}, lost: sets.New[netip.Addr]()}
		if f.remotes != nil {
			f.markStale(f.families[kind], f.opts.Settle) // the first slice of its family
		}
	}
	return f.families[kind]
}

// markStale records that kube-proxy's record may hold more addresses from now on: a change counts as a flush if it
// comes at least settle later.
func (f *Flusher) markStale(r *record, settle time.Duration, lost ...netip.Addr) {
	now := f.opts.Clock.Now()
	if !r.pending() {
		f.schedule(r, settle)
	}
	r.stale, r.reported = now, false
	r.lost.Insert(lost...)
	r.due = pass.Later(r.due, now.Add(f.opts.Settle))
	r.urgent = pass.Later(r.urgent, now.Add(settle))
	r.endangered = pass.Later(r.endangered, now.Add(settle))
}

// schedule decides when to write.
func (f *Flusher) schedule(r *record, settle time.Duration) {
	now := f.opts.Clock.Now()
	r.lost = sets.New[netip.Addr]()
	r.due = now.Add(f.opts.Settle + f.wait(f.opts.Spread))
	r.urgent = now.Add(settle + f.wait(f.opts.UrgentSpread))
	r.endangered = now.Add(settle)
}

// groupSize is the largest expected number of agents in a cluster.
const groupSize = 10_000

// wait returns a random part of the spread.
func (f *Flusher) wait(spread time.Duration) time.Duration {
	return fewEarly(f.opts.Random(), spread).Round(time.Millisecond)
}

// fewEarly maps a number from 0 to 1 to a part of the spread, with a truncated exponential distribution: of any number
// of agents up to groupSize, only a few write before they see the first write. With an even distribution the number of
// writes would grow with the number of agents.
//
// Source: the backoff timers of NACK-oriented multicast, RFC 5401.
func fewEarly(random float64, spread time.Duration) time.Duration {
	lambda := math.Log(groupSize) + 1
	at := math.Log1p(random*math.Expm1(lambda)) / lambda
	return time.Duration(at * float64(spread))
}

// Run implements [pass.Action].
func (f *Flusher) Run(ctx context.Context, p pass.Pass) time.Duration {
	due, next := f.due(p)
	for kind, w := range due {
		next = pass.Soonest(next, f.flush(ctx, p, kind, w))
	}
	return next
}

// due returns the families that have to be flushed now, and the input of each write.
func (f *Flusher) due(p pass.Pass) (due map[discoveryv1.AddressType]write, next time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !p.Evidence.KubeProxy.StaleRecord {
		f.clear()
		return nil, 0
	}
	f.compare(p.Evidence)
	pending, due := 0, map[discoveryv1.AddressType]write{}
	for kind, r := range f.families {
		if len(r.dropped) > 0 {
			next = pass.Soonest(next, watchEvery)
		}
		if !r.pending() {
			continue
		}
		pending++
		if wait := r.when(p).Sub(f.opts.Clock.Now()); wait > 0 {
			next = pass.Soonest(next, wait)
			continue
		}
		due[kind] = write{seen: r.own, conflicts: r.conflicts, to: f.moveTo(kind, r.own, p.Evidence.Snapshot)}
	}
	f.opts.Metrics.pending.Set(float64(pending))
	return due, next
}

// moveTo returns the address to move the slice to. If the slice has no barrier address, it starts at a random one.
func (f *Flusher) moveTo(kind discoveryv1.AddressType, own *cluster.Slice, snapshot verdict.Snapshot) netip.Addr {
	from := int(f.opts.Random() * (barriers - 1))
	if addr := barrierOf(own); addr.IsValid() {
		bytes := addr.AsSlice()
		from = int(bytes[len(bytes)-1])
	}
	return nextBarrier(kind, from, sets.New(snapshot.Addresses()...))
}

// when returns when to write.
func (r *record) when(p pass.Pass) time.Time {
	when, retry := r.due, r.retry
	if p.Waiting {
		when = pass.Earlier(when, r.urgent)
	}
	if r.endangers(p.Evidence.Snapshot) {
		when, retry = pass.Earlier(when, r.endangered), r.retrySoon
	}
	return pass.Later(when, retry)
}

// endangers reports whether a local endpoint has one of the lost addresses: kube-proxy may delete it at its next sync.
func (r *record) endangers(snapshot verdict.Snapshot) bool {
	return slices.ContainsFunc(snapshot.Endpoints, func(e verdict.Endpoint) bool {
		return !e.Remote() && r.lost.HasAny(e.Addresses...)
	})
}

// watchEvery is how often to check whether kube-proxy has processed a loss. Shorter, and slices that change all the
// time would keep the agent busy; while a pod waits for its address, passes are more frequent anyway.
const watchEvery = time.Second

// compare compares a snapshot with the previous one, and with the addresses that slices have dropped.
func (f *Flusher) compare(evidence verdict.Evidence) {
	remotes, present := map[hns.EndpointID]netip.Addr{}, sets.New[netip.Addr]()
	for i := range evidence.Snapshot.Endpoints {
		e := &evidence.Snapshot.Endpoints[i]
		if e.Network == evidence.Snapshot.Network.ID && kubeproxy.Owns(e.Endpoint) {
			remotes[e.ID] = e.Addresses[0]
			present.Insert(e.Addresses[0])
		}
	}
	for id, addr := range f.remotes {
		if _, there := remotes[id]; there || !evidence.Record.MayHold(addr) {
			continue // this agent removed what kube-proxy has forgotten, or it does not matter
		}
		// kube-proxy processes all changes before it deletes endpoints at the end of a sync: what comes now comes after the
		// loss.
		r := f.family(cluster.FamilyOf(addr))
		delete(r.dropped, addr)
		f.markStale(r, 0, addr)
	}
	for _, r := range f.families {
		if f.remotes == nil {
			f.markStale(r, f.opts.Settle) // invariant 4
		}
		f.settleDropped(r, evidence.Snapshot.Taken, present)
	}
	f.remotes = remotes
}

// settleDropped finds the dropped addresses that no longer have a remote endpoint, or never had one.
func (f *Flusher) settleDropped(r *record, taken time.Time, present sets.Set[netip.Addr]) {
	for addr, since := range r.dropped {
		switch {
		case !taken.After(since):
		case !present.Has(addr):
			delete(r.dropped, addr)
			f.markStale(r, f.opts.Settle, addr)
		case taken.Sub(since) > forget:
			delete(r.dropped, addr)
		}
	}
}

// clear resets what a kube-proxy without the fault does not record. If an affected one replaces it, its record at that
// time is unknown (invariant 4).
func (f *Flusher) clear() {
	f.remotes = nil
	for _, r := range f.families {
		r.clean()
		clear(r.dropped)
	}
	f.opts.Metrics.pending.Set(0)
}

// writeTimeout bounds a write.
const writeTimeout = 5 * time.Second

// flush changes the slice, and returns how soon to check again.
func (f *Flusher) flush(
	ctx context.Context, pass pass.Pass, kind discoveryv1.AddressType, w write,
) time.Duration {
	log := logf.FromContext(ctx).WithValues("family", kind)
	result, version, err := observed, "", error(nil)
	if f.opts.Enforce {
		ctx, cancel := context.WithTimeout(ctx, writeTimeout)
		defer cancel()
		result, version, err = f.write(ctx, kind, w)
	}
	f.opts.Metrics.changes.WithLabelValues(result).Inc()
	f.opts.History.Add(history.Entry{Act: history.Flush, Result: result, Subject: string(kind)}.Because(err))
	f.mu.Lock()
	defer f.mu.Unlock()
	r, now := f.families[kind], f.opts.Clock.Now()
	switch result {
	case observed:
		log.Info("Observing: kube-proxy's record of terminated addresses would be flushed")
		r.clean()
		r.reported = true
		return 0
	case written:
		log.Info("Flushed kube-proxy's record of terminated addresses")
		r.clean()
		r.wrote = version
		r.succeeded()
		return 0
	case conflicted:
		// Another agent has just written. Its change counts when it arrives, if it came late enough.
		r.succeeded()
		r.conflicts++
		r.due = now.Add(f.opts.Settle + f.wait(f.opts.UrgentSpread))
		r.urgent, r.endangered = r.due, now.Add(f.opts.Settle)
	default:
		f.retryLater(r, result, now)
		if result != unrestricted { // the gate logs this once
			log.Error(err, "Cannot flush kube-proxy's record of terminated addresses; "+
				"a pod that gets one of them may lose its endpoint", "retryIn", r.when(pass).Sub(now).Round(time.Second))
		}
	}
	return r.when(pass).Sub(now)
}

// succeeded ends the backoff: the API server accepts writes.
func (r *record) succeeded() { r.failures, r.retry, r.retrySoon = 0, time.Time{}, time.Time{} }

// The backoffs of a failed write: of one that may succeed the next time, and of one that needs new permissions. A node
// with an endangered pod retries sooner if that may help: kube-proxy's next sync is at most 30 seconds away, and there
// are never many such nodes.
const (
	backoffFirst       = time.Second
	backoffMost        = 30 * time.Second
	backoffSoon        = 2 * time.Second
	backoffFirstDenied = 10 * time.Second
	backoffMostDenied  = 10 * time.Minute
)

// retryLater doubles the backoff and adds a random part, so that the agents of a cluster do not retry together. A write
// that no admission policy restricts is retried as soon as one that may succeed: the gate remembers the result and
// rarely sends a request.
func (f *Flusher) retryLater(r *record, result string, now time.Time) {
	first, most := backoffFirst, backoffMost
	if result == forbidden {
		first, most = backoffFirstDenied, backoffMostDenied
	}
	wait := min(first<<min(r.failures, 10), most)
	wait += time.Duration(f.opts.Random() * float64(wait) / 2)
	r.failures++
	r.retry, r.retrySoon = now.Add(wait), now.Add(wait)
	if result != forbidden {
		r.retrySoon = now.Add(min(wait, backoffSoon))
	}
}
