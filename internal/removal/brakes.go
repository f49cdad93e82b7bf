// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"context"
	"slices"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/action"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Brake is the closed set of what keeps an endpoint that could be removed, for now.
type Brake string

// The brakes.
const (
	BrakeMode    Brake = "mode"
	BrakeCap     Brake = "cap"
	BrakeRate    Brake = "rate"
	BrakeBackoff Brake = "backoff"
	// BrakePace: kube-proxy may be syncing, or needs time between two steps in which no endpoint vanishes.
	BrakePace Brake = "pace"
	// BrakeHung: an earlier delete of the endpoint has not returned.
	BrakeHung Brake = "hung"
	// BrakeStale: the view of EndpointSlices is not known to be current.
	BrakeStale Brake = "stale_watch"
	// BrakeFailure: an earlier delete of the same pass failed.
	BrakeFailure Brake = "failure"
)

func brakes() []Brake {
	return []Brake{BrakeMode, BrakeCap, BrakeRate, BrakePace, BrakeBackoff, BrakeHung, BrakeStale, BrakeFailure}
}

// enforced returns the verdicts that may be acted on, by class.
func (r *Remover) enforced(pass action.Pass) (conflicts, orphans []verdict.Verdict) {
	for _, v := range pass.Verdicts {
		switch {
		case !v.Kind.Removes():
		case !r.opts.Config.Enforces(ModeOf(r.opts.Config, v.Kind)):
			r.opts.Metrics.skipped(v.Kind, BrakeMode, 1)
		case v.Kind == verdict.Orphan:
			orphans = append(orphans, v)
		default:
			conflicts = append(conflicts, v)
		}
	}
	return conflicts, orphans
}

// ModeOf returns the mode of a verdict's class.
func ModeOf(c config.Config, kind verdict.Kind) config.Mode {
	if kind == verdict.Orphan {
		return c.Orphan.Mode
	}
	return c.Conflict.Mode
}

// throttled applies the brakes that hold for one endpoint.
func (r *Remover) throttled(v verdict.Verdict, now time.Time) (Brake, bool) {
	switch {
	case v.Kind == verdict.Orphan && r.over():
		return BrakePace, true
	case r.hung.left(string(v.Endpoint.ID), now) > 0:
		return BrakeHung, true
	case r.backoff.left(v.Address().String(), now) > 0:
		return BrakeBackoff, true
	default:
		return BrakeRate, !r.opts.Limiter.AllowN(now, 1)
	}
}

// left returns for how long earlier attempts keep an endpoint from being tried again; zero or less if they do not.
func (r *Remover) left(v verdict.Verdict, now time.Time) time.Duration {
	return max(r.hung.left(string(v.Endpoint.ID), now), r.backoff.left(v.Address().String(), now))
}

// maxProofAge is how old a proof may be that the view of EndpointSlices is current. The server's bookmarks, which
// complete a proof where nothing happens, come about once a minute.
const maxProofAge = 2 * time.Minute

// releasedOrphans applies the brakes that hold for all orphans of a pass. If there are more than the cap, something
// may be wrong with the view of the cluster: they are removed in small steps, each on a list of all EndpointSlices
// from the API server.
func (r *Remover) releasedOrphans(ctx context.Context, pass action.Pass, orphans []verdict.Verdict) []verdict.Verdict {
	limits := r.opts.Config
	if len(orphans) == 0 {
		r.dueSince = time.Time{}
		return nil
	}
	if !r.due(pass) {
		r.keepMany(BrakePace, len(orphans))
		return nil
	}
	capped := len(orphans) > limits.Orphan.MaxPerPass
	if capped {
		r.recordCap(ctx, len(orphans))
	}
	size := min(len(orphans), limits.Pace.OrphansPerStep)
	step := r.inTurn(orphans, pass.Evidence.Now)[:size]
	r.keepMany(BrakeCap, len(orphans)-size)
	proven, err := r.proven(ctx, pass, step, capped)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Cannot verify that the EndpointSlice watch is current; deferring orphan removal",
			"orphans", len(orphans))
	}
	r.keep(BrakeStale, without(step, proven)...)
	if !r.due(pass) { // the watch was late: a change has come with the proof
		r.keepMany(BrakePace, len(proven))
		return nil
	}
	r.begin()
	return proven
}

// proven returns the orphans whose absence from EndpointSlices is proved (invariant 2).
func (r *Remover) proven(ctx context.Context, pass action.Pass, orphans []verdict.Verdict, mustList bool,
) ([]verdict.Verdict, error) {
	var proven, rest []verdict.Verdict
	for _, v := range orphans {
		current, err := r.current(ctx, pass, v)
		switch {
		case err != nil:
			return nil, err
		case current && !mustList && !v.Address().Is6():
			proven = append(proven, v)
		default:
			rest = append(rest, v)
		}
	}
	if len(rest) == 0 || !mustList && !pass.Evidence.Urgent && !slices.ContainsFunc(rest, isIPv6) {
		return proven, nil
	}
	listed, err := r.notListed(ctx, rest)
	return append(proven, listed...), err
}

// A pod's second address, in practice its IPv6 one, cannot be selected by on the API server.
func isIPv6(v verdict.Verdict) bool { return v.Address().Is6() }

// current reports whether the view of EndpointSlices is known to be as current as the verdict needs it.
func (r *Remover) current(ctx context.Context, pass action.Pass, v verdict.Verdict) (bool, error) {
	since := v.Since
	if oldest := pass.Evidence.Now.Add(-maxProofAge); since.Before(oldest) {
		since = oldest
	}
	return r.opts.Freshness.Current(ctx, since)
}

// provenConflicts returns the conflicts that rest on a pod alone, and those for which the view of EndpointSlices is
// known to be current. A pod may be about to lose its endpoint, so that this does not wait for the watch where a list
// will do.
func (r *Remover) provenConflicts(
	ctx context.Context, pass action.Pass, conflicts []verdict.Verdict,
) []verdict.Verdict {
	var proven, rest []verdict.Verdict
	for _, v := range conflicts {
		current, err := !v.NeedsCurrentSlices, error(nil)
		if !current {
			current, err = r.current(ctx, pass, v)
		}
		if err != nil {
			logf.FromContext(ctx).Error(err, "Cannot verify that the EndpointSlice watch is current")
		}
		if current {
			proven = append(proven, v)
		} else {
			rest = append(rest, v)
		}
	}
	if len(rest) > 0 {
		absent, err := r.notListed(ctx, rest)
		if err != nil {
			logf.FromContext(ctx).Error(err, "Cannot verify that no EndpointSlice lists the address; deferring removal",
				"endpoints", len(rest))
		}
		r.keep(BrakeStale, without(rest, absent)...)
		proven = append(proven, absent...)
	}
	return proven
}

// without returns the verdicts whose endpoint is in none of the others.
func without(verdicts, others []verdict.Verdict) []verdict.Verdict {
	return slices.DeleteFunc(slices.Clone(verdicts), func(v verdict.Verdict) bool {
		return slices.ContainsFunc(others, func(o verdict.Verdict) bool { return o.Endpoint.ID == v.Endpoint.ID })
	})
}

// notListed returns the verdicts whose address no EndpointSlice on the API server lists; none if that cannot be read
// now.
func (r *Remover) notListed(ctx context.Context, verdicts []verdict.Verdict) ([]verdict.Verdict, error) {
	listed, fresh, err := r.opts.Freshness.Listed(ctx)
	if err != nil || !fresh {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(verdicts), func(v verdict.Verdict) bool { return listed.Has(v.Address()) }), nil
}
