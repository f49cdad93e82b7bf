// SPDX-License-Identifier: Apache-2.0

package stalerecord_test

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

const (
	nodeName    = "win-1"
	interval    = 5 * time.Second
	holdTimeout = 5 * time.Minute
)

var (
	ip    = netip.MustParseAddr("10.240.0.11")
	other = netip.MustParseAddr("10.240.0.12")
	v6    = netip.MustParseAddr("fd00::a:b")
	start = time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)

	errMetrics = errors.New("connection refused")
)

// proxy is a kube-proxy on a node, as a tracker sees it, and an API server that serves both.
type proxy struct {
	t       *testing.T
	tracker *stalerecord.Tracker
	clock   *testingclock.FakeClock
	pass    pass.Pass

	current    bool
	currentErr error
	since      []time.Time // the moments for which a proof was requested

	syncs    uint64
	syncsErr error
	scrapes  int

	revision   int
	versionErr error
	versions   int // how often the version was requested
	requests   []netip.Addr
}

func (p *proxy) Current(_ context.Context, since time.Time) (bool, error) {
	p.since = append(p.since, since)
	return p.current, p.currentErr
}

func (p *proxy) Request(addr netip.Addr) { p.requests = append(p.requests, addr) }

func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{t: t, clock: testingclock.NewFakeClock(start), current: true, syncs: 7, revision: 100}
	p.tracker = stalerecord.NewTracker(stalerecord.TrackerOptions{
		Node: nodeName, Freshness: p,
		Syncs: func(context.Context) (uint64, error) {
			p.scrapes++
			return p.syncs, p.syncsErr
		},
		Version: func(context.Context) (string, error) {
			p.versions++
			return strconv.Itoa(p.revision), p.versionErr
		},
		Flusher: p, WatchLag: 10 * time.Second, HoldTimeout: holdTimeout, Interval: interval, Clock: p.clock,
	})
	p.pass = affected(held(ip))
	return p
}

// affected is a pass on a node whose kube-proxy has the stale record.
func affected(verdicts ...verdict.Verdict) pass.Pass {
	return pass.Pass{Evidence: verdict.Evidence{KubeProxy: kubeproxy.ProfileOf("v1.32.3")}, Verdicts: verdicts}
}

func remote(addr netip.Addr, kind verdict.Kind, reason verdict.Reason) verdict.Verdict {
	return verdict.Verdict{
		Endpoint: hns.Endpoint{ID: "remote", Addresses: []netip.Addr{addr}, Flags: hns.FlagRemote}, Kind: kind, Reason: reason,
		Since: start.Add(-time.Hour),
	}
}

// held is a conflict that waits for the proof.
func held(addr netip.Addr) verdict.Verdict {
	return remote(addr, verdict.Held, verdict.ReasonMayRemember)
}

// run is one run, and the time until the next.
func (p *proxy) run() time.Duration {
	p.t.Helper()
	return p.tracker.Run(p.t.Context(), p.pass)
}

// after lets time go by before a run.
func (p *proxy) after(d time.Duration) time.Duration {
	p.t.Helper()
	p.clock.Step(d)
	return p.run()
}

// slice returns a slice of the next revision.
// changed is a change of a slice that the watch brings.
func (p *proxy) changed(before, after *discoveryv1.EndpointSlice) {
	p.tracker.SliceChanged(cluster.SliceOf(before), cluster.SliceOf(after))
}

func (p *proxy) slice(onNode string, addrs ...netip.Addr) *discoveryv1.EndpointSlice {
	p.revision++
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "svc", ResourceVersion: strconv.Itoa(p.revision),
			Labels: map[string]string{discoveryv1.LabelServiceName: "svc"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Port: new(int32(p.revision))}},
	}
	for _, addr := range addrs {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{addr.String()}, NodeName: &onNode})
		if addr.Is6() {
			s.AddressType = discoveryv1.AddressTypeIPv6
		}
	}
	return s
}

// change lets a slice change that has nothing to do with the address.
func (p *proxy) change() {
	p.changed(p.slice("lin-1"), p.slice("lin-1"))
}

func (p *proxy) forgotten() []netip.Addr { return p.tracker.Forgotten().UnsortedList() }

// The steps of the proof. Each ends with the run that completes it.

func (p *proxy) unlisted() {
	p.t.Helper()
	p.after(interval)
}

// synced lets kube-proxy's watch catch up, and kube-proxy sync often enough.
func (p *proxy) synced() {
	p.t.Helper()
	p.after(10 * time.Second)
	p.syncs += 4
	p.after(interval)
}

