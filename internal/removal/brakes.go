// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Brake is the closed set of reasons to keep a removable endpoint for now.
type Brake string

// The brakes.
const (
	BrakeMode    Brake = "mode"
	BrakeCap     Brake = "cap"
	BrakeRate    Brake = "rate"
	BrakeBackoff Brake = "backoff"
	// BrakePace: kube-proxy may be syncing, or needs time between two steps to complete a sync.
	BrakePace Brake = "pace"
	// BrakeHung: an earlier delete of the endpoint has not returned.
	BrakeHung Brake = "hung"
	// BrakeStale: the view of EndpointSlices is not known to be current.
	BrakeStale Brake = "stale_watch"
	// BrakeLoadBalancers: the load balancers have not been read since the step of orphans was ready.
	BrakeLoadBalancers Brake = "load_balancers"
	// BrakeFailure: an earlier delete in the same pass failed.
	BrakeFailure Brake = "failure"
)

func brakes() []Brake {
	return []Brake{
		BrakeMode, BrakeCap, BrakeRate, BrakePace, BrakeBackoff, BrakeHung, BrakeStale, BrakeLoadBalancers, BrakeFailure,
	}
}

// enforced returns the verdicts that may be acted on, by class.
func (r *Remover) enforced(pass pass.Pass) (conflicts, orphans []verdict.Verdict) {
	for _, v := range pass.Verdicts {
		switch {
		case !v.Kind.Removes():
		case !r.opts.Config.EnforcesRemoval(v.Kind == verdict.Orphan):
			r.opts.Metrics.skipped(v.Kind, BrakeMode, 1)
		case v.Kind == verdict.Orphan:
			orphans = append(orphans, v)
		default:
			conflicts = append(conflicts, v)
		}
	}
	return conflicts, orphans
}

// released returns the verdicts that no brake on one endpoint keeps. An address is tried once in a pass.
func (r *Remover) released(verdicts []verdict.Verdict, now time.Time) []verdict.Verdict {
	var released []verdict.Verdict
	tried := sets.New[string]()
	for _, v := range verdicts {
		address := v.Address().String()
		switch {
		case r.hung.left(string(v.Endpoint.ID), now) > 0:
			r.keep(BrakeHung, v)
		case r.backoff.left(address, now) > 0 || tried.Has(address):
			r.keep(BrakeBackoff, v)
		case !r.opts.Limiter.AllowN(now, 1):
			r.keep(BrakeRate, v)
		default:
			tried.Insert(address)
			released = append(released, v)
		}
	}
	return released
}

// left returns how long earlier attempts keep an endpoint from being tried again; zero or less if they do not.
func (r *Remover) left(v verdict.Verdict, now time.Time) time.Duration {
	return max(r.hung.left(string(v.Endpoint.ID), now), r.backoff.left(v.Address().String(), now))
}

// pauses are exponential backoffs that know when they end. They are for one caller at a time.
type pauses struct {
	clock   clock.Clock
	backoff *flowcontrol.Backoff
	ends    map[string]time.Time
}

func newPauses(first, most time.Duration, clk clock.Clock) *pauses {
	// "Fake" is the variant that accepts a clock.
	return &pauses{clock: clk, backoff: flowcontrol.NewFakeBackOff(first, most, clk), ends: map[string]time.Time{}}
}

// begin begins a pause, twice as long as the previous one.
func (p *pauses) begin(key string) {
	now := p.clock.Now()
	p.backoff.Next(key, now)
	p.ends[key] = now.Add(p.backoff.Get(key))
}

// left returns how much of a pause is left at the given time; zero or less if there is none.
func (p *pauses) left(key string, now time.Time) time.Duration {
	return p.ends[key].Sub(now)
}

// latest returns the length of the latest pause; zero if that was long ago, or if there was none.
func (p *pauses) latest(key string) time.Duration {
	return p.backoff.Get(key)
}

// forget drops the pauses that have ended, and the lengths of those that ended long ago.
func (p *pauses) forget() {
	now := p.clock.Now()
	maps.DeleteFunc(p.ends, func(_ string, ends time.Time) bool { return !ends.After(now) })
	p.backoff.GC()
}
