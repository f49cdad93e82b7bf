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
	// Node is the name of this node, whose kube-proxy is meant. Required.
	Node string
	// Namespace is where the slices are. Required.
	Namespace string
	// Enforce allows slices to be written. If it is false, a needed flush is only reported.
	Enforce bool
	// Client writes the slices. Required.
	Client client.Client
	// Gate is open while an admission policy restricts what Client writes.
	// Default: it is always open.
	Gate *admission.Gate
	// Settle is how long after the loss of an address a change has to come to count (invariant 2). Required.
	Settle time.Duration
	// Spread is the time over which the agents of a cluster spread their writes (invariant 3). Required.
	Spread time.Duration
	// UrgentSpread is the same for agents with a pod that waits for its address. Required.
	UrgentSpread time.Duration
	// Random returns a number from 0 to 1. Required.
	Random func() float64
	// History gets the flushes.
	// Default: it is not kept.
	History *history.Ring
	// Metrics are the measurements. Required.
	Metrics *Metrics
	// Clock is the source of time. Required.
	Clock clock.PassiveClock
}

// The times in production. kube-proxy looks at its record again 30 seconds after the sync that made it; all of them
// together leave a margin. The spreads are several times longer than a watch takes to bring another agent's write.
// TestHerd plays both with up to 5,000 agents; with an urgent spread of 4 seconds they made up to 36 requests, with
// one of 6 seconds up to 14.
const (
	Settle       = time.Second
	Spread       = 12 * time.Second
	UrgentSpread = 6 * time.Second
)

// Flusher follows what kube-proxy's record may hold, by IP family, and makes kube-proxy replace it. It is safe for
// concurrent use.
type Flusher struct {
	opts FlusherOptions

	mu       sync.Mutex
	families map[discoveryv1.AddressType]*record
	// remotes are kube-proxy's endpoints in the last snapshot; it is nil before the first of an affected kube-proxy.
	remotes map[hns.EndpointID]netip.Addr
}

var (
	_ pass.Action        = (*Flusher)(nil)
	_ pass.SliceObserver = (*Flusher)(nil)
)

// record is the known state of kube-proxy's record for one family.
type record struct {
	// stale is since when the record may hold an address that another endpoint may get; zero if it does not.
	stale time.Time
	// reported is set in observe mode when a flush was found to be needed, until the record may hold something else.
	reported bool
	// barrier is set while a proof waits for the slice to move: no other change will do.
	barrier bool
	// lost are the addresses that it may hold, as far as this agent has seen them go.
	lost sets.Set[netip.Addr]
	// When to write, unless another change comes first: in general, if a pod waits for its address, and if a pod of this
	// node has got one of the lost addresses.
	due, urgent, endangered time.Time
	// dropped are the addresses that slices have lost and whose remote endpoints were still there, and since when.
	dropped map[netip.Addr]time.Time
	// own is the slice that all agents write, as it was last seen.
	own *cluster.Slice
	// wrote is the resource version of this agent's last write. What the watch brings up to it was made before.
	wrote string
	// conflicts counts the writes that met another's since the watch last showed a change of the slice.
	conflicts int
	// failures counts consecutive writes that failed. The next one is not made before retry, or before retrySoon while a
	// pod on this node is endangered. Both outlive a change from elsewhere.
	failures         int
	retry, retrySoon time.Time
}

// NewFlusher returns a flusher.
func NewFlusher(o FlusherOptions) *Flusher {
	return &Flusher{opts: o, families: map[discoveryv1.AddressType]*record{}}
}

// forget is how long the flusher waits for the end of a remote endpoint whose address was dropped. A leaked one never
// goes.
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
		return // its address belongs to no pod
	}
	for _, addr := range lost(visible(before), visible(after), f.opts.Node) {
		r.dropped[addr] = now
	}
	if len(keepsOf(before, f.opts.Node)) > 0 && after == nil { // which this agent did: it makes good what it drops
		f.markStale(r, f.opts.Settle)
		r.due = pass.Earlier(r.due, now.Add(f.opts.Settle))
	}
}