// prove completes the proof.
func (p *proxy) prove() {
	p.t.Helper()
	p.unlisted()
	p.synced()
	p.change()
	p.synced()
}

func TestTheProof(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	g.Expect(p.forgotten()).To(BeEmpty())
	p.unlisted()
	g.Expect(p.forgotten()).To(BeEmpty())
	p.synced()
	g.Expect(p.forgotten()).To(BeEmpty())
	g.Expect(p.requests).To(ConsistOf(ip), "a change is requested when kube-proxy has the drop in its record")
	p.change()
	g.Expect(p.forgotten()).To(BeEmpty())
	p.synced()
	g.Expect(p.forgotten()).To(ConsistOf(ip))
	p.after(time.Hour)
	g.Expect(p.forgotten()).To(ConsistOf(ip), "until a slice lists it again")
}

// Invariant 5: without one of the steps, the others prove nothing.
func TestEachStepIsNeeded(t *testing.T) {
	for name, spoil := range map[string]func(p *proxy){
		"the view is not known to be current": func(p *proxy) {
			p.current = false
			p.unlisted()
			p.synced()
			p.change()
			p.synced()
		},
		"it is unknown whether the view is current": func(p *proxy) {
			p.currentErr = errMetrics
			p.unlisted()
			p.synced()
			p.change()
			p.synced()
		},
		"kube-proxy has not synced after the drop": func(p *proxy) {
			p.unlisted()
			p.after(time.Hour)
			p.change()
			p.synced()
		},
		"nothing has changed after that": func(p *proxy) {
			p.unlisted()
			p.synced()
			p.synced()
			p.synced()
		},
		"kube-proxy has not synced after the change": func(p *proxy) {
			p.unlisted()
			p.synced()
			p.change()
			p.after(time.Hour)
		},
		"the change came before kube-proxy had processed the drop": func(p *proxy) {
			p.unlisted()
			p.change()
			p.synced()
			p.synced()
		},
		"the server's version is not known": func(p *proxy) {
			p.versionErr = errMetrics
			p.unlisted()
			p.synced()
			p.change()
			p.synced()
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t)
			spoil(p)
			g := NewWithT(t)
			g.Expect(p.forgotten()).To(BeEmpty())
			p.current, p.currentErr, p.versionErr = true, nil, nil
			p.prove()
			p.prove() // from wherever it was
			g.Expect(p.forgotten()).To(ConsistOf(ip))
		})
	}
}

// kube-proxy's watch may lag, and a sync that ends may have started before. On a dual-stack node both families count.
func TestHowManySyncsItTakes(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	p.unlisted()
	p.syncs += 100
	p.after(10*time.Second - 1)
	g.Expect(p.requests).To(BeEmpty(), "kube-proxy's watch may be ten seconds behind")
	p.syncs += 100
	p.after(interval)
	g.Expect(p.requests).To(BeEmpty(), "these may have started before")
	p.syncs += 3
	p.after(interval)
	g.Expect(p.requests).To(BeEmpty(), "three are not enough")
	p.syncs++
	p.after(interval)
	g.Expect(p.requests).To(ConsistOf(ip))
}

func TestTheWatchLagEndsAfterTenSeconds(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	p.unlisted()
	p.after(10 * time.Second)
	p.syncs += 4
	p.after(interval)
	g.Expect(p.requests).To(ConsistOf(ip))
}

// Invariant 7: a kube-proxy that is stuck holds everything.
func TestAStuckKubeProxyIsWaitedFor(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	p.unlisted()
	for range 1000 {
		p.after(time.Minute)
	}
	g.Expect(p.requests).To(BeEmpty())
	g.Expect(p.forgotten()).To(BeEmpty())
}

// A kube-proxy that has started anew counts from zero, and has an empty record.
func TestARestartOfKubeProxyResetsTheCount(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	p.unlisted()
	p.after(10 * time.Second)
	p.syncs = 3
	p.after(interval)
	p.syncs = 6
	p.after(interval)
	g.Expect(p.requests).To(BeEmpty())
	p.syncs = 7
	p.after(interval)
	g.Expect(p.requests).To(ConsistOf(ip))
}

// Where the syncs cannot be counted, a bound on the time takes their place.
func TestWithoutMetricsTheHoldTimeoutHolds(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	p.syncsErr = errMetrics
	p.unlisted()
	p.after(holdTimeout - 1)
	g.Expect(p.requests).To(BeEmpty())
	p.after(interval)
	g.Expect(p.requests).To(ConsistOf(ip))
	p.change()
	p.after(holdTimeout - 1)
	g.Expect(p.forgotten()).To(BeEmpty())
	p.after(interval)
	g.Expect(p.forgotten()).To(ConsistOf(ip))
}

