// SPDX-License-Identifier: Apache-2.0

package removal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

func listed(addrs ...string) sets.Set[netip.Addr] {
	all := sets.New[netip.Addr]()
	for _, a := range addrs {
		all.Insert(netip.MustParseAddr(a))
	}
	return all
}

// Invariant 3: each brake alone keeps the endpoint, and is counted.
func TestEachBrakeAlone(t *testing.T) {
	notCurrent := func(f *freshness) { f.current = false }
	for name, tc := range map[string]struct {
		from   situation
		config func(*config.Config)
		fresh  func(*freshness)
		brake  removal.Brake
	}{
		"the agent observes":       {aConflict, func(c *config.Config) { c.Mode = config.Observe }, nil, removal.BrakeMode},
		"conflicts are observed":   {aConflict, func(c *config.Config) { c.Conflict.Mode = config.Observe }, nil, removal.BrakeMode},
		"early ones too":           {anEarlyConflict, func(c *config.Config) { c.Conflict.Mode = config.Observe }, nil, removal.BrakeMode},
		"orphans are observed":     {anOrphan, func(c *config.Config) { c.Orphan.Mode = config.Observe }, nil, removal.BrakeMode},
		"no removal is left":       {aConflict, func(c *config.Config) { c.Pace.Burst = 0 }, nil, removal.BrakeRate},
		"an orphan waits for it":   {anOrphan, func(c *config.Config) { c.Pace.Burst = 0 }, nil, removal.BrakeRate},
		"early, watch not current": {anEarlyConflict, nil, notCurrent, removal.BrakeStale},
		"held, watch not current":  {wasHeld, nil, notCurrent, removal.BrakeStale},
		"early, watch unknown": {anEarlyConflict, nil, func(f *freshness) {
			f.current, f.currentErr = false, errConnection
		}, removal.BrakeStale},
		"early, the list fails": {anEarlyConflict, nil, func(f *freshness) {
			f.current, f.listed, f.listFresh, f.listErr = false, listed(), true, errConnection
		}, removal.BrakeStale},
		"early, the list has the address": {anEarlyConflict, nil, func(f *freshness) {
			f.current, f.listed, f.listFresh = false, listed(ip), true
		}, removal.BrakeStale},
		"held, the list has the address": {wasHeld, nil, func(f *freshness) {
			f.current, f.listed, f.listFresh = false, listed(ip), true
		}, removal.BrakeStale},
		"orphan, watch not current": {anOrphan, nil, notCurrent, removal.BrakeStale},
		"orphan, watch not current and a list at hand": {anOrphan, nil, func(f *freshness) {
			f.current, f.listed, f.listFresh = false, listed(), true
		}, removal.BrakeStale},
		"orphan, watch unknown": {anOrphan, nil, func(f *freshness) { f.currentErr = errConnection }, removal.BrakeStale},
		"too many orphans, no list": {anOrphan, func(c *config.Config) {
			c.Orphan.MaxPerPass = 0
		}, nil, removal.BrakeStale},
		"too many orphans, the list fails": {anOrphan, func(c *config.Config) { c.Orphan.MaxPerPass = 0 }, func(f *freshness) {
			f.listed, f.listFresh, f.listErr = listed(), true, errConnection
		}, removal.BrakeStale},
		"too many orphans, the list has the address": {anOrphan, func(c *config.Config) { c.Orphan.MaxPerPass = 0 }, func(f *freshness) {
			f.listed, f.listFresh = listed(ip), true
		}, removal.BrakeStale},
		"orphans wait for the next step": {anOrphan, func(c *config.Config) { c.Pace.OrphansPerStep = 0 }, nil, removal.BrakeCap},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t, func(c *config.Config) {
				if tc.config != nil {
					tc.config(c)
				}
			})
			remote := tc.from.setUp(n)
			if tc.fresh != nil {
				tc.fresh(n.fresh)
			}
			for _, b := range []removal.Brake{removal.BrakeMode, removal.BrakeCap, removal.BrakeRate, removal.BrakeStale} {
				g.Expect(n.Skipped(tc.from.kind, string(b))).To(BeZero())
			}
			n.pass()
			g.Expect(n.There()).To(ContainElement(remote))
			g.Expect(n.Skipped(tc.from.kind, string(tc.brake))).To(BeEquivalentTo(1))
			n.pass()
			g.Expect(n.There()).To(ContainElement(remote))
			g.Expect(n.Skipped(tc.from.kind, string(tc.brake))).To(BeEquivalentTo(2), "in every pass")
			g.Expect(n.Calls(hns.OpDeleteEndpoint)).To(BeZero())
			kept := happened(n.history, history.Brake)
			if tc.brake == removal.BrakeMode {
				g.Expect(kept).To(BeEmpty(), "the mode is no news")
				return
			}
			g.Expect(kept).To(HaveLen(1))
			g.Expect(kept[0].Count).To(Equal(2))
			g.Expect(kept[0].Result).To(BeEquivalentTo(tc.brake))
			g.Expect(kept[0].Verdict).To(BeEquivalentTo(tc.from.kind))
			if tc.brake == removal.BrakeCap {
				g.Expect(kept[0].Detail).To(Equal("1 orphans wait"))
			} else {
				g.Expect(kept[0].Endpoint).To(Equal(remote))
			}
		})
	}
}

