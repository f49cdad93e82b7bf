// SPDX-License-Identifier: Apache-2.0

package stalerecord_test

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// The limits of a wave: the API server's requests in the whole cluster, and the time until the last kube-proxy has a
// clean record. kube-proxy processes its record again 30 seconds after the sync that created it.
const (
	mostRequests = 20
	mostTime     = 25 * time.Second
)

// Invariant 3, with as many agents as a cluster may have: one EndpointSlice drops an address for which every node has
// an endpoint.
func TestHerd(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates thousands of agents")
	}
	table := "agents  wave                requests: median  most   last record clear: median    most\n"
	for _, size := range []int{1, 50, 500, 5000} {
		for _, wave := range waves() {
			t.Run(fmt.Sprintf("%d agents, %s", size, wave.name), func(t *testing.T) {
				g := NewWithT(t)
				var requests []int
				var cleared, proved []time.Duration
				for seed := range uint64(runs(size)) {
					h := newHerd(t, size, seed, wave)
					h.run()
					g.Expect(h.pending()).To(BeZero(), "seed %d: agents that still want to write", seed)
					g.Expect(h.stale()).To(BeZero(), "seed %d: nodes with a stale record that no agent cares for", seed)
					g.Expect(h.unproved()).To(BeZero(), "seed %d: agents that do not know what kube-proxy remembers", seed)
					requests, cleared = append(requests, h.requests), append(cleared, h.cleared.Sub(h.start))
					proved = append(proved, h.proved.Sub(h.start))
				}
				slices.Sort(requests)
				slices.Sort(cleared)
				most, last := requests[len(requests)-1], cleared[len(cleared)-1]
				table += fmt.Sprintf("%6d  %-18s %17d %5d %27s %7s\n", size, wave.name, requests[len(requests)/2], most,
					cleared[len(cleared)/2].Round(100*time.Millisecond), last.Round(100*time.Millisecond))
				if wave.proof {
					t.Logf("the last proof: %s at most", slices.Max(proved).Round(100*time.Millisecond))
				}
				g.Expect(most).To(BeNumerically("<=", mostRequests))
				g.Expect(last).To(BeNumerically("<", mostTime))
			})
		}
	}
	t.Log("\n" + table)
}

// runs returns how often a wave is played: less often with many agents, which takes longer.
func runs(agents int) int { return max(2, min(20, 4000/agents)) }

type wave struct {
	name string
	// waiting is set if a pod waits for its address on every node: from the loss on, or from up to four seconds later.
	waiting, later bool
	// endangered is the number of nodes on which a pod gets the lost address, after two seconds. It is at most one per
	// address.
	endangered int
	// starting is set if all agents start together, instead of a loss.
	starting bool
	// proof is set if all agents need a proof that kube-proxy does not remember the address.
	proof bool
}

func waves() []wave {
	return []wave{
		{name: "quiet"},
		{name: "a pod waits on all", waiting: true},
		{name: "and begins later", waiting: true, later: true},
		{name: "one endangered", endangered: 1},
		{name: "agents start", starting: true},
		{name: "all want a proof", proof: true},
		{name: "start, with proofs", starting: true, proof: true},
	}
}

// The simulated world. A watch delivers changes in order, after latencyLeast to latencyMost.
const (
	latencyLeast = 100 * time.Millisecond
	latencyMost  = time.Second
	// minSync is the minimum time between two syncs of kube-proxy, its default.
	minSync = time.Second
	// The guard's intervals: for passes, for those while a pod waits, and from a change of a slice to its pass.
	pollSlow   = 5 * time.Second
	pollFast   = 250 * time.Millisecond
	sliceDelay = 2 * time.Second
)

