// SPDX-License-Identifier: Apache-2.0

package stalerecord_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

const nodeName = "win-1"

var (
	ip    = netip.MustParseAddr("10.240.0.11")
	other = netip.MustParseAddr("10.240.0.12")
	v6    = netip.MustParseAddr("fd00::a:b")
	start = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)
)

// proof is a node with a tracker.
type proof struct {
	t        *testing.T
	tracker  *stalerecord.Tracker
	clock    *testingclock.FakeClock
	registry *prometheus.Registry
	profile  kubeproxy.Profile
	verdicts []verdict.Verdict
	// shown are the addresses of kube-proxy's remote endpoints.
	shown []netip.Addr
	// change makes endpoints differ from kube-proxy's.
	change func(*hns.Endpoint)
	// behind is the age of snapshots.
	behind time.Duration
	// number is the address of the last move, and slice the flush slice as last delivered by the watch.
	number int
	slice  *discoveryv1.EndpointSlice
	// requests are the requested moves, with the addresses that wait for them.
	requests []string
}

func (p *proof) Request(kind discoveryv1.AddressType, addresses ...netip.Addr) {
	p.requests = append(p.requests, fmt.Sprint(kind, addresses))
}

func newProof(t *testing.T) *proof {
	t.Helper()
	p := &proof{t: t, clock: testingclock.NewFakeClock(start), profile: faulty}
	p.begin()
	p.tracker.SlicesRelisted()
	p.pass()
	return p
}

// begin starts an agent: its watch has delivered a slice, and there is no snapshot yet.
func (p *proof) begin() {
	p.registry = prometheus.NewRegistry()
	p.tracker = stalerecord.NewTracker(stalerecord.TrackerOptions{
		Node: nodeName, Namespace: namespace, Flusher: p, Interval: 250 * time.Millisecond,
		Metrics: stalerecord.NewMetrics(p.registry), Clock: p.clock,
	})
	p.changed(nil, slice("svc", "lin-1", other))
}

func (p *proof) changed(before, after *discoveryv1.EndpointSlice) {
	p.tracker.SliceChanged(cluster.SliceOf(before), cluster.SliceOf(after))
}

// pass reads HNS a moment later, and returns the time until the next pass.
func (p *proof) pass() time.Duration {
	p.t.Helper()
	p.clock.Step(time.Second)
	snapshot := verdict.Snapshot{Taken: p.clock.Now().Add(-p.behind), Network: hns.Network{ID: "net"}}
	for _, addr := range p.shown {
		e := hns.Endpoint{
			ID: hns.EndpointID(addr.String()), Network: "net", Addresses: []netip.Addr{addr}, Flags: hns.FlagRemote,
			MAC: kubeproxy.RemoteMAC(addr),
		}
		if p.change != nil {
			p.change(&e)
		}
		snapshot.Endpoints = append(snapshot.Endpoints, verdict.Endpoint{Endpoint: e})
	}
	return p.tracker.Run(p.t.Context(), pass.Pass{
		Evidence: verdict.Evidence{Snapshot: snapshot, KubeProxy: p.profile, Now: p.clock.Now()}, Verdicts: p.verdicts,
	})
}

func barrier(number int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(number)}) }

func flushSliceAt(addr netip.Addr) *discoveryv1.EndpointSlice {
	s := slice(stalerecord.SliceName(discoveryv1.AddressTypeIPv4), "", addr)
	s.Namespace, s.Labels[discoveryv1.LabelServiceName] = namespace, stalerecord.Service
	s.Endpoints[0].NodeName = nil
	return s
}

// moves makes the watch deliver a move of the flush slice, which kube-proxy has not processed.
func (p *proof) moves() netip.Addr {
	p.number++
	after := flushSliceAt(barrier(p.number))
	p.changed(p.slice, after)
	p.slice = after
	return barrier(p.number)
}

// processes makes kube-proxy process a move, and the tracker see it.
func (p *proof) processes(move netip.Addr) {
	p.t.Helper()
	p.shown = []netip.Addr{move}
	p.pass()
}

// prove makes all moves of a proof.
func (p *proof) prove() {
	p.t.Helper()
	for range 3 {
		p.processes(p.moves())
	}
}

// drop makes a slice drop the address.
func (p *proof) drop(addr netip.Addr) { p.changed(slice("svc", "lin-1", addr), slice("svc", "lin-1")) }

func (p *proof) mayHold(addr netip.Addr) bool { return p.tracker.Record().MayHold(addr) }