// Invariant 7: one failed request does not let a kube-proxy pass that is in the middle of a sync of many minutes.
func TestOneFailedRequestProvesNothing(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	p.unlisted()
	p.after(time.Hour)
	p.syncsErr = errMetrics
	p.after(interval)
	g.Expect(p.requests).To(BeEmpty(), "the metrics were readable a moment ago")
	p.after(holdTimeout - interval)
	g.Expect(p.requests).To(BeEmpty())
	p.syncsErr = nil
	p.after(interval)
	p.syncsErr = errMetrics
	p.after(interval)
	p.after(holdTimeout - 1)
	g.Expect(p.requests).To(BeEmpty(), "and again")
	p.after(1)
	g.Expect(p.requests).To(BeEmpty(), "nothing is requested within the interval")
	p.after(interval)
	g.Expect(p.requests).To(ConsistOf(ip))
}

// What was counted before the metrics became unreadable does not count afterwards: it may be another kube-proxy.
func TestTheCountStartsOverWhenMetricsReturn(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	p.unlisted()
	p.after(10 * time.Second)
	p.syncsErr = errMetrics
	p.after(interval)
	p.syncsErr = nil
	p.syncs += 100
	p.after(interval)
	g.Expect(p.requests).To(BeEmpty())
	p.syncs += 4
	p.after(interval)
	g.Expect(p.requests).To(ConsistOf(ip))
}

// A change that the API server had when its version was requested may be in kube-proxy's record together with the drop.
func TestTheChangeHasToBeNewerThanTheVersion(t *testing.T) {
	for name, tc := range map[string]struct {
		version string
		newer   bool
	}{
		"older": {"101", false}, "the same": {"102", false}, "newer": {"103", true}, "longer": {"1000", true},
		"not a version": {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p := newProxy(t)
			p.unlisted()
			p.revision = 102
			p.synced()
			before, after := p.slice("lin-1"), p.slice("lin-1")
			after.ResourceVersion = tc.version
			p.changed(before, after)
			p.synced()
			if tc.newer {
				g.Expect(p.forgotten()).To(ConsistOf(ip))
			} else {
				g.Expect(p.forgotten()).To(BeEmpty())
			}
		})
	}
}

func TestWhichChangesClearTheRecord(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(p *proxy) (before, after *discoveryv1.EndpointSlice)
		clears bool
	}{
		"another address is dropped": {func(p *proxy) (before, after *discoveryv1.EndpointSlice) {
			return p.slice("lin-1", other), p.slice("lin-1")
		}, true},
		"a slice is added": {func(p *proxy) (before, after *discoveryv1.EndpointSlice) { return nil, p.slice("lin-1", other) }, true},
		// Its last state has a version that says nothing about when it was deleted.
		"a slice is deleted": {func(p *proxy) (before, after *discoveryv1.EndpointSlice) { return p.slice("lin-1", other), nil }, false},
		"of the other family": {func(p *proxy) (before, after *discoveryv1.EndpointSlice) {
			return p.slice("lin-1", v6), p.slice("lin-2", v6)
		}, false},
		"nothing that kube-proxy sees": {func(p *proxy) (before, after *discoveryv1.EndpointSlice) {
			before = p.slice("lin-1", other)
			after = before.DeepCopy()
			p.revision++
			after.ResourceVersion = strconv.Itoa(p.revision)
			return before, after
		}, false},
		"for another proxy": {func(p *proxy) (before, after *discoveryv1.EndpointSlice) {
			before, after = p.slice("lin-1", other), p.slice("lin-1")
			before.Labels[cluster.LabelServiceProxyName], after.Labels[cluster.LabelServiceProxyName] = "cilium", "cilium"
			return before, after
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p := newProxy(t)
			p.unlisted()
			p.synced()
			p.changed(tc.change(p))
			p.synced()
			if tc.clears {
				g.Expect(p.forgotten()).To(ConsistOf(ip))
			} else {
				g.Expect(p.forgotten()).To(BeEmpty())
			}
		})
	}
}