// Invariant 2: if a pod suffers, a list from the API server is as good as a current watch.
func TestAListReplacesTheProof(t *testing.T) {
	for name, from := range map[string]situation{"an early conflict": anEarlyConflict, "a held one": wasHeld} {
		for problem, err := range map[string]error{"the watch is behind": nil, "it is unknown whether it is": errConnection} {
			t.Run(name+", "+problem, func(t *testing.T) {
				g := NewWithT(t)
				n := newNode(t)
				remote := from.setUp(n)
				n.fresh.current, n.fresh.currentErr = false, err
				n.fresh.listed, n.fresh.listFresh = listed("10.240.0.12"), true
				n.pass()
				g.Expect(n.There()).NotTo(ContainElement(remote))
				g.Expect(n.Skipped(from.kind, "stale_watch")).To(BeZero())
			})
		}
	}
}

func TestAConflictOfALivePodNeedsNoProof(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote := conflict(n)
	n.fresh.current, n.fresh.currentErr = false, errConnection
	n.pass()
	g.Expect(n.There()).NotTo(ContainElement(remote))
	g.Expect(n.fresh.since).To(BeEmpty())
	g.Expect(n.fresh.lists).To(BeZero())
}

func TestWhereTheWatchIsCurrentNothingIsListed(t *testing.T) {
	urgent := func(n *node) hns.EndpointID {
		remote := n.Remote(ip)
		n.Pod("web", "")
		n.pass()
		n.Wait(n.Config.Orphan.GracePeriodWhileWaiting.Duration)
		n.pass()
		return remote
	}
	for name, from := range map[string]situation{
		"early": anEarlyConflict, "held": wasHeld, "orphan": anOrphan, "orphan while a pod waits": {"orphan", urgent},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			remote := from.setUp(n)
			n.pass()
			g := NewWithT(t)
			g.Expect(n.There()).NotTo(ContainElement(remote))
			g.Expect(n.fresh.lists).To(BeZero())
		})
	}
}

// A proof must hold for the newest endpoint that the verdict depends on, and must not be too old.
func TestTheMomentOfTheProof(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	early(n)
	n.pass()
	g.Expect(n.fresh.since).To(ConsistOf(n.Clock.Now()), "the local endpoint was first seen now")

	n = newNode(t)
	forgotten(n)
	n.fresh.current = false
	n.pass()
	n.fresh.since = nil
	n.Wait(time.Hour)
	n.pass()
	g.Expect(n.fresh.since).To(ConsistOf(n.Clock.Now().Add(-2*time.Minute)), "the server's bookmarks come once a minute")
}

// If HNS refuses duplicates, an orphan may keep a waiting pod from getting its address.
func TestAListReplacesTheProofOfAnOrphanWhileAPodWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		listed []string
		err    error
		stays  bool
	}{
		"not listed":         {[]string{"10.240.0.12"}, nil, false},
		"listed":             {[]string{ip}, nil, true},
		"cannot be listed":   {nil, errConnection, true},
		"nothing is waiting": {nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			remote := n.Remote(ip)
			if name != "nothing is waiting" {
				n.Pod("web", "")
			}
			n.pass()
			n.Wait(n.Config.Orphan.GracePeriodWhileWaiting.Duration)
			n.pass()
			n.fresh.current, n.fresh.listed, n.fresh.listFresh, n.fresh.listErr = false, listed(tc.listed...), true, tc.err
			n.pass()
			if tc.stays {
				g.Expect(n.There()).To(ContainElement(remote))
			} else {
				g.Expect(n.There()).NotTo(ContainElement(remote))
			}
		})
	}
}