func held(addr netip.Addr) verdict.Verdict {
	return verdict.Verdict{
		Endpoint: hns.Endpoint{ID: "remote", Addresses: []netip.Addr{addr}, Flags: hns.FlagRemote}, Kind: verdict.Held,
		Reason: verdict.ReasonMayRemember,
	}
}

// Invariants 4 and 5: what happened before is unknown until three moves were processed, and so is each later drop.
func TestThreeMovesProveThatADropIsForgotten(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	g.Expect(p.mayHold(ip)).To(BeTrue())
	for n := range 3 {
		g.Expect(p.mayHold(ip)).To(BeTrue(), "after %d moves", n)
		p.processes(p.moves())
	}
	g.Expect(p.mayHold(ip)).To(BeFalse())
	g.Expect(p.mayHold(v6)).To(BeTrue(), "the other family has a record of its own")

	p.drop(ip)
	for n := range 3 {
		g.Expect(p.mayHold(ip)).To(BeTrue(), "after %d moves", n)
		g.Expect(p.mayHold(other)).To(BeFalse())
		p.processes(p.moves())
	}
	g.Expect(p.mayHold(ip)).To(BeFalse())
}

// Invariant 5: these do not count as moves that kube-proxy has processed.
func TestWhatProvesNothing(t *testing.T) {
	for name, spoil := range map[string]func(p *proof){
		"a move that HNS does not show": func(p *proof) {
			for range 3 {
				p.moves()
				p.pass()
			}
		},
		"two moves": func(p *proof) {
			p.processes(p.moves())
			p.processes(p.moves())
		},
		"moves of which HNS shows the last only: they may be of one batch": func(p *proof) {
			p.moves()
			p.moves()
			p.processes(p.moves())
		},
		"an address that was there before the move before": func(p *proof) {
			for range 3 {
				p.shown = []netip.Addr{barrier(p.number + 2)}
				p.pass()
				p.moves()
				p.pass()
				p.processes(p.moves())
			}
		},
		"an address in a snapshot that is older than the move": func(p *proof) {
			for range 3 {
				p.behind = 5 * time.Second
				p.processes(p.moves())
				p.behind = 0
				p.pass() // it may be a leftover
			}
		},
		"a move before the drop that is shown after it": func(p *proof) {
			move := p.moves()
			p.drop(ip)
			p.changed(p.slice, p.slice) // nothing has moved in it
			p.processes(move)
			p.processes(p.moves())
			p.processes(p.moves())
		},
		"an endpoint on another network": unlike(func(e *hns.Endpoint) { e.Network = "other" }),
		"an endpoint of another maker":   unlike(func(e *hns.Endpoint) { e.MAC[5]++ }),
		"a slice with two addresses": func(p *proof) {
			for n := range 3 {
				both := flushSliceAt(barrier(100 + n))
				both.Endpoints = append(both.Endpoints, flushSliceAt(barrier(200+n)).Endpoints...)
				p.changed(p.slice, both)
				p.processes(barrier(200 + n))
			}
		},
		"a move that sixteen others have followed": func(p *proof) {
			first := p.moves()
			for range 16 {
				p.moves()
			}
			p.processes(first)
			p.processes(p.moves())
			p.processes(p.moves())
		},
		"the same address again": func(p *proof) {
			p.processes(p.moves())
			for range 3 {
				p.changed(p.slice, p.slice)
				p.pass()
			}
		},
		"moves of another Service's slice": func(p *proof) {
			for n := range 3 {
				p.changed(slice("svc2", "lin-1"), slice("svc2", "lin-1", barrier(n+1)))
				p.processes(barrier(n + 1))
			}
		},
		"moves while a label hides the slice from kube-proxy": func(p *proof) {
			for n := range 3 {
				hidden := flushSliceAt(barrier(100 + n))
				hidden.Labels[cluster.LabelServiceProxyName] = "x"
				p.changed(p.slice, hidden)
				p.processes(barrier(100 + n))
			}
		},
		"moves to an address of another range": func(p *proof) {
			for n := range 3 {
				addr := netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})
				p.changed(p.slice, flushSliceAt(addr))
				p.processes(addr)
			}
		},
		"moves from before the watch listed all slices again": func(p *proof) {
			p.processes(p.moves())
			p.processes(p.moves())
			move := p.moves()
			p.tracker.SlicesRelisted()
			p.processes(move)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p := newProof(t)
			p.prove()
			p.drop(ip)
			spoil(p)
			g.Expect(p.mayHold(ip)).To(BeTrue())
			p.behind = 0
			p.prove()
			g.Expect(p.mayHold(ip)).To(BeFalse(), "three good moves suffice")
		})
	}
}