// A slice that lists the address elsewhere, or drops it, starts the proof over at whatever step it is. That is also
// what happens when the controller moves an address from one slice to another.
func TestASliceThatListsOrDropsTheAddressStartsOver(t *testing.T) {
	steps := map[string]func(p *proxy){
		"in step 2": func(p *proxy) { p.unlisted() },
		"in step 3": func(p *proxy) {
			p.unlisted()
			p.synced()
		},
		"in step 4": func(p *proxy) {
			p.unlisted()
			p.synced()
			p.change()
		},
		"when it is complete": func(p *proxy) { p.prove() },
	}
	changes := map[string]func(p *proxy){
		"it is listed":       func(p *proxy) { p.changed(p.slice("lin-1"), p.slice("lin-1", ip)) },
		"a slice is added":   func(p *proxy) { p.changed(nil, p.slice("lin-1", ip)) },
		"it is dropped":      func(p *proxy) { p.changed(p.slice("lin-1", ip), p.slice("lin-1")) },
		"a slice is deleted": func(p *proxy) { p.changed(p.slice("lin-1", ip), nil) },
		"it moves to another slice": func(p *proxy) {
			p.changed(p.slice("lin-1", ip), p.slice("lin-1"))
			p.changed(p.slice("lin-1"), p.slice("lin-1", ip))
		},
		"it changes":                  func(p *proxy) { p.changed(p.slice("lin-1", ip), p.slice("lin-2", ip)) },
		"the slices are listed again": func(p *proxy) { p.tracker.SlicesRelisted() },
	}
	for step, reach := range steps {
		for change, happen := range changes {
			t.Run(step+" "+change, func(t *testing.T) {
				g := NewWithT(t)
				p := newProxy(t)
				reach(p)
				p.current = false
				happen(p)
				g.Expect(p.forgotten()).To(BeEmpty())
				p.synced()
				p.change()
				p.synced()
				g.Expect(p.forgotten()).To(BeEmpty())
				p.current = true
				p.prove()
				g.Expect(p.forgotten()).To(ConsistOf(ip))
			})
		}
	}
}

func TestWhatDoesNotStartOver(t *testing.T) {
	for name, change := range map[string]func(p *proxy){
		"another address":          func(p *proxy) { p.changed(p.slice("lin-1", other), p.slice("lin-1")) },
		"the address on this node": func(p *proxy) { p.changed(p.slice(nodeName), p.slice(nodeName, ip)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t)
			p.prove()
			change(p)
			NewWithT(t).Expect(p.forgotten()).To(ConsistOf(ip))
		})
	}
}

// Invariant 8, and what else drops a proof.
func TestAProofIsDroppedWhenItIsNotNeeded(t *testing.T) {
	for name, pass := range map[string]pass.Pass{
		"a slice lists the address":    affected(remote(ip, verdict.Held, verdict.ReasonStaleRecord)),
		"the pod is being deleted":     affected(remote(ip, verdict.Contested, verdict.ReasonPodDeleting)),
		"the endpoint has gone":        affected(),
		"kube-proxy has not the fault": {Verdicts: []verdict.Verdict{held(ip)}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p := newProxy(t)
			p.prove()
			p.pass = pass
			g.Expect(p.run()).To(BeZero())
			g.Expect(p.forgotten()).To(BeEmpty())
			p.pass = affected(held(ip))
			p.run()
			g.Expect(p.forgotten()).To(BeEmpty(), "it starts over")
		})
	}
}

func TestWhichEndpointsNeedAProof(t *testing.T) {
	for name, tc := range map[string]struct {
		verdict verdict.Verdict
		needs   bool
	}{
		"a conflict that waits for it":   {held(ip), true},
		"an orphan":                      {remote(ip, verdict.Orphan, verdict.ReasonUnclaimed), true},
		"one that may become an orphan":  {remote(ip, verdict.OrphanPending, verdict.ReasonGracePeriod), true},
		"a conflict that may be removed": {remote(ip, verdict.Conflict, verdict.ReasonLivePod), true},
		"a conflict that a slice holds":  {remote(ip, verdict.Held, verdict.ReasonStaleRecord), false},
		"one that is in use":             {remote(ip, verdict.InUse, verdict.ReasonListedReady), false},
		"a local endpoint":               {remote(ip, verdict.Local, verdict.ReasonLocalPod), false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p := newProxy(t)
			p.pass = affected(tc.verdict)
			want := time.Duration(0)
			if tc.needs {
				want = interval
			}
			g.Expect(p.run()).To(Equal(want))
			p.prove()
			g.Expect(p.forgotten()).To(HaveLen(map[bool]int{true: 1}[tc.needs]))
		})
	}
}

// Step 1 has to hold for the youngest endpoint of the address, and for the moment since when the proof is needed.
func TestTheMomentOfStepOne(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	p.run()
	g.Expect(p.since).To(ConsistOf(start), "the endpoints were there before the proof began")

	p = newProxy(t)
	p.current = false
	p.run()
	younger, older := held(ip), held(ip)
	younger.Since = start.Add(time.Minute)
	for _, order := range [][]verdict.Verdict{{younger, older}, {older, younger}} {
		p.pass, p.since = affected(order...), nil
		p.after(time.Minute)
		g.Expect(p.since).To(ConsistOf(younger.Since))
	}
}

