// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

func start() time.Time { return time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC) }

func newRing(o history.Options) (*history.Ring, *testingclock.FakeClock) {
	clk := testingclock.NewFakeClock(start())
	o.Clock = clk
	return history.NewRing(o), clk
}

func brake(n int) history.Entry {
	return history.Entry{
		Act: history.Brake, Result: "backoff", Endpoint: hns.EndpointID(fmt.Sprint(n)), Verdict: verdict.Orphan,
	}
}

// Invariant 2.
func TestWhatHappensAgainIsOneEntry(t *testing.T) {
	g := NewWithT(t)
	ring, clk := newRing(history.Options{})
	for range 1000 {
		ring.Add(brake(1))
		ring.Add(brake(2)) // in between, as in a pass
		clk.Step(250 * time.Millisecond)
	}
	entries := ring.Entries()
	g.Expect(entries).To(HaveLen(2))
	for _, e := range entries {
		g.Expect(e.Count).To(Equal(1000))
		g.Expect(e.First).To(Equal(start()))
		g.Expect(e.Last).To(Equal(start().Add(999 * 250 * time.Millisecond)))
	}
}

func TestWhatHappensLongAfterIsAnotherEntry(t *testing.T) {
	g := NewWithT(t)
	ring, clk := newRing(history.Options{})
	ring.Add(brake(1))
	clk.Step(history.Gap)
	ring.Add(brake(1))
	clk.Step(history.Gap + time.Millisecond)
	ring.Add(brake(1))
	clk.Step(time.Second)
	ring.Add(brake(1))
	entries := ring.Entries()
	g.Expect(entries).To(HaveLen(2))
	g.Expect(entries[0].Count).To(Equal(2), "the newest is first, and counts")
	g.Expect(entries[1].Count).To(Equal(2))
	g.Expect(entries[1].Last).To(Equal(start().Add(history.Gap)))
}

func TestWhatDiffersIsAnotherEntry(t *testing.T) {
	pod := func(name string) history.Entry {
		e := brake(1)
		e.Pods = []string{name}
		return e
	}
	differ := map[string]func(*history.Entry){
		"act":      func(e *history.Entry) { e.Act = history.Removal },
		"result":   func(e *history.Entry) { e.Result = "rate" },
		"endpoint": func(e *history.Entry) { e.Endpoint = "2" },
		"address":  func(e *history.Entry) { e.Address = netip.MustParseAddr("10.240.0.11") },
		"subject":  func(e *history.Entry) { e.Subject = "IPv4" },
		"pods":     func(e *history.Entry) { e.Pods = []string{"default/other"} },
		"verdict":  func(e *history.Entry) { e.Verdict = verdict.Conflict },
		"reason":   func(e *history.Entry) { e.Reason = verdict.ReasonUnclaimed },
	}
	for name, change := range differ {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			ring, _ := newRing(history.Options{})
			ring.Add(pod("default/web"))
			other := pod("default/web")
			change(&other)
			ring.Add(other)
			g.Expect(ring.Entries()).To(HaveLen(2))
		})
	}
	t.Run("but not by its detail, of which the last counts", func(t *testing.T) {
		g := NewWithT(t)
		ring, _ := newRing(history.Options{})
		ring.Add(brake(1).Because(errors.New("first")))
		ring.Add(brake(1).Because(errors.New("second")).Because(nil))
		g.Expect(ring.Entries()).To(HaveLen(1))
		g.Expect(ring.Entries()[0].Detail).To(Equal("second"))
	})
}

