// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"cmp"
	"slices"
	"time"

	"github.com/hnsguard/hnsguard/internal/action"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// A step begins when no EndpointSlice has changed for a part of the step interval: kube-proxy gathers changes for a
// second, and a sync takes a few. Where slices change all the time, the step waits no longer than some intervals: a
// sync that was given up does not wait long there, since the next change brings the next one.
const (
	restPart    = 3
	maxRestWait = 2
)

// stepPart is what part of the interval a step may take. HNS may need a second for each removal.
const stepPart = 5

// step is one step of orphans.
type step struct {
	// began is when it did, just before its first removal.
	began time.Time
	// resting is set if kube-proxy was at rest then.
	resting bool
}

// paceJitter is how much longer than the interval the time between two steps may be, as a part of it.
const paceJitter = 0.5

// due reports whether a step of orphans may begin (invariant 6).
func (r *Remover) due(pass action.Pass) bool {
	now := pass.Evidence.Now
	if now.Before(r.nextStep) {
		return false
	}
	if r.dueSince.IsZero() {
		r.dueSince = now
	}
	return pass.Evidence.Urgent || r.resting(now) || now.Sub(r.dueSince) >= maxRestWait*r.interval()
}

// begin records that a step begins.
func (r *Remover) begin() {
	now := r.opts.Clock.Now()
	r.step = step{began: now, resting: r.resting(now)}
}

// over reports whether the step has to end: it takes too long, or kube-proxy has something to do again. What is left
// waits for the next step.
func (r *Remover) over() bool {
	return r.opts.Clock.Since(r.step.began) >= r.interval()/stepPart || r.step.resting && r.changed().After(r.step.began)
}

// resting reports whether kube-proxy is likely to be at rest.
func (r *Remover) resting(now time.Time) bool { return now.Sub(r.changed()) >= r.interval()/restPart }

func (r *Remover) interval() time.Duration { return r.opts.Config.Pace.StepInterval }

// changed returns when an EndpointSlice was last seen to change.
func (r *Remover) changed() time.Time { return time.Unix(0, r.lastChange.Load()) }

// SliceChanged implements [action.SliceObserver].
func (r *Remover) SliceChanged(_, _ *cluster.Slice) {
	r.lastChange.Store(r.opts.Clock.Now().UnixNano())
}

// pace puts off the next step of orphans (invariant 6). Its times do not keep step with kube-proxy's sync period.
func (r *Remover) pace(pass action.Pass) {
	interval := r.interval()
	if pass.Evidence.Urgent {
		interval = min(interval, r.opts.Config.Orphan.GracePeriodWhileWaiting.Duration)
	}
	longer := paceJitter * r.opts.Random() * float64(interval)
	r.nextStep, r.dueSince = r.opts.Clock.Now().Add(interval+time.Duration(longer)), time.Time{}
}

// inTurn returns the orphans with those first that were not tried yet, and those last that may not be tried now: none
// of them must take another's place in every step.
func (r *Remover) inTurn(orphans []verdict.Verdict, now time.Time) []verdict.Verdict {
	pause := func(v verdict.Verdict) time.Duration { return max(0, r.left(v, now)) }
	latest := func(v verdict.Verdict) time.Duration { return r.backoff.latest(v.Address().String()) }
	return slices.SortedStableFunc(slices.Values(orphans), func(a, b verdict.Verdict) int {
		return cmp.Or(cmp.Compare(pause(a), pause(b)), cmp.Compare(latest(a), latest(b)))
	})
}