// unlike makes moves for which HNS shows endpoints that differ from kube-proxy's.
func unlike(change func(*hns.Endpoint)) func(*proof) {
	return func(p *proof) {
		p.change = change
		for range 3 {
			p.processes(p.moves())
		}
		p.change = nil
	}
}

// Invariant 4.
func TestAnAddressMayHaveBeenDroppedUnseen(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	p.prove()
	g.Expect(p.mayHold(ip)).To(BeFalse())
	p.tracker.SlicesRelisted()
	g.Expect(p.mayHold(ip)).To(BeTrue())
	p.prove()
	g.Expect(p.mayHold(ip)).To(BeFalse())
}

func TestWhatIsADrop(t *testing.T) {
	relabelled := slice("svc", "lin-1", ip)
	relabelled.Labels[discoveryv1.LabelServiceName] = "svc2"
	hidden := slice("svc", "lin-1", ip)
	hidden.Labels[cluster.LabelServiceProxyName] = "x"
	for name, tc := range map[string]struct {
		before, after *discoveryv1.EndpointSlice
		drops         bool
	}{
		"the address goes":                   {slice("svc", "lin-1", ip, other), slice("svc", "lin-1", other), true},
		"the slice goes":                     {slice("svc", "lin-1", ip), nil, true},
		"the slice gets another Service":     {slice("svc", "lin-1", ip), relabelled, true},
		"a label hides the slice":            {slice("svc", "lin-1", ip), hidden, true},
		"the address moves to this node":     {slice("svc", "lin-1", ip), slice("svc", nodeName, ip), true},
		"a slice lists it here":              {nil, slice("svc", nodeName, ip), true},
		"a slice lists it elsewhere":         {nil, slice("svc", "lin-1", ip), false},
		"another address goes":               {slice("svc", "lin-1", ip, other), slice("svc", "lin-1", ip), false},
		"a slice does not list it here":      {slice("svc", nodeName, ip), slice("svc", nodeName), false},
		"a slice that was hidden is no more": {hidden, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p := newProof(t)
			p.prove()
			p.changed(tc.before, tc.after)
			g.Expect(p.mayHold(ip)).To(Equal(tc.drops))
		})
	}
}

// A Service cannot drop an address that this node keeps listed for it. Another Service can, and so can the keep-slice.
func TestWhatIsKeptIsNotDropped(t *testing.T) {
	kept := func(node string) *discoveryv1.EndpointSlice {
		keep := cluster.Keep{Service: types.NamespacedName{Namespace: "shop", Name: "svc"}, Node: node, Address: ip}
		s := slice(keep.Name(), "", ip)
		s.Labels = map[string]string{
			discoveryv1.LabelServiceName: "svc", discoveryv1.LabelManagedBy: cluster.ManagedByKeep,
		}
		s.Annotations = map[string]string{cluster.AnnotationNode: node}
		s.Endpoints[0].NodeName = nil
		return s
	}
	for name, tc := range map[string]struct {
		keep  *discoveryv1.EndpointSlice
		drop  func(p *proof)
		drops bool
	}{
		"by the Service":               {kept(nodeName), func(p *proof) { p.drop(ip) }, false},
		"by a local one":               {kept(nodeName), func(p *proof) { p.changed(nil, slice("svc", nodeName, ip)) }, false},
		"kept by another node":         {kept("win-2"), func(p *proof) { p.drop(ip) }, true},
		"another address":              {kept(nodeName), func(p *proof) { p.changed(slice("svc", "lin-1", ip, other), slice("svc", "lin-1", ip)) }, false},
		"by another Service":           {kept(nodeName), func(p *proof) { p.changed(slice("svc2", "lin-1", ip), nil) }, true},
		"by the keep-slice":            {kept(nodeName), func(p *proof) { p.changed(kept(nodeName), nil) }, true},
		"after the keep-slice's end":   {nil, func(p *proof) { p.changed(kept(nodeName), nil); p.drop(ip) }, true},
		"by another node's keep-slice": {kept("win-2"), func(p *proof) { p.changed(kept("win-2"), nil) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p := newProof(t)
			p.prove()
			if tc.keep != nil {
				p.changed(nil, tc.keep)
			}
			tc.drop(p)
			g.Expect(p.mayHold(ip)).To(Equal(tc.drops))
		})
	}
}