// herd is a cluster of nodes, each with a kube-proxy and an agent, that share one API server. Events happen at their
// simulated time, one after the other.
type herd struct {
	wave
	t       *testing.T
	rng     *rand.Rand
	metrics *stalerecord.Metrics
	profile kubeproxy.Profile
	clock   *testingclock.FakePassiveClock
	start   time.Time
	events  eventQueue
	nodes   []*herdNode
	// own is the slice that all agents write.
	own *discoveryv1.EndpointSlice
	// version is the API server's last resource version.
	version int
	// requests counts successful writes and those with a conflict.
	requests int
	// cleared is when the last record was cleared, and proved when the last agent had its proof.
	cleared, proved time.Time
}

func newHerd(t *testing.T, size int, seed uint64, w wave) *herd {
	t.Helper()
	h := &herd{
		wave: w, t: t, rng: rand.New(rand.NewPCG(seed, uint64(size))), version: 100,
		clock: testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)),
		own:   flushedOwn(1), metrics: stalerecord.NewMetrics(prometheus.NewRegistry()), profile: kubeproxy.ProfileOf("v1.32.3"),
	}
	h.own.ResourceVersion = "100"
	for i := range size {
		h.nodes = append(h.nodes, h.newNode(fmt.Sprintf("win-%d", i), i < w.endangered))
	}
	if !w.starting {
		for _, n := range h.nodes {
			n.pass()
		}
		h.clock.SetTime(h.clock.Now().Add(time.Minute))
		for _, n := range h.nodes { // the flush at the start is over
			n.flusher.SliceChanged(nil, cluster.SliceOf(slice("other", "lin-1")))
		}
	}
	h.start = h.clock.Now()
	return h
}

// run plays the wave until long after its end.
func (h *herd) run() {
	for _, n := range h.nodes {
		h.after(h.upTo(pollSlow), n.passes)
		n.proxy.stale = h.starting // no agent has seen why
		if h.later {
			n.waitsFrom = h.start.Add(h.upTo(4 * time.Second))
			h.after(n.waitsFrom.Sub(h.start), n.passNow)
		}
	}
	if !h.starting {
		h.version++
		for _, n := range h.nodes {
			h.deliver(n, slice("cart", "lin-1", v4), slice("cart", "lin-1"))
		}
	}
	end := h.start.Add(45 * time.Second)
	if h.proof {
		end = h.start.Add(3 * time.Minute)
	}
	for len(h.events) > 0 {
		next, _ := heap.Pop(&h.events).(event)
		if next.at.After(end) {
			return
		}
		h.clock.SetTime(next.at)
		next.do()
	}
}

// after schedules an event.
func (h *herd) after(d time.Duration, do func()) {
	heap.Push(&h.events, event{h.clock.Now().Add(d), len(h.events), do})
}

func (h *herd) upTo(d time.Duration) time.Duration { return time.Duration(h.rng.Int64N(int64(d))) }

func (h *herd) latency() time.Duration { return latencyLeast + h.upTo(latencyMost-latencyLeast) }

// deliver makes both watches of a node deliver a change.
func (h *herd) deliver(n *herdNode, before, after *discoveryv1.EndpointSlice) {
	n.watch.deliver(h, func() {
		n.flusher.SliceChanged(cluster.SliceOf(before), cluster.SliceOf(after))
		n.tracker.SliceChanged(cluster.SliceOf(before), cluster.SliceOf(after))
		if n.waits() {
			n.passWithin(pollFast)
		}
		n.passWithin(sliceDelay)
	})
	n.proxy.watch.deliver(h, func() { n.proxy.change(after) })
}

// pending returns how many agents are waiting, according to their last pass.
func (h *herd) pending() int {
	pending := 0
	for _, n := range h.nodes {
		if n.next.Before(h.clock.Now()) {
			h.t.Fatal("a node has no next pass")
		}
		if n.inHurry {
			pending++
		}
	}
	return pending
}

func (h *herd) stale() int {
	stale := 0
	for _, n := range h.nodes {
		if n.proxy.stale {
			stale++
		}
	}
	return stale
}

// unproved returns how many agents do not have the proof that they need.
func (h *herd) unproved() (n int) {
	for _, node := range h.nodes {
		if h.proof && node.tracker.Record().MayHold(v4) {
			n++
		}
	}
	return n
}