func (n *node) orphans(count int) {
	n.t.Helper()
	for i := range count {
		n.Remote(fmt.Sprintf("10.240.1.%d", i+1))
	}
	n.pass()
	n.Wait(n.Config.Orphan.GracePeriod.Duration)
	n.pass()
}

// step runs the pass that requests a reading of load balancers, and the one after it.
func (n *node) step() {
	n.t.Helper()
	n.pass()
	n.pass()
}

// Evidence for a step is read after the step became due (invariant 2).
func TestAStepBeginsWithAReadingOfLoadBalancersAndAProof(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Pace.OrphansPerStep = 1 })
	n.orphans(2)
	n.pass()
	g.Expect(n.There()).To(HaveLen(1))
	n.fresh.since = nil
	n.Wait(time.Hour)
	n.HNS.ResetCalls()
	n.pass()
	g.Expect(n.There()).To(HaveLen(1))
	g.Expect(n.Skipped("orphan", "load_balancers")).To(BeEquivalentTo(1))
	g.Expect(n.fresh.since).To(BeEmpty(), "the API server comes last")
	g.Expect(n.Calls(hns.OpLoadBalancers)).To(Equal(1))
	n.Wait(time.Second)
	n.fresh.current = false
	requested := n.Clock.Now()
	n.pass()
	n.Wait(time.Minute)
	n.fresh.current = true
	n.pass()
	g.Expect(n.fresh.since).To(Equal([]time.Time{requested, requested}), "the server's bookmarks come once a minute")
	g.Expect(n.There()).To(BeEmpty())
}

// A proof proves nothing for a later step, and the wait for it is limited.
func TestEachStepNeedsAProofOfItsOwn(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Pace.OrphansPerStep = 1 })
	n.orphans(2)
	first := n.Clock.Now()
	n.pass()
	n.Wait(34 * time.Second)
	n.fresh.current = false
	second := n.Clock.Now()
	n.step()
	n.Wait(2*time.Minute + 1)
	third := n.Clock.Now()
	n.pass()
	g.Expect(n.fresh.since).To(Equal([]time.Time{first, second, third}))
	g.Expect(n.There()).To(HaveLen(1))
}

// Evidence for a step that deleted nothing is not used for a later one.
func TestAStepThatDeletedNothingIsPreparedAgain(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.orphans(1)
	n.HNS.FailNext(hns.OpEndpoint, hns.ErrUnavailable)
	n.pass()
	n.Wait(time.Minute)
	n.fresh.since = nil
	n.pass()
	g.Expect(n.There()).To(HaveLen(1))
	g.Expect(n.Skipped("orphan", "load_balancers")).To(BeEquivalentTo(1))
	n.pass()
	g.Expect(n.fresh.since).To(ConsistOf(n.Clock.Now()))
	g.Expect(n.There()).To(BeEmpty())
}

func TestAStepThatASliceHasPutOffIsPreparedAgain(t *testing.T) {
	g := NewWithT(t)
	n := dueOrphan(t)
	n.fresh.current = false
	n.pass()
	n.Wait(time.Second)
	n.Slice("cart", "lin-1", "10.240.2.1")
	n.pass()
	n.Wait(10 * time.Second)
	n.fresh.current, n.fresh.since = true, nil
	n.pass()
	g.Expect(n.Skipped("orphan", "load_balancers")).To(BeEquivalentTo(1))
	n.pass()
	g.Expect(n.fresh.since).To(ConsistOf(n.Clock.Now()))
	g.Expect(n.There()).To(BeEmpty())
}

// removesOnNewProof runs a step and expects it to remove everything, on a proof for the present moment alone.
func (n *node) removesOnNewProof(g *WithT) {
	n.fresh.current, n.fresh.since = true, nil
	n.step()
	g.Expect(n.fresh.since).To(ConsistOf(n.Clock.Now()))
	g.Expect(n.There()).To(BeEmpty())
}

// Evidence for a step whose orphans are gone is not used for the next wave, because it is older than that wave's
// orphans.
func TestAStepWhoseOrphansHaveGoneIsPreparedAgain(t *testing.T) {
	g := NewWithT(t)
	n := dueOrphan(t)
	n.fresh.current = false
	n.pass() // requests a proof
	n.Delete(n.There()[0])
	n.Remote("10.240.0.12")
	n.pass()
	n.Pod("web", "") // it waits for an address, which shortens the grace period
	n.pass()
	n.Wait(n.Config.Orphan.GracePeriodWhileWaiting.Duration)
	n.pass()
	n.removesOnNewProof(g)
}