// A move is requested while a proof is needed, one at a time.
func TestWhenAMoveIsRequested(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	g.Expect(p.requests).To(Equal([]string{"IPv4[]"}), "what happened before is unknown")
	p.moves()
	p.requests = nil
	g.Expect(p.pass()).To(Equal(time.Second))
	g.Expect(p.requests).To(BeEmpty(), "kube-proxy has to process it first")
	p.processes(barrier(p.number))
	g.Expect(p.requests).To(HaveLen(1))
	p.prove()
	p.requests = nil
	g.Expect(p.pass()).To(BeZero())
	g.Expect(p.requests).To(BeEmpty(), "nothing waits")

	p.drop(ip)
	p.pass()
	g.Expect(p.requests).To(BeEmpty(), "no endpoint has the address")
	p.verdicts = []verdict.Verdict{held(ip)}
	g.Expect(p.pass()).To(Equal(250*time.Millisecond), "a pod is in danger")
	g.Expect(p.requests).To(Equal([]string{"IPv4[" + ip.String() + "]"}))
	waits := held(ip)
	waits.Kind = verdict.OrphanPending
	p.verdicts = []verdict.Verdict{held(ip), waits}
	g.Expect(p.pass()).To(Equal(250 * time.Millisecond))
	p.verdicts, p.requests = []verdict.Verdict{waits}, nil
	g.Expect(p.pass()).To(Equal(time.Second), "an orphan can wait")
	g.Expect(p.requests).To(HaveLen(1))
	waits.Reason = verdict.ReasonListed
	p.verdicts, p.requests = []verdict.Verdict{waits}, nil
	g.Expect(p.pass()).To(BeZero(), "it waits for something else")
	names := slice("names", "lin-1")
	names.AddressType = discoveryv1.AddressTypeFQDN
	p.changed(nil, names)
	g.Expect(p.pass()).To(BeZero())
	g.Expect(p.requests).To(BeEmpty(), "kube-proxy ignores names")
	p.verdicts = []verdict.Verdict{held(v6)}
	p.pass()
	g.Expect(p.requests).To(Equal([]string{"IPv6[" + v6.String() + "]"}), "although there are no such slices")
	p.verdicts = []verdict.Verdict{held(ip)}
	p.profile, p.requests = sound, nil
	g.Expect(p.pass()).To(BeZero())
	g.Expect(p.requests).To(BeEmpty())
}

// Invariant 5: what HNS had before the first snapshot is unknown.
func TestAMoveBeforeTheFirstSnapshotProvesNothing(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	p.begin()
	p.processes(p.moves())
	p.processes(p.moves())
	p.processes(p.moves())
	g.Expect(p.mayHold(ip)).To(BeTrue())
	p.processes(p.moves())
	g.Expect(p.mayHold(ip)).To(BeFalse())
}

// The tracker remembers sixteen moves that HNS has not shown.
func TestTheFirstOfSixteenMovesCounts(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	p.prove()
	p.drop(ip)
	first := p.moves()
	for range 15 {
		p.moves()
	}
	p.processes(first)
	p.processes(p.moves())
	p.processes(p.moves())
	g.Expect(p.mayHold(ip)).To(BeFalse())
}

func TestWhatIsABarrier(t *testing.T) {
	for text, is := range map[string]bool{
		"198.51.100.1": true, "198.51.100.254": true, "198.51.101.1": false, "192.0.2.1": false,
		"2001:db8:0:1::1": true, "2001:db8::1": false, "10.0.0.1": false,
	} {
		NewWithT(t).Expect(stalerecord.IsBarrier(netip.MustParseAddr(text))).To(Equal(is), text)
	}
	NewWithT(t).Expect(stalerecord.IsBarrier(netip.Addr{})).To(BeFalse())
}

// kube-proxy's watch may be faster than the agent's, whatever else HNS shows.
func TestAMoveMayBeShownBeforeTheWatchBringsIt(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	p.prove()
	p.drop(ip)
	for n := range 3 {
		g.Expect(p.mayHold(ip)).To(BeTrue(), "after %d moves", n)
		p.processes(barrier(p.number + 1))
		g.Expect(p.mayHold(ip)).To(BeTrue(), "the drop may come later")
		p.moves()
	}
	g.Expect(p.mayHold(ip)).To(BeFalse())
	p.requests = nil
	p.pass()
	g.Expect(p.requests).To(BeEmpty(), "nothing waits for a proof")
}

// Endpoints in the first snapshot may be leftovers.
func TestAnAddressOfTheFirstSnapshotProvesNothing(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	p.begin()
	p.shown = []netip.Addr{barrier(1)}
	p.pass()
	p.moves()
	p.processes(p.moves())
	p.processes(p.moves())
	g.Expect(p.mayHold(ip)).To(BeTrue())
	p.processes(p.moves())
	g.Expect(p.mayHold(ip)).To(BeFalse())
}