// herdNode is a Windows node.
type herdNode struct {
	*herd
	flusher    *stalerecord.Flusher
	tracker    *stalerecord.Tracker
	watch      watchStream
	proxy      herdProxy
	endangered bool
	// waitsFrom is when a pod on the node begins to wait for its address.
	waitsFrom time.Time
	// next is the time of the next pass; inHurry is set if the flusher has requested it.
	next    time.Time
	inHurry bool
}

func (h *herd) newNode(name string, endangered bool) *herdNode {
	n := &herdNode{herd: h, endangered: endangered}
	n.proxy = herdProxy{herd: h, hasRemote: true, synced: h.clock.Now().Add(-h.upTo(minSync))}
	n.flusher = stalerecord.NewFlusher(stalerecord.FlusherOptions{
		Node: name, Namespace: namespace, Enforce: true, Client: herdClient{herd: h}, Settle: stalerecord.Settle,
		Spread: stalerecord.Spread, UrgentSpread: stalerecord.UrgentSpread, Random: h.rng.Float64, Metrics: h.metrics,
		Clock: h.clock,
	})
	n.tracker = stalerecord.NewTracker(stalerecord.TrackerOptions{
		Node: name, Namespace: namespace, Flusher: n.flusher, Interval: pollFast, Metrics: h.metrics, Clock: h.clock,
	})
	n.flusher.SliceChanged(nil, cluster.SliceOf(h.own))
	n.tracker.SliceChanged(nil, cluster.SliceOf(h.own))
	return n
}

// passNow is the effect of a pod's change.
func (n *herdNode) passNow() { n.passWithin(0) }

// passWithin limits the time until the next pass.
func (n *herdNode) passWithin(d time.Duration) {
	if at := n.clock.Now().Add(d); n.next.IsZero() || at.Before(n.next) {
		n.next = at
		n.after(d, n.passes)
	}
}

// passes runs a pass, if one is due, and schedules the next.
func (n *herdNode) passes() {
	if n.next.After(n.clock.Now()) {
		return // an earlier one was due, and has set a new time
	}
	n.next = time.Time{}
	next := n.pass()
	n.inHurry = next > 0
	interval := pollSlow
	if n.waits() && n.inHurry { // if the flusher has nothing to do, more passes would only make the test slower
		interval = pollFast
	}
	n.passWithin(pass.Soonest(interval, next))
}

func (n *herdNode) pass() time.Duration {
	now := n.clock.Now()
	snapshot := verdict.Snapshot{Taken: now, Network: hns.Network{ID: "net"}}
	if n.proxy.hasRemote {
		snapshot.Endpoints = append(snapshot.Endpoints, verdict.Endpoint{Endpoint: hns.Endpoint{
			ID: "remote", Network: "net", Addresses: []netip.Addr{v4}, Flags: hns.FlagRemote, MAC: kubeproxy.RemoteMAC(v4),
		}})
	}
	if n.endangered && now.Sub(n.start) > 2*time.Second {
		snapshot.Endpoints = append(snapshot.Endpoints, verdict.Endpoint{Endpoint: hns.Endpoint{
			ID: "local", Network: "net", Addresses: []netip.Addr{v4},
		}})
	}
	if n.proxy.barrier.IsValid() {
		snapshot.Endpoints = append(snapshot.Endpoints, verdict.Endpoint{Endpoint: hns.Endpoint{
			ID: "barrier", Network: "net", Addresses: []netip.Addr{n.proxy.barrier}, Flags: hns.FlagRemote,
			MAC: kubeproxy.RemoteMAC(n.proxy.barrier),
		}})
	}
	p := pass.Pass{
		Evidence: verdict.Evidence{Snapshot: snapshot, KubeProxy: n.profile, Now: now}, Waiting: n.waits(),
	}
	ctx, soon := logf.IntoContext(n.t.Context(), logr.Discard()), time.Duration(0)
	if n.proof && !n.start.IsZero() {
		knew := !n.tracker.Record().MayHold(v4)
		if !knew {
			p.Verdicts = []verdict.Verdict{held(v4)}
			p.Verdicts[0].Kind = verdict.OrphanPending
		}
		if soon = n.tracker.Run(ctx, p); !knew && !n.tracker.Record().MayHold(v4) {
			n.proved = now
		}
	}
	return pass.Soonest(soon, n.flusher.Run(ctx, p))
}