// When the pod that made a wave urgent no longer waits, the step comes later, and its evidence is too old.
func TestAStepThatIsNotUrgentAnyMoreIsPreparedAgain(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.random = func() float64 { return 0.2 }
	n.orphans(1)
	n.Pod("web", "")
	n.pass()
	n.Wait(3 * time.Second)
	n.fresh.current = false
	n.step() // requests a proof
	n.Pod("web", "10.240.2.1")
	n.pass()
	n.Wait(time.Minute)
	n.removesOnNewProof(g)
}

func TestWhereSlicesChangeAllTheTimeEachStepWaitsAMinute(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Pace.OrphansPerStep = 1 })
	n.orphans(2)
	change := func(d time.Duration) {
		for end := n.Clock.Now().Add(d); n.Clock.Now().Before(end); n.Wait(5 * time.Second) {
			n.Slice("cart", "lin-1", fmt.Sprintf("10.240.2.%d", n.Clock.Now().Second()+1))
			n.pass()
		}
	}
	change(70 * time.Second)
	g.Expect(n.There()).To(HaveLen(1))
	change(n.Config.Pace.StepInterval + 40*time.Second)
	g.Expect(n.There()).To(HaveLen(1))
	change(30 * time.Second)
	g.Expect(n.There()).To(BeEmpty())
}

// A batch leak leaves orphans on every node in the same second.
func TestTheFirstStepOfAWaveComesAtARandomTime(t *testing.T) {
	g := NewWithT(t)
	begins := sets.New[time.Duration]()
	for seed := range uint64(20) {
		n := newNode(t)
		n.random = rand.New(rand.NewPCG(seed, seed)).Float64
		n.orphans(1)
		due := n.Clock.Now()
		for len(n.There()) > 0 {
			n.pass()
			n.Wait(time.Second)
			g.Expect(n.Clock.Since(due)).To(BeNumerically("<=", n.Config.Orphan.GracePeriod.Duration+2*time.Second))
		}
		begins.Insert(n.Clock.Since(due).Truncate(time.Minute))
	}
	g.Expect(begins.Len()).To(BeNumerically(">=", 5), "in each minute of the grace period")
}

func TestAWaveDoesNotWaitWhileAPodWaits(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.random = func() float64 { return 1 }
	n.orphans(1)
	n.pass()
	n.Pod("web", "")
	n.pass()
	g.Expect(n.There()).To(HaveLen(1))
	n.Wait(3 * time.Second)
	n.step()
	g.Expect(n.There()).To(BeEmpty())
}

func TestOrphansGoInSteps(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Orphan.MaxPerPass, c.Pace.OrphansPerStep = 5, 2 })
	n.orphans(5)
	g.Expect(n.pass()).To(Equal(250*time.Millisecond), "the next step comes soon")
	g.Expect(n.There()).To(HaveLen(3))
	g.Expect(n.Skipped("orphan", "cap")).To(BeEquivalentTo(3))
	g.Expect(n.fresh.lists).To(BeZero(), "five are not too many")
	g.Expect(n.Happened()).To(BeEmpty())
	n.Wait(2 * n.Config.Pace.StepInterval)
	n.step()
	g.Expect(n.There()).To(HaveLen(1))
	n.Wait(2 * n.Config.Pace.StepInterval)
	n.step()
	g.Expect(n.There()).To(BeEmpty())
}

// Invariant 6.
func TestKubeProxyHasTimeBetweenTwoSteps(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Pace.OrphansPerStep = 2 })
	n.random = varied()
	var steps []time.Duration
	n.orphans(40)
	begun, left := n.Clock.Now(), len(n.There())
	for len(n.There()) > 0 {
		n.Wait(time.Second)
		n.pass()
		if there := len(n.There()); there < left {
			g.Expect(left-there).To(Equal(2), "a whole step")
			steps, begun, left = append(steps, n.Clock.Since(begun)), n.Clock.Now(), there
		}
		g.Expect(len(steps)).To(BeNumerically("<", 40))
	}
	g.Expect(steps[1:]).To(HaveEach(And(
		BeNumerically(">=", 30*time.Second), BeNumerically("<=", 46*time.Second))))
	g.Expect(sets.New(steps[1:]...).Len()).To(BeNumerically(">", 3), "not in step with anything periodic")
	g.Expect(n.Skipped("orphan", "pace")).To(BeNumerically(">", 0))
	paced := happened(n.history, history.Brake)
	g.Expect(paced).To(ContainElement(And(HaveField("Result", "pace"), HaveField("Detail", "2 orphans wait"))))
	g.Expect(len(paced)).To(BeNumerically("<", 100), "the orphans that wait are counted, not named")
}

