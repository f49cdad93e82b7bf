// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"context"
	"slices"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// maxProofAge is how old a proof that the view of EndpointSlices is current may be. The server's bookmarks, which
// complete a proof if no slice changes, come about once a minute.
const maxProofAge = 2 * time.Minute

// proveOrphans returns the orphans of a step whose absence from EndpointSlices is proved (invariant 2), and at which
// resource version. An address that does not belong to a pod may be listed at any time, so each step needs its own
// proof, for the moment when it was ready to begin.
func (r *Remover) proveOrphans(ctx context.Context, pass pass.Pass, step []verdict.Verdict, mustList bool,
) ([]verdict.Verdict, string, error) {
	if mustList {
		listed, err := r.notListed(ctx, step)
		return listed, "", err
	}
	s, now := &r.steps, pass.Evidence.Now
	if s.asked.Before(now.Add(-maxProofAge)) {
		s.asked = now
	}
	current, err := r.opts.Freshness.Current(ctx, s.asked)
	switch {
	case err != nil:
		return nil, "", err
	case current:
		return step, r.opts.Freshness.ProvenVersion(), nil
	case pass.Evidence.Urgent:
		listed, err := r.notListed(ctx, step)
		return listed, "", err
	default:
		return nil, "", nil
	}
}

// proveConflicts returns the conflicts that rest on a pod alone, and those for which the view of EndpointSlices is
// known to be current. A pod may be about to lose its endpoint, so this does not wait for the watch if a list will do.
func (r *Remover) proveConflicts(
	ctx context.Context, pass pass.Pass, conflicts []verdict.Verdict,
) []verdict.Verdict {
	var proven, rest []verdict.Verdict
	for _, v := range conflicts {
		current, err := !v.NeedsCurrentSlices, error(nil)
		if !current {
			since := slices.MaxFunc([]time.Time{v.Since, pass.Evidence.Now.Add(-maxProofAge)}, time.Time.Compare)
			current, err = r.opts.Freshness.Current(ctx, since)
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
	if len(rest) == 0 {
		return proven
	}
	absent, err := r.notListed(ctx, rest)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Cannot verify that no EndpointSlice lists the address; deferring removal",
			"endpoints", len(rest))
	}
	r.keep(BrakeStale, without(rest, absent)...)
	return append(proven, absent...)
}

// without returns the verdicts whose endpoint has no verdict among the others.
func without(verdicts, others []verdict.Verdict) []verdict.Verdict {
	return slices.DeleteFunc(slices.Clone(verdicts), func(v verdict.Verdict) bool {
		return slices.ContainsFunc(others, func(o verdict.Verdict) bool { return o.Endpoint.ID == v.Endpoint.ID })
	})
}

// notListed returns the verdicts whose address no EndpointSlice on the API server lists, or none if it may not read
// them now.
func (r *Remover) notListed(ctx context.Context, verdicts []verdict.Verdict) ([]verdict.Verdict, error) {
	listed, fresh, err := r.opts.Freshness.Listed(ctx)
	if err != nil || !fresh {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(verdicts), func(v verdict.Verdict) bool { return listed.Has(v.Address()) }), nil
}