// Invariants 1 and 3.
func TestNoActDisplacesAnother(t *testing.T) {
	g := NewWithT(t)
	ring, clk := newRing(history.Options{MaxEntries: 10})
	ring.Add(history.Entry{Act: history.Removal, Result: "removed"})
	for n := range 1000 {
		clk.Step(time.Second)
		ring.Add(brake(n))
		ring.Add(brake(0)) // it stays, because it continues
	}
	entries := ring.Entries()
	g.Expect(entries).To(HaveLen(11))
	g.Expect(entries[0].Last.Before(entries[10].Last)).To(BeFalse())
	g.Expect(entries[10].Act).To(Equal(history.Removal), "it is the longest ago")
	left := map[hns.EndpointID]int{}
	for _, e := range entries[:10] {
		left[e.Endpoint] = e.Count
	}
	g.Expect(left).To(And(HaveKeyWithValue(hns.EndpointID("0"), 1001), HaveKey(hns.EndpointID("991")),
		HaveKey(hns.EndpointID("999")), Not(HaveKey(hns.EndpointID("990")))))
}

// Invariant 1.
func TestTextsAreCut(t *testing.T) {
	g := NewWithT(t)
	ring, _ := newRing(history.Options{})
	e := brake(1)
	e.Subject, e.Detail = strings.Repeat("s", 10_000), strings.Repeat("ä", 10_000)
	for n := range 100 {
		e.Pods = append(e.Pods, fmt.Sprintf("default/web-%d", n))
	}
	ring.Add(e)
	got := ring.Entries()[0]
	g.Expect(len(got.Subject) + len(got.Detail)).To(BeNumerically("<", 1100))
	g.Expect(got.Detail).To(HaveSuffix("ä…"))
	g.Expect(got.Pods).To(HaveLen(9))
	g.Expect(got.Pods[8]).To(Equal("…"))
	g.Expect(e.Pods).To(HaveLen(100), "the caller's are untouched")
}

// Invariant 1: the memory in use is about what is counted.
func TestMemoryIsBounded(t *testing.T) {
	g := NewWithT(t)
	before := heap()
	ring, clk := newRing(history.Options{MaxEntries: 1 << 20, MaxBytes: 1 << 20})
	for n := range 20_000 {
		e := brake(n)
		e.Detail, e.Pods = strings.Repeat("x", 300+n%200), []string{strings.Repeat("y", 60) + fmt.Sprint(n)}
		ring.Add(e)
		clk.Step(time.Millisecond)
	}
	grown := heap() - before
	g.Expect(len(ring.Entries())).To(And(BeNumerically(">", 500), BeNumerically("<", 2000)))
	g.Expect(grown).To(BeNumerically("<", 2<<20))
	runtime.KeepAlive(ring)
}

func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestTheJSONFormIsStable(t *testing.T) {
	g := NewWithT(t)
	ring, clk := newRing(history.Options{})
	v := verdict.Verdict{
		Endpoint: hns.Endpoint{ID: "id-1", Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")}},
		Kind:     verdict.Conflict, Reason: verdict.ReasonLivePod,
		Pods: []cluster.PodID{{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "cart-0"}, UID: "u"}},
	}
	ring.Add(history.Of(history.Removal, "failed", v).Because(errors.New("HNS refuses")).Took(1234567 * time.Microsecond))
	clk.Step(time.Second)
	ring.Add(history.Entry{Act: history.Flush, Result: "written", Subject: "IPv4"})
	text, err := json.MarshalIndent(ring.Entries(), "", "  ")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(text).To(MatchJSON(`[
  {"first": "2026-03-01T03:00:01Z", "last": "2026-03-01T03:00:01Z", "count": 1, "act": "flush", "result": "written",
   "subject": "IPv4"},
  {"first": "2026-03-01T03:00:00Z", "last": "2026-03-01T03:00:00Z", "count": 1, "act": "removal", "result": "failed",
   "endpoint": "id-1", "address": "10.240.0.11", "pods": ["shop/cart-0"], "verdict": "conflict",
   "reason": "live-pod-with-local-endpoint", "afterSeconds": 1.235, "detail": "HNS refuses"}
]`))
	text, err = json.Marshal(history.NewRing(history.Options{Clock: clk}).Entries())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(text)).To(Equal("[]"))
}