// dueOrphan returns a node with an orphan that only the pace may keep.
func dueOrphan(t *testing.T) *node {
	t.Helper()
	n := newNode(t, func(c *config.Config) { c.Pace.OrphansPerStep = 1 })
	n.orphans(1)
	return n
}

// Invariant 6. If kube-proxy gives up a sync after the last change, it retries after its sync period.
func TestAStepBeginsWhileKubeProxyRests(t *testing.T) {
	g := NewWithT(t)
	n := dueOrphan(t)
	n.Slice("cart", "lin-1", "10.240.2.1")
	n.pass()
	n.Wait(10*time.Second - 1)
	n.pass()
	g.Expect(n.There()).To(HaveLen(1))
	g.Expect(n.Skipped("orphan", "pace")).To(BeEquivalentTo(2))
	g.Expect(n.fresh.since).To(BeEmpty(), "the API server is not asked in vain")
	n.Wait(1)
	n.step()
	g.Expect(n.There()).To(BeEmpty())
}

func TestWhereSlicesChangeAllTheTimeAStepWaitsAMinute(t *testing.T) {
	g := NewWithT(t)
	n := dueOrphan(t)
	n.Remote("10.240.0.12")
	changed := 0
	change := func(d time.Duration) {
		for end := n.Clock.Now().Add(d); n.Clock.Now().Before(end); n.Wait(5 * time.Second) {
			changed++
			n.Slice("cart", "lin-1", fmt.Sprintf("10.240.2.%d", changed%200))
			n.pass()
		}
	}
	change(time.Minute)
	g.Expect(n.There()).To(HaveLen(2))
	n.step()
	g.Expect(n.There()).To(HaveLen(1), "the first step")
	change(n.Config.Orphan.GracePeriod.Duration - 5*time.Second) // it is a minute younger
	g.Expect(n.There()).To(HaveLen(1), "the second orphan waits for a minute too")
	change(20 * time.Second)
	g.Expect(n.There()).To(BeEmpty())
}

func TestWhatNoOrphanWaitedForDoesNotCount(t *testing.T) {
	g := NewWithT(t)
	n := dueOrphan(t)
	n.Slice("cart", "lin-1", "10.240.2.1")
	n.pass()
	n.Slice("orders", "lin-1", "10.240.1.1") // it is not an orphan after all
	n.pass()
	n.Wait(time.Minute)
	n.DeleteSlice("orders")
	n.pass()
	n.Wait(n.Config.Orphan.GracePeriod.Duration)
	n.pass() // finds that load balancers must be read again
	n.Slice("cart", "lin-1", "10.240.2.2")
	n.pass()
	g.Expect(n.There()).To(HaveLen(1))
	n.Wait(10 * time.Second)
	n.step()
	g.Expect(n.There()).To(BeEmpty())
}

func TestAStepDoesNotWaitWhileAPodWaits(t *testing.T) {
	g := NewWithT(t)
	n := dueOrphan(t)
	n.Slice("cart", "lin-1", "10.240.2.1")
	n.Pod("web", "")
	n.pass()
	g.Expect(n.There()).To(HaveLen(1))
	n.Wait(3 * time.Second)
	n.step()
	g.Expect(n.There()).To(BeEmpty())
}

// HNS may be slow: as long as endpoints vanish, no sync of kube-proxy succeeds.
func TestAStepIsShort(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.orphans(14)
	for range 14 {
		n.HNS.Before(hns.OpDeleteEndpoint, func() { n.Wait(time.Second) })
	}
	n.pass()
	g.Expect(n.There()).To(HaveLen(8), "a fifth of the interval is over")
	g.Expect(n.Skipped("orphan", "pace")).To(BeEquivalentTo(8))
	n.Wait(time.Minute)
	n.step()
	g.Expect(n.There()).To(HaveLen(2))
}

// kube-proxy has seen the change, but the agent's watch was late.
func TestAChangeThatComesWithTheProofPutsOffTheStep(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.orphans(2)
	n.fresh.before = func() {
		n.Wait(time.Millisecond)
		n.Slice("cart", "lin-1", "10.240.2.1")
		n.fresh.before = nil
	}
	n.pass()
	g.Expect(n.There()).To(HaveLen(2))
	g.Expect(n.Skipped("orphan", "pace")).To(BeEquivalentTo(2))
	n.Wait(10 * time.Second)
	n.step()
	g.Expect(n.There()).To(BeEmpty())
}