func TestRequestsAreLimited(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	g.Expect(p.run()).To(Equal(interval))
	g.Expect(p.scrapes).To(Equal(1))
	g.Expect(p.after(interval-1)).To(Equal(time.Duration(1)), "the next look comes when it is time")
	g.Expect(p.scrapes).To(Equal(1))
	g.Expect(p.after(1)).To(Equal(interval))
	g.Expect(p.scrapes).To(Equal(2))
	g.Expect(p.versions).To(Equal(1), "only a proof in step 2 needs the version")
	p.synced()
	p.change()
	versions := p.versions
	p.synced()
	g.Expect(p.versions).To(Equal(versions))
	scrapes := p.scrapes
	g.Expect(p.after(time.Hour)).To(BeZero(), "what is proved needs no more")
	g.Expect(p.scrapes).To(Equal(scrapes))
}

func TestNothingIsRequestedWhereNothingIsNeeded(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	p.pass = affected()
	g.Expect(p.run()).To(BeZero())
	g.Expect(p.scrapes + p.versions + len(p.since)).To(BeZero())
	p.change() // it concerns nothing
	g.Expect(p.forgotten()).To(BeEmpty())
}

// The flusher may have been refused: it is requested again until the change comes.
func TestTheChangeIsRequestedUntilItComes(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	p.unlisted()
	p.synced()
	p.after(interval)
	p.after(interval)
	g.Expect(p.requests).To(Equal([]netip.Addr{ip, ip, ip}))
	p.change()
	p.after(interval)
	g.Expect(p.requests).To(HaveLen(3))
}

// While a pod waits, changes are requested where kube-proxy's syncs are waited for: each makes it sync.
func TestWhileAPodWaitsKubeProxyIsMadeToSync(t *testing.T) {
	for name, tc := range map[string]struct {
		reach    func(p *proxy)
		requests bool
	}{
		"the view is not known to be current":   {func(p *proxy) { p.current = false }, false},
		"kube-proxy has to process the drop":    {func(p *proxy) { p.unlisted() }, true},
		"kube-proxy has to process the change":  {func(p *proxy) { p.unlisted(); p.synced(); p.change() }, true},
		"kube-proxy has forgotten it":           {func(p *proxy) { p.prove() }, false},
		"but not while nobody waits: the drop":  {func(p *proxy) { p.unlisted() }, false},
		"and not while nobody waits: the flush": {func(p *proxy) { p.unlisted(); p.synced(); p.change() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			p := newProxy(t)
			tc.reach(p)
			p.requests, p.pass.Evidence.Urgent = nil, !strings.Contains(name, "nobody waits")
			p.after(interval)
			p.after(interval)
			if tc.requests {
				g.Expect(p.requests).To(Equal([]netip.Addr{ip, ip}), "with each look")
			} else {
				g.Expect(p.requests).To(BeEmpty())
			}
		})
	}
}

// Once the view is known to be current, nothing more is requested of the API server for that.
func TestStepOneIsProvedOnce(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	p.unlisted()
	g.Expect(p.since).To(HaveLen(1))
	p.synced()
	p.change()
	p.synced()
	g.Expect(p.since).To(HaveLen(1))
}

func TestEachAddressHasItsOwnProof(t *testing.T) {
	g := NewWithT(t)
	p := newProxy(t)
	p.pass = affected(held(ip), held(v6))
	p.unlisted()
	p.synced()
	g.Expect(p.requests).To(ConsistOf(ip, v6))
	p.change()
	p.synced()
	g.Expect(p.forgotten()).To(ConsistOf(ip))
	p.changed(p.slice("lin-1", netip.MustParseAddr("2001:db8::1")), p.slice("lin-2", netip.MustParseAddr("2001:db8::1")))
	p.synced()
	g.Expect(p.forgotten()).To(ConsistOf(ip, v6))

	late := netip.MustParseAddr("10.240.0.13")
	p.pass = affected(held(ip), held(v6), held(late))
	p.run()
	p.changed(p.slice("lin-1", ip), p.slice("lin-1"))
	g.Expect(p.forgotten()).To(ConsistOf(v6))
	p.prove()
	g.Expect(p.forgotten()).To(ConsistOf(ip, v6, late))
}

// It is read while passes run.
func TestItMayBeReadFromElsewhere(t *testing.T) {
	p := newProxy(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			p.tracker.Forgotten()
			p.tracker.SlicesRelisted()
			p.changed(nil, &discoveryv1.EndpointSlice{})
		}
	}()
	for range 200 {
		p.after(interval)
	}
	<-done
}
