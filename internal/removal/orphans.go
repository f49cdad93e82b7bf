// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"cmp"
	"context"
	"slices"
	"sync/atomic"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// A step begins when no EndpointSlice has changed for a part of the step interval: kube-proxy batches changes for a
// second, and a sync takes a few. Where slices change all the time, a step waits for at most a few intervals: there,
// the next change soon brings the next sync after one that was given up.
const (
	restPart    = 3
	maxRestWait = 2
)

// stepPart divides the interval into the time that a step may take. HNS may need a second for each removal.
const stepPart = 5

// stepJitter is by how much the pause between two steps may exceed the interval, as a part of the interval.
const stepJitter = 0.5

// steps decides when orphans are removed (invariant 6). All times are zero at first.
type steps struct {
	// wave is set from the first orphan until there are none, and waveBegins is when its first step may begin.
	wave       bool
	waveBegins time.Time
	// next is when the next step may begin.
	next time.Time
	// waiting is since when the next step has been waiting for kube-proxy to rest.
	waiting time.Time
	// ready is when the step found kube-proxy at rest; asked, which is later, is the moment that its proof has to cover.
	ready, asked time.Time
	// began is when the present step began, and resting is set if kube-proxy was at rest then.
	began   time.Time
	resting bool
	// lastChange is when an EndpointSlice was last seen to change, in nanoseconds since 1970.
	lastChange atomic.Int64
}

// SliceChanged implements [pass.SliceObserver].
func (r *Remover) SliceChanged(_, _ *cluster.Slice) {
	r.steps.lastChange.Store(r.opts.Clock.Now().UnixNano())
}

// nextOrphans returns the orphans that may be removed now, and the resource version at which their absence from
// EndpointSlices was proved; it is empty if a list proved it. If there are more orphans than the cap, the view of the
// cluster may be wrong, and each step rests on a list of all EndpointSlices.
func (r *Remover) nextOrphans(
	ctx context.Context, pass pass.Pass, orphans []verdict.Verdict,
) ([]verdict.Verdict, string) {
	if !r.due(pass, len(orphans)) {
		r.keepMany(BrakePace, len(orphans))
		return nil, ""
	}
	limits := r.opts.Config
	size := min(len(orphans), limits.Pace.OrphansPerStep)
	step := r.inTurn(orphans, pass.Evidence.Now)[:size]
	r.keepMany(BrakeCap, len(orphans)-size)
	if !r.opts.LoadBalancers.ReadSince(r.steps.ready) {
		r.keepMany(BrakeLoadBalancers, size)
		return nil, ""
	}
	r.begin(pass.Evidence.Now)
	capped := len(orphans) > limits.Orphan.MaxPerPass
	if capped {
		r.recordCap(ctx, len(orphans))
	}
	proven, version, err := r.proveOrphans(ctx, pass, step, capped)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Cannot verify that the EndpointSlice watch is current; deferring orphan removal",
			"orphans", len(orphans))
	}
	r.keep(BrakeStale, without(step, proven)...)
	if len(proven) > 0 { // a proof does not count for the next step
		r.steps.ready, r.steps.asked = time.Time{}, time.Time{}
	}
	return proven, version
}

// due reports whether a step may begin, given the number of orphans. What was read for a step that may not begin after
// all does not count for a later one, whose orphans may be younger.
func (r *Remover) due(pass pass.Pass, orphans int) bool {
	s := &r.steps
	if !r.mayBegin(pass, orphans) {
		s.ready, s.asked = time.Time{}, time.Time{}
		return false
	}
	if s.ready.IsZero() {
		s.ready = pass.Evidence.Now
	}
	return true
}

// mayBegin reports whether now is the time for a step (invariant 6).
func (r *Remover) mayBegin(pass pass.Pass, orphans int) bool {
	s, now := &r.steps, pass.Evidence.Now
	switch {
	case orphans == 0:
		s.wave, s.waiting = false, time.Time{}
		return false
	case !s.wave:
		s.wave, s.waveBegins = true, now.Add(r.part(r.opts.Config.Orphan.GracePeriod.Duration))
	}
	if now.Before(s.next) || now.Before(s.waveBegins) && !pass.Evidence.Urgent {
		return false
	}
	if s.waiting.IsZero() {
		s.waiting = now
	}
	return pass.Evidence.Urgent || r.resting(now) || now.Sub(s.waiting) >= maxRestWait*r.interval()
}

// begin records the beginning of a step. A change of slices that arrives with the proof ends the step.
func (r *Remover) begin(now time.Time) {
	r.steps.began, r.steps.resting = now, r.resting(now)
}

// over reports whether the step has to end: it takes too long, or kube-proxy has work again. The rest waits for the
// next step.
func (r *Remover) over() bool {
	s := &r.steps
	return r.opts.Clock.Since(s.began) >= r.interval()/stepPart || s.resting && r.changed().After(s.began)
}

// pace schedules the next step after one that has deleted something. Jitter keeps steps from falling into step with
// kube-proxy's sync period.
func (r *Remover) pace(pass pass.Pass) {
	interval := r.interval()
	if pass.Evidence.Urgent {
		interval = min(interval, r.opts.Config.Orphan.GracePeriodWhileWaiting.Duration)
	}
	s := &r.steps
	s.next = r.opts.Clock.Now().Add(interval + time.Duration(stepJitter*float64(r.part(interval))))
	s.waiting = time.Time{}
}

// inTurn returns the untried orphans first, and last those that may not be tried now, so that these do not take the
// place of others in every step.
func (r *Remover) inTurn(orphans []verdict.Verdict, now time.Time) []verdict.Verdict {
	pause := func(v verdict.Verdict) time.Duration { return max(0, r.left(v, now)) }
	latest := func(v verdict.Verdict) time.Duration { return r.backoff.latest(v.Address().String()) }
	return slices.SortedStableFunc(slices.Values(orphans), func(a, b verdict.Verdict) int {
		return cmp.Or(cmp.Compare(pause(a), pause(b)), cmp.Compare(latest(a), latest(b)))
	})
}

// part returns a random fraction of a duration.
func (r *Remover) part(d time.Duration) time.Duration {
	return time.Duration(r.opts.Random() * float64(d))
}

// resting reports whether kube-proxy is likely to be at rest.
func (r *Remover) resting(now time.Time) bool { return now.Sub(r.changed()) >= r.interval()/restPart }

func (r *Remover) interval() time.Duration { return r.opts.Config.Pace.StepInterval }

// changed returns when an EndpointSlice was last seen to change.
func (r *Remover) changed() time.Time { return time.Unix(0, r.steps.lastChange.Load()) }