// kube-proxy starts a sync.
func TestAStepEndsWhenASliceChanges(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.orphans(10)
	n.HNS.Before(hns.OpDeleteEndpoint, func() {})
	n.HNS.Before(hns.OpDeleteEndpoint, func() {
		n.Wait(time.Millisecond)
		n.Slice("cart", "lin-1", "10.240.2.1")
	})
	n.pass()
	g.Expect(n.There()).To(HaveLen(8))
	g.Expect(n.Skipped("orphan", "pace")).To(BeEquivalentTo(8))
}

// There, the next change causes the next sync.
func TestWhereSlicesChangeAllTheTimeAChangeDoesNotEndAStep(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.orphans(10)
	n.Slice("cart", "lin-1", "10.240.2.1")
	n.pass()
	n.Wait(time.Minute)
	n.Slice("cart", "lin-1", "10.240.2.2")
	n.HNS.Before(hns.OpDeleteEndpoint, func() {
		n.Wait(time.Millisecond)
		n.Slice("cart", "lin-1", "10.240.2.3")
	})
	n.step()
	g.Expect(n.There()).To(BeEmpty())
}

func TestAConflictDoesNotWaitForTheNextStep(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Pace.OrphansPerStep = 2 })
	n.orphans(4)
	n.pass()
	_, local := n.Conflict("web", "10.240.0.12")
	n.pass()
	g.Expect(n.There()).To(And(HaveLen(3), ContainElement(local)), "two orphans wait, the remote endpoint of the conflict is gone")
}

func TestWhereNothingWaitsNothingIsRecorded(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.orphans(1)
	n.pass()
	g.Expect(n.There()).To(BeEmpty())
	n.pass()
	g.Expect(n.Skipped("orphan", "pace")).To(BeZero())
	g.Expect(happened(n.history, history.Brake)).To(BeEmpty())
}

// A step that deletes nothing disturbs nothing.
func TestARefusedStepIsNoStep(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Pace.OrphansPerStep = 2 })
	n.orphans(4)
	n.OnServer(nodetest.NewPod("cart-1", "lin-1", "10.240.1.1"))
	n.OnServer(nodetest.NewPod("cart-2", "lin-1", "10.240.1.2"))
	n.pass()
	g.Expect(n.There()).To(HaveLen(4))
	n.pass()
	g.Expect(n.There()).To(HaveLen(2))
}

// While a pod waits, an orphan may be in its way.
func TestStepsComeSoonerWhileAPodWaits(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Pace.OrphansPerStep = 2 })
	n.Pod("web", "")
	for i := range 4 {
		n.Remote(fmt.Sprintf("10.240.1.%d", i+1))
	}
	for len(n.There()) == 4 && n.Clock.Since(nodetest.Start()) < time.Minute {
		n.pass()
		n.Wait(time.Second)
	}
	g.Expect(n.There()).To(HaveLen(2))
	n.Wait(3 * n.Config.Orphan.GracePeriodWhileWaiting.Duration / 2)
	n.step()
	g.Expect(n.There()).To(BeEmpty())
}

func TestTooManyOrphansNeedAListForEachStep(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Orphan.MaxPerPass, c.Pace.OrphansPerStep = 5, 2 })
	n.orphans(6)
	n.fresh.listed, n.fresh.listFresh = listed("10.240.1.1"), true
	n.pass()
	g.Expect(n.There()).To(HaveLen(5))
	g.Expect(n.fresh.lists).To(Equal(1))
	g.Expect(n.Happened()).To(ConsistOf(And(
		ContainSubstring("Warning TooManyOrphanEndpoints"), ContainSubstring("6 remote HNS endpoints"),
		ContainSubstring("orphan.maxPerPass (5); removing 2 at a time"))))
}

// Endpoints that cannot be removed now do not delay the others.
func TestAStepIsMadeOfWhatCanBeRemoved(t *testing.T) {
	for name, keep := range map[string]func(n *node){
		"refused": func(n *node) {
			n.OnServer(nodetest.NewPod("cart-1", "lin-1", "10.240.1.1"))
			n.OnServer(nodetest.NewPod("cart-2", "lin-1", "10.240.1.2"))
		},
		"undeletable": func(n *node) {
			n.HNS.MakeUndeletable(n.There()[0])
			n.HNS.MakeUndeletable(n.There()[1])
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t, func(c *config.Config) { c.Pace.OrphansPerStep = 2 })
			n.orphans(6)
			keep(n)
			for range 3 {
				n.pass()
				n.pass()
				n.Wait(2 * n.Config.Pace.StepInterval)
			}
			g.Expect(n.There()).To(HaveLen(2))
			counted := 0
			for _, e := range happened(n.history, history.Brake) {
				if e.Result == "backoff" {
					counted += e.Count
				}
			}
			g.Expect(counted).To(BeEquivalentTo(n.Skipped("orphan", "backoff")))
		})
	}
}