// flushed notes that a change of a slice clears kube-proxy's record. A change that is older than the last write came
// before the loss, however late the watch brings it.
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

// pending reports whether the slice has to move.
func (r *record) pending() bool { return r.barrier || !r.stale.IsZero() }

// clean notes that the record holds nothing that another endpoint may get.
func (r *record) clean() { r.stale, r.barrier = time.Time{}, false }

// Request implements [Requester]. What a proof waits for is in the record already, so that nothing has to settle.
func (f *Flusher) Request(kind discoveryv1.AddressType, addresses ...netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.family(kind)
	if r.reported {
		return
	}
	if !r.pending() {
		f.schedule(r, 0)
		r.due = f.opts.Clock.Now().Add(f.opts.Settle + f.wait(f.opts.Spread*3/2)) // three of them are one wave
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

// markStale records that the record may hold more addresses from now on: a change counts if it is made at least so long
// after.
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

// groupSize is the most agents that a cluster is expected to have.
const groupSize = 10_000

// wait returns a random part of the spread.
func (f *Flusher) wait(spread time.Duration) time.Duration {
	return fewEarly(f.opts.Random(), spread).Round(time.Millisecond)
}

// fewEarly turns a number from 0 to 1 into a part of the spread, with an exponential distribution that is cut at its
// end: of any number of agents up to groupSize, only a few come so early that the first one's write has not come
// yet. An even distribution would let the writes grow with the agents.
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

// due returns the families that it is time to flush, and what the writes start from.
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

// moveTo returns the address to move the slice to. Where it has none of ours, the first is a random one.
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

// watchEvery is how often to look whether kube-proxy has processed a loss. It is not shorter, because slices that
// change all the time would keep the agent busy; passes come more often anyway while a pod waits for its address.
const watchEvery = time.Second

// compare compares a snapshot with the one before, and with what slices have lost.
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
			continue // what is forgotten was removed by this agent, or does not matter
		}
		// kube-proxy deletes endpoints at the end of a sync, and processes all changes before it: what comes now comes
		// after the loss.
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

// settleDropped finds the lost addresses that have no remote endpoint any more, or never had one.
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

// clear drops what a kube-proxy without the fault does not remember. If an affected one takes its place, what it has
// recorded by then is unknown (invariant 4).
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

// flush makes the change, and returns how soon to look again.
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
		// Another agent has just written. When the change arrives it counts, if it came late enough.
		r.succeeded()
		r.conflicts++
		r.due = now.Add(f.opts.Settle + f.wait(f.opts.UrgentSpread))
		r.urgent, r.endangered = r.due, now.Add(f.opts.Settle)
	default:
		f.retryLater(r, result, now)
		if result != unrestricted { // which the gate logs once
			log.Error(err, "Cannot flush kube-proxy's record of terminated addresses; "+
				"a pod that gets one of them may lose its endpoint", "retryIn", r.when(pass).Sub(now).Round(time.Second))
		}
	}
	return r.when(pass).Sub(now)
}

// succeeded ends the backoff: the API server accepts writes.
func (r *record) succeeded() { r.failures, r.retry, r.retrySoon = 0, time.Time{}, time.Time{} }

// The backoffs of a write that failed: of one that may succeed the next time, and of one that needs a change of
// permissions. A node with an endangered pod tries again sooner, if that may help: kube-proxy's next sync is at most 30
// seconds away, and there are never many such nodes.
const (
	backoffFirst       = time.Second
	backoffMost        = 30 * time.Second
	backoffSoon        = 2 * time.Second
	backoffFirstDenied = 10 * time.Second
	backoffMostDenied  = 10 * time.Minute
)

// retryLater doubles the backoff, and lengthens it by a random part, so that the agents of a cluster do not come back
// together. A write that no admission policy restricts is retried as soon as one that may succeed: the gate remembers,
// and rarely sends a request.
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
