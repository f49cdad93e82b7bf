// SPDX-License-Identifier: Apache-2.0

package stalerecord

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Requester requests moves of the flush slice.
type Requester interface {
	// Request requests a move of a family's slice. The addresses are those whose proof needs it.
	Request(kind discoveryv1.AddressType, addresses ...netip.Addr)
}

// TrackerOptions configure a tracker.
type TrackerOptions struct {
	// Node is the name of this node. Required.
	Node string
	// Namespace is the namespace of the flush slices. Required.
	Namespace string
	// Flusher moves the slices. Required.
	Flusher Requester
	// Interval is how often to check HNS for a move while a pod is in danger. Required.
	Interval time.Duration
	// Metrics are the measurements. Required.
	Metrics *Metrics
	// Clock is the source of time. Required.
	Clock clock.PassiveClock
}

// Tracker tracks what kube-proxy's record may hold. It is safe for concurrent use.
type Tracker struct {
	opts TrackerOptions

	mu sync.Mutex
	// order counts the changes that the watch delivers, which is in commit order.
	order    uint64
	families map[discoveryv1.AddressType]*proof
	// kept are the keeps of this node.
	kept sets.Set[cluster.Keep]
	// shown are the barrier addresses in the last snapshot of HNS, and since which moments it has had them; zero if they
	// were in the first snapshot. It is nil before the first snapshot.
	shown map[netip.Addr]uint64
	// held is since when each held address has been held.
	held map[netip.Addr]time.Time
	// record is the last answer. Its Dropped is nil once the answer is outdated.
	record verdict.Record
}

var (
	_ pass.Action         = (*Tracker)(nil)
	_ pass.SliceObserver  = (*Tracker)(nil)
	_ pass.RelistObserver = (*Tracker)(nil)
)

// proof is the proved state of one family's record. A moment is a value of [Tracker.order].
type proof struct {
	// unknown is the moment up to which any address may have been dropped unseen.
	unknown uint64
	// dropped are the dropped addresses, and the moments of their last drops.
	dropped map[netip.Addr]uint64
	// moves are the moves of the flush slice that HNS has not shown yet and that will prove something when it does, the
	// oldest first. latest is the moment of the last move of any kind: HNS may never show earlier ones.
	moves  []move
	latest uint64
	// shown are the moments of the last moves that HNS has shown, the oldest first.
	shown []uint64
}

// move is a change of the flush slice's address.
type move struct {
	order uint64
	at    time.Time
	addr  netip.Addr
}

// The bounds of a proof.
const (
	// movesNeeded is how many moves HNS has to show after a drop (invariant 5).
	movesNeeded = 3
	// mostMoves is how many moves that were not shown yet are remembered.
	mostMoves = 16
	// mostDropped is how many dropped addresses are remembered. Beyond it, any address counts as dropped.
	mostDropped = 10_000
)

// NewTracker returns a tracker that has proved nothing.
func NewTracker(o TrackerOptions) *Tracker {
	return &Tracker{
		opts: o, families: map[discoveryv1.AddressType]*proof{}, kept: sets.New[cluster.Keep](),
		held: map[netip.Addr]time.Time{},
	}
}

// Record returns what kube-proxy's record may hold.
func (t *Tracker) Record() verdict.Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.record.Dropped == nil {
		t.record = verdict.Record{
			KnownIPv4: t.families[discoveryv1.AddressTypeIPv4].known(),
			KnownIPv6: t.families[discoveryv1.AddressTypeIPv6].known(), Dropped: sets.New[netip.Addr](),
		}
		for _, p := range t.families {
			t.record.Dropped = t.record.Dropped.Union(sets.KeySet(p.dropped))
		}
	}
	return t.record
}

// known reports whether the record can only hold addresses that were seen to be dropped. Nothing is known about a
// family without any slice so far.
func (p *proof) known() bool { return p != nil && p.horizon() > p.unknown }

// horizon returns the moment before which all drops are forgotten; zero if there is none.
func (p *proof) horizon() uint64 {
	if len(p.shown) < movesNeeded {
		return 0
	}
	return p.shown[0]
}

// Run implements [pass.Action]: it checks HNS for the moves, and requests the moves that a proof lacks.
func (t *Tracker) Run(_ context.Context, pass pass.Pass) (next time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.opts.Clock.Now()
	t.noteShown(pass.Evidence.Snapshot)
	t.measureHolds(pass.Verdicts, now)
	if !pass.Evidence.KubeProxy.StaleRecord {
		setSince(t.opts.Metrics.behind, time.Time{})
		return 0
	}
	waiting, endangered := waitingForProof(pass.Verdicts)
	for kind := range waiting {
		t.family(kind) // the family may have no slice yet
	}
	oldest := time.Time{}
	for kind, p := range t.families {
		addresses := waiting[kind]
		if p.known() && len(addresses) == 0 {
			continue
		}
		next = watchEvery
		switch awaited, is := p.awaited(); {
		case !is:
			t.opts.Flusher.Request(kind, addresses...)
		case oldest.IsZero() || awaited.at.Before(oldest):
			oldest = awaited.at
		}
	}
	setSince(t.opts.Metrics.behind, oldest)
	if endangered {
		return t.opts.Interval
	}
	return next
}

// awaited returns the last move, if it will prove something when HNS shows it.
func (p *proof) awaited() (move, bool) {
	if len(p.moves) == 0 || p.moves[len(p.moves)-1].order != p.latest {
		return move{}, false
	}
	return p.moves[len(p.moves)-1], true
}