func TestConflictsGoFirst(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, func(c *config.Config) { c.Removals.PerSecond, c.Pace.Burst = 0.001, 1 })
	remote := orphan(n)
	n.Conflict("web", "10.240.0.12")
	n.pass()
	g.Expect(n.Order("10.240.0.12")).To(Equal("L"))
	g.Expect(n.There()).To(ContainElement(remote))
	g.Expect(n.Skipped("orphan", "rate")).To(BeEquivalentTo(1))
}

// Invariant 4.
func TestAfterAFailureThePassDeletesNothingMore(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		result removal.Result
		stops  bool
	}{
		"HNS says no":         {errors.New("access denied"), removal.Failed, true},
		"HNS does not answer": {hns.ErrTimeout, removal.Unknown, true},
		"the agent stops":     {context.Canceled, removal.Unknown, true},
		"HNS is down":         {hns.ErrUnavailable, removal.Failed, true},
		"it had gone":         {hns.ErrNotFound, removal.AlreadyGone, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			orphan := n.Remote(ip)
			n.orphans(0)
			n.Conflict("web-1", "10.240.0.1")
			n.Conflict("web-2", "10.240.0.2")
			n.HNS.FailNext(hns.OpDeleteEndpoint, fmt.Errorf("deleting: %w", tc.err))
			n.HNS.ResetCalls()
			n.pass()
			g.Expect(n.Removals("conflict", string(tc.result))).To(BeEquivalentTo(1))
			if tc.stops {
				g.Expect(n.Calls(hns.OpDeleteEndpoint)).To(Equal(1))
				g.Expect(n.There()).To(ContainElement(orphan))
				g.Expect(n.Skipped("conflict", "failure")).To(BeEquivalentTo(1))
				kept := happened(n.history, history.Brake)
				g.Expect(kept).To(HaveLen(1))
				g.Expect(kept[0].Result).To(BeEquivalentTo(removal.BrakeFailure))
				g.Expect(kept[0].Address.String()).To(Equal("10.240.0.2"))
			} else {
				g.Expect(n.Calls(hns.OpDeleteEndpoint)).To(Equal(3))
				g.Expect(n.There()).NotTo(ContainElement(orphan))
				g.Expect(n.Skipped("conflict", "failure")).To(BeZero())
			}
		})
	}
}

func TestARefusalDoesNotEndThePass(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	first, _ := n.Conflict("web-1", "10.240.0.1")
	second, _ := n.Conflict("web-2", "10.240.0.2")
	n.GoneFromServer("web-1")
	n.pass()
	g.Expect(n.There()).To(And(ContainElement(first), Not(ContainElement(second))))
}

func TestWhatCannotBeConfirmedEndsThePass(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Conflict("web-1", "10.240.0.1")
	n.Conflict("web-2", "10.240.0.2")
	n.API.OnPods = failOn("spec.nodeName")
	n.API.Requests = nil
	n.pass()
	g.Expect(n.API.Requests).To(HaveLen(1))
	g.Expect(n.Skipped("conflict", "failure")).To(BeEquivalentTo(1))
}

// Invariant 5.
func TestADeleteThatDoesNotReturnIsLeftAlone(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote, _ := n.Conflict("web", ip)
	n.HNS.FailNext(hns.OpDeleteEndpoint, hns.ErrTimeout)
	g.Expect(n.pass()).To(Equal(250*time.Millisecond), "what became of it is looked up")
	n.Wait(250 * time.Millisecond)
	n.pass()
	n.Wait(time.Second)
	g.Expect(n.pass()).To(Equal(2*time.Minute-1250*time.Millisecond), "it is in no hurry: the call holds a thread")
	g.Expect(n.Skipped("conflict", "hung")).To(BeEquivalentTo(2))
	n.Wait(2*time.Minute - 1251*time.Millisecond)
	n.pass()
	g.Expect(n.There()).To(ContainElement(remote))
	n.Wait(time.Millisecond)
	n.HNS.FailNext(hns.OpDeleteEndpoint, hns.ErrTimeout)
	n.pass()
	g.Expect(n.Removals("conflict", "unknown")).To(BeEquivalentTo(2))
	n.Wait(4*time.Minute - 1)
	n.pass()
	g.Expect(n.There()).To(ContainElement(remote), "twice as long the second time")
	n.Wait(1)
	n.pass()
	g.Expect(n.There()).NotTo(ContainElement(remote))
}