func (n *herdNode) waits() bool { return n.waiting && !n.clock.Now().Before(n.waitsFrom) }

// herdProxy is a kube-proxy with a record of terminated addresses.
type herdProxy struct {
	*herd
	watch     watchStream
	hasRemote bool
	// stale is set while the record holds the address.
	stale bool
	// synced is the time of the last sync; scheduled is set while one is due.
	synced    time.Time
	scheduled bool
	// The changes since the last sync.
	dropped, flushed bool
	// barrier is the address of the flush slice for which it has an endpoint, and moved the next one.
	barrier, moved netip.Addr
}

// change processes a change of a slice: it drops the address, or it is a flush.
func (p *herdProxy) change(after *discoveryv1.EndpointSlice) {
	drops := after.Name == "cart"
	p.dropped, p.flushed = p.dropped || drops, p.flushed || !drops
	if !drops {
		p.moved = netip.MustParseAddr(after.Endpoints[0].Addresses[0])
	}
	if p.scheduled {
		return
	}
	p.scheduled = true
	p.after(max(0, minSync-p.clock.Since(p.synced)), p.sync)
}

// sync processes the changes since the last one. The order within a sync is random: at worst a flush comes first.
func (p *herdProxy) sync() {
	p.scheduled, p.synced, p.barrier = false, p.clock.Now(), p.moved
	switch {
	case p.dropped:
		p.stale, p.hasRemote = true, false
	case p.flushed && p.stale:
		p.stale, p.cleared = false, p.clock.Now()
	}
	p.dropped, p.flushed = false, false
}

// watchStream delivers changes in order.
type watchStream struct{ last time.Time }

func (w *watchStream) deliver(h *herd, do func()) {
	at := h.clock.Now().Add(h.latency())
	if !at.After(w.last) {
		at = w.last.Add(time.Nanosecond)
	}
	w.last = at
	h.after(at.Sub(h.clock.Now()), do)
}

// herdClient is the API server for the slice that agents write.
type herdClient struct {
	client.Client
	*herd
}

func (c herdClient) Patch(_ context.Context, o client.Object, patch client.Patch, _ ...client.PatchOption) error {
	data, err := patch.Data(o)
	if err != nil {
		return err
	}
	change, err := jsonpatch.DecodePatch(data)
	if err != nil {
		return err
	}
	text, err := json.Marshal(c.own)
	if err != nil {
		return err
	}
	if text, err = change.Apply(text); err != nil {
		return err
	}
	before, after := c.own, &discoveryv1.EndpointSlice{}
	if err := json.Unmarshal(text, after); err != nil {
		return err
	}
	c.requests++
	if after.ResourceVersion != before.ResourceVersion {
		return apierrors.NewConflict(discoveryv1.Resource("endpointslices"), o.GetName(), nil)
	}
	c.version++
	after.ResourceVersion = fmt.Sprint(c.version)
	c.own = after
	o.SetResourceVersion(after.ResourceVersion)
	for _, n := range c.nodes {
		c.deliver(n, before, after)
	}
	return nil
}

// event is an event at a time.
type event struct {
	at  time.Time
	seq int
	do  func()
}

// eventQueue is a heap of events.
type eventQueue []event

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return cmp.Or(q[i].at.Compare(q[j].at), cmp.Compare(q[i].seq, q[j].seq)) < 0
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(e any)   { *q = append(*q, e.(event)) }
func (q *eventQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