// waitingForProof returns the addresses, by family, whose endpoints stay because kube-proxy may remember the address,
// and whether a pod on this node has one of them.
func waitingForProof(verdicts []verdict.Verdict) (addresses map[discoveryv1.AddressType][]netip.Addr, endangered bool) {
	addresses = map[discoveryv1.AddressType][]netip.Addr{}
	for i := range verdicts {
		if v := &verdicts[i]; v.MayBeRemembered() {
			kind := cluster.FamilyOf(v.Address())
			addresses[kind] = append(addresses[kind], v.Address())
			endangered = endangered || v.Kind == verdict.Held
		}
	}
	return addresses, endangered
}

// measureHolds measures how long each conflict is held.
func (t *Tracker) measureHolds(verdicts []verdict.Verdict, now time.Time) {
	held := map[netip.Addr]time.Time{}
	for i := range verdicts {
		if v := &verdicts[i]; v.Kind == verdict.Held {
			held[v.Address()] = cmp.Or(t.held[v.Address()], now)
		}
	}
	for addr, since := range t.held {
		if _, still := held[addr]; !still {
			t.opts.Metrics.holds.Observe(now.Sub(since).Seconds())
		}
	}
	t.held = held
}

// noteShown finds the moves that a snapshot shows. An address proves nothing if HNS had it before the watch delivered
// the previous move: its endpoint may be an old one.
func (t *Tracker) noteShown(snapshot verdict.Snapshot) {
	shown := map[netip.Addr]uint64{}
	for i := range snapshot.Endpoints {
		e := &snapshot.Endpoints[i]
		if e.Network == snapshot.Network.ID && kubeproxy.Owns(e.Endpoint) && IsBarrier(e.Addresses[0]) {
			addr := e.Addresses[0]
			since, before := t.shown[addr]
			if !before && t.shown != nil {
				since = t.order
			}
			shown[addr] = since
		}
	}
	t.shown = shown
	for _, p := range t.families {
		for at := len(p.moves) - 1; at >= 0; at-- {
			m := p.moves[at]
			if _, is := shown[m.addr]; !is {
				continue
			}
			if !snapshot.Taken.Before(m.at) {
				t.advance(p, m.order)
				p.moves = p.moves[at+1:]
				break
			}
			p.moves = append(p.moves[:at:at], p.moves[at+1:]...)
		}
	}
}

// advance records that HNS shows a move, and drops the addresses that kube-proxy has forgotten by then.
func (t *Tracker) advance(p *proof, order uint64) {
	p.shown = append(p.shown, order)
	if len(p.shown) > movesNeeded {
		p.shown = p.shown[1:]
	}
	maps.DeleteFunc(p.dropped, func(_ netip.Addr, at uint64) bool { return at < p.horizon() })
	t.record.Dropped = nil
}

// SliceChanged implements [pass.SliceObserver].
func (t *Tracker) SliceChanged(before, after *cluster.Slice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.order++
	one := cmp.Or(after, before)
	if isFlushSlice(one, t.opts.Namespace) {
		t.flushMoved(before, after)
		return
	}
	t.kept.Delete(keepsOf(before, t.opts.Node)...).Insert(keepsOf(after, t.opts.Node)...)
	before, after = visible(before), visible(after)
	if before == nil && after == nil {
		return
	}
	p := t.family(one.AddressType)
	for _, addr := range slices.Concat(lost(before, after, t.opts.Node), moved(before, after, t.opts.Node)) {
		if t.kept.Has(cluster.Keep{Service: one.ServiceKey(), Node: t.opts.Node, Address: addr}) {
			continue // the Service still lists it
		}
		p.dropped[addr] = t.order
		t.record.Dropped = nil
	}
	if len(p.dropped) > mostDropped {
		p.unknown, p.dropped = t.order, map[netip.Addr]uint64{}
	}
}

// flushMoved records a move of the flush slice. kube-proxy's watch may be faster: if HNS has had the address only since
// the previous move, kube-proxy has processed this one.
func (t *Tracker) flushMoved(before, after *cluster.Slice) {
	addr := barrierOf(after)
	if visible(after) == nil || !addr.IsValid() || addr == barrierOf(before) {
		return
	}
	p := t.family(after.AddressType)
	last := p.latest
	p.latest = t.order
	switch since, shown := t.shown[addr]; {
	case t.shown == nil || since == 0 && shown:
	case shown && since >= last:
		t.advance(p, t.order)
		p.moves = nil
	case !shown:
		p.moves = append(p.moves, move{order: t.order, at: t.opts.Clock.Now(), addr: addr})
		p.moves = p.moves[max(0, len(p.moves)-mostMoves):]
	}
}

func (t *Tracker) family(kind discoveryv1.AddressType) *proof {
	if t.families[kind] == nil {
		t.families[kind] = &proof{dropped: map[netip.Addr]uint64{}}
	}
	return t.families[kind]
}

// SlicesRelisted implements [pass.RelistObserver]: an address may have been listed and dropped unseen. A move in a list
// does not prove that earlier changes were processed.
func (t *Tracker) SlicesRelisted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.families {
		p.unknown, p.moves, p.dropped = t.order, nil, map[netip.Addr]uint64{}
	}
	t.record.Dropped = nil
}