// A read that hangs holds a thread for as long as a delete.
func TestAnEndpointWhoseReadDoesNotReturnIsLeftAlone(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote := conflict(n)
	pass := n.Observe()
	n.HNS.FailNext(hns.OpEndpoint, hns.ErrTimeout)
	n.remover.Run(t.Context(), pass)
	g.Expect(n.Removals("conflict", "unconfirmed")).To(BeEquivalentTo(1))
	n.Wait(2*time.Minute - 1)
	n.pass()
	g.Expect(n.Skipped("conflict", "hung")).To(BeEquivalentTo(1))
	g.Expect(n.There()).To(ContainElement(remote))
	n.Wait(1)
	n.pass()
	g.Expect(n.There()).NotTo(ContainElement(remote))
}

func TestARefusedEndpointIsTriedAgainSoon(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote := conflict(n)
	n.GoneFromServer("web")
	n.pass()
	g.Expect(n.Removals("conflict", "refused")).To(BeEquivalentTo(1))
	n.OnServer(nodetest.NewPod("web", nodetest.Name, ip))
	n.Wait(time.Second)
	n.pass()
	g.Expect(n.There()).NotTo(ContainElement(remote))
}

func TestTheBackoffOfAnAddress(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote := conflict(n)
	n.HNS.MakeUndeletable(remote)
	n.pass()
	n.Wait(999 * time.Millisecond)
	g.Expect(n.pass()).To(Equal(time.Millisecond), "when the backoff ends")
	g.Expect(n.Skipped("conflict", "backoff")).To(BeEquivalentTo(1))
	g.Expect(n.Removals("conflict", "still_listed")).To(BeEquivalentTo(1))
	n.Wait(time.Millisecond)
	n.HNS.ResetCalls()
	n.pass()
	g.Expect(n.Calls(hns.OpDeleteEndpoint)).To(Equal(1))

	for range 20 {
		n.Wait(time.Minute)
		n.pass()
	}
	n.HNS.ResetCalls()
	n.Wait(time.Minute)
	n.pass()
	g.Expect(n.Calls(hns.OpDeleteEndpoint)).To(Equal(1), "a minute is the longest")
}

// The backoff is per address: kube-proxy creates the endpoint again with another ID.
func TestAnEndpointThatComesBackIsInTheSameBackoff(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	conflict(n)
	n.pass()
	again := n.Remote(ip)
	n.pass()
	g.Expect(n.There()).To(ContainElement(again))
	g.Expect(n.Skipped("conflict", "backoff")).To(BeEquivalentTo(1))
	n.Wait(time.Second)
	n.pass()
	g.Expect(n.There()).NotTo(ContainElement(again))
}

func TestHowSoonAConflictIsTriedAgain(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	early(n)
	n.fresh.current = false
	g.Expect(n.pass()).To(Equal(250*time.Millisecond), "a proof may come at any time")

	n = newNode(t)
	n.HNS.MakeUndeletable(forgotten(n))
	n.pass()
	n.Wait(time.Second)
	n.fresh.current = false
	g.Expect(n.pass()).To(Equal(250*time.Millisecond), "the backoff ends at this moment")

	n = newNode(t, func(c *config.Config) { c.Mode = config.Observe })
	conflict(n)
	g.Expect(n.pass()).To(BeZero(), "what is observed is in no hurry")

	n = newNode(t)
	orphan(n)
	n.fresh.current = false
	g.Expect(n.pass()).To(BeZero(), "neither is an orphan")
}

// The pods that were read must not become outdated while HNS is slow.
func TestConflictsThatTakeTooLongAreLeftToTheNextPass(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Conflict("web-1", "10.240.0.1")
	n.Conflict("web-2", "10.240.0.2")
	n.HNS.Before(hns.OpDeleteEndpoint, func() { n.Wait(10 * time.Second) })
	n.API.Requests = nil
	g.Expect(n.pass()).To(Equal(250 * time.Millisecond))
	g.Expect(n.Order("10.240.0.1") + n.Order("10.240.0.2")).To(Equal("LRL"))
	g.Expect(n.Skipped("conflict", "pace")).To(BeEquivalentTo(1))
	g.Expect(n.API.Requested("pods")).To(Equal(2))
	n.pass()
	g.Expect(n.Order("10.240.0.2")).To(Equal("L"))
	g.Expect(n.API.Requested("pods")).To(Equal(4))
}