// The very first move has no predecessor.
func TestTheFirstMoveHasToBeShown(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	p.moves()
	p.processes(p.moves())
	p.processes(p.moves())
	g.Expect(p.mayHold(ip)).To(BeTrue())
}

// HNS may never show a move that was followed by another one.
func TestAMoveThatProvesNothingIsFollowedByAnother(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	p.shown = []netip.Addr{barrier(p.number + 2)}
	p.pass()
	p.moves()
	p.moves() // to an address that HNS has shown for longer
	p.requests = nil
	p.pass()
	g.Expect(p.requests).To(HaveLen(1))
	p.changed(p.slice, flushSliceAt(netip.MustParseAddr("10.0.0.1"))) // by others
	p.requests = nil
	p.pass()
	g.Expect(p.requests).To(HaveLen(1))
}

// A kube-proxy that does not follow is noticed.
func TestSinceWhenKubeProxyIsBehind(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	behind := func() float64 { return value(t, p.registry, "hnsguard_kube_proxy_behind_since_timestamp_seconds") }
	g.Expect(behind()).To(BeZero())
	p.moves()
	since := p.clock.Now()
	for range 5 {
		p.pass()
		g.Expect(behind()).To(BeEquivalentTo(since.Unix()))
	}
	p.processes(barrier(p.number))
	g.Expect(behind()).To(BeZero())
	p.moves()
	since = p.clock.Now()
	p.pass()
	p.changed(nil, slice("v6", "lin-1", v6))
	later := flushSliceAt(netip.MustParseAddr("2001:db8:0:1::7"))
	later.Name, later.AddressType = stalerecord.SliceName(discoveryv1.AddressTypeIPv6), discoveryv1.AddressTypeIPv6
	p.changed(nil, later)
	for range 200 { // families come in any order, but the same one first in seven of eight passes
		p.pass()
		g.Expect(behind()).To(BeEquivalentTo(since.Unix()), "the first that it has not followed")
	}
	p.profile = sound
	p.pass()
	g.Expect(behind()).To(BeZero())
}

// If there are more drops than the tracker remembers, every address may be in the record.
func TestTheDropsAreBounded(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	p.prove()
	var all []netip.Addr
	for n := range 10_001 {
		all = append(all, netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}))
	}
	p.changed(slice("big", "lin-1", all[1:]...), slice("big", "lin-1"))
	g.Expect(p.mayHold(all[1])).To(BeTrue())
	g.Expect(p.mayHold(ip)).To(BeFalse())
	p.changed(slice("big", "lin-1", all[0]), slice("big", "lin-1"))
	g.Expect(p.mayHold(ip)).To(BeTrue())
	p.prove()
	g.Expect(p.mayHold(ip)).To(BeFalse())
	g.Expect(p.mayHold(all[0])).To(BeFalse())
}

// A returned record does not change.
func TestARecordDoesNotChange(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	p.prove()
	before := p.tracker.Record()
	p.drop(ip)
	g.Expect(before.MayHold(ip)).To(BeFalse())
	during := p.tracker.Record()
	p.prove()
	g.Expect(during.MayHold(ip)).To(BeTrue())
}

func TestHoldsAreMeasured(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	p.verdicts = []verdict.Verdict{held(ip)}
	for range 5 {
		p.pass()
	}
	waits := held(other)
	waits.Kind = verdict.OrphanPending
	p.verdicts = []verdict.Verdict{waits}
	p.pass()
	p.verdicts = nil
	p.pass()
	g.Expect(value(t, p.registry, "hnsguard_hold_duration_seconds")).To(BeEquivalentTo(5), "an orphan is not held")
}

// value returns the value of a metric without labels; for a histogram it is the sum.
func value(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// A move that HNS shows after a later one adds no information: kube-proxy processed it before.
func TestAMoveThatIsShownAfterALaterOneDoesNotCount(t *testing.T) {
	g := NewWithT(t)
	p := newProof(t)
	p.prove()
	p.drop(ip)
	skipped := p.moves()
	p.processes(barrier(p.number + 1)) // before the watch delivers it
	early := p.moves()
	p.shown = []netip.Addr{skipped, early}
	p.pass()
	p.processes(p.moves())
	g.Expect(p.mayHold(ip)).To(BeTrue(), "of three moves two were shown in their order")
	p.processes(p.moves())
	g.Expect(p.mayHold(ip)).To(BeFalse())
}
