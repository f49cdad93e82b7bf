// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Result is the closed set of what became of the attempt to remove one endpoint.
type Result string

// The results.
const (
	// Removed: it was deleted, and is gone.
	Removed Result = "removed"
	// AlreadyGone: somebody else was first.
	AlreadyGone Result = "already_gone"
	// Refused: on fresh evidence the endpoint stays.
	Refused Result = "refused"
	// Unconfirmed: fresh evidence was not to be had.
	Unconfirmed Result = "unconfirmed"
	// StillListed: HNS reported the delete as done, but lists the endpoint.
	StillListed Result = "still_listed"
	// Unknown: the call was abandoned; it may take effect yet.
	Unknown Result = "unknown"
	// Failed: HNS refused.
	Failed Result = "failed"
)

func results() []Result {
	return []Result{Removed, AlreadyGone, Refused, Unconfirmed, StillListed, Unknown, Failed}
}

// Brake is the closed set of what keeps an endpoint that could be removed, for now.
type Brake string

// The brakes.
const (
	BrakeMode    Brake = "mode"
	BrakeCap     Brake = "cap"
	BrakeRate    Brake = "rate"
	BrakeBackoff Brake = "backoff"
	// BrakeStale: the watch of EndpointSlices lags behind, or nobody knows whether it does.
	BrakeStale Brake = "stale_watch"
	// BrakeFailure: an earlier delete of the same pass failed.
	BrakeFailure Brake = "failure"
)

func brakes() []Brake {
	return []Brake{BrakeMode, BrakeCap, BrakeRate, BrakeBackoff, BrakeStale, BrakeFailure}
}

// act removes what may be removed, conflicts first: there a pod suffers.
func (g *Guard) act(ctx context.Context, evidence verdict.Evidence, verdicts []verdict.Verdict) {
	g.settleDoubts(ctx, evidence.Snapshot)
	removable := g.released(ctx, evidence, verdicts)
	var deleted []verdict.Verdict
	for at, v := range removable {
		if brake, held := g.held(v, evidence.Now); held {
			g.Metrics.skipped(v.Kind, brake, 1)
			continue
		}
		result, err := g.remove(ctx, evidence, v)
		if result == Removed {
			deleted = append(deleted, v)
		} else {
			g.recordResult(ctx, v, result, err)
		}
		if stops(result) {
			for _, rest := range removable[at+1:] {
				g.Metrics.skipped(rest.Kind, BrakeFailure, 1)
			}
			break
		}
	}
	g.verify(ctx, evidence.Snapshot, deleted)
	g.backoff.GC()
}

// stops reports whether a pass deletes nothing more after a result (invariant 5). Evidence that was not to be had for
// one endpoint will not be for the next.
func stops(r Result) bool { return r == Failed || r == Unknown || r == Unconfirmed }

// released returns the verdicts that may be acted on: those of a class that is enforced, orphans only if there are not
// too many and the watch has caught up.
func (g *Guard) released(ctx context.Context, evidence verdict.Evidence, verdicts []verdict.Verdict) []verdict.Verdict {
	var conflicts, orphans []verdict.Verdict
	for _, v := range verdicts {
		switch {
		case !v.Kind.Removes():
		case !g.Config.Enforces(g.modeOf(v.Kind)):
			g.Metrics.skipped(v.Kind, BrakeMode, 1)
		case v.Kind == verdict.Orphan:
			orphans = append(orphans, v)
		default:
			conflicts = append(conflicts, v)
		}
	}
	return slices.Concat(conflicts, g.releasedOrphans(ctx, evidence, orphans))
}

func (g *Guard) modeOf(kind verdict.Kind) config.Mode {
	if kind == verdict.Orphan {
		return g.Config.Orphan.Mode
	}
	return g.Config.Conflict.Mode
}

// releasedOrphans applies the brakes that hold for all orphans of a pass.
func (g *Guard) releasedOrphans(ctx context.Context, evidence verdict.Evidence, orphans []verdict.Verdict,
) []verdict.Verdict {
	if len(orphans) == 0 {
		return nil
	}
	if len(orphans) > g.Config.Orphan.MaxPerPass {
		g.recordCap(ctx, len(orphans))
		g.Metrics.skipped(verdict.Orphan, BrakeCap, len(orphans))
		return nil
	}
	proven, err := g.proven(ctx, evidence, orphans)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Nobody knows whether EndpointSlices are up to date; orphans wait",
			"orphans", len(orphans))
	}
	g.Metrics.skipped(verdict.Orphan, BrakeStale, len(orphans)-len(proven))
	return proven
}

// listEvery is how often all EndpointSlices may be read from the API server, which is what it takes to prove an
// absence without waiting for the watch. It happens only while a pod waits in vain and there are orphans that may be
// in its way.
const listEvery = 30 * time.Second

// proven returns the orphans whose absence from EndpointSlices is certain (invariant 3).
func (g *Guard) proven(ctx context.Context, evidence verdict.Evidence, orphans []verdict.Verdict,
) ([]verdict.Verdict, error) {
	caughtUp, err := g.Freshness.CaughtUp(ctx)
	if err != nil {
		return nil, err
	}
	if caughtUp {
		return orphans, nil
	}
	if !evidence.Urgent || evidence.Now.Before(g.nextList) {
		return nil, nil
	}
	g.nextList = evidence.Now.Add(listEvery)
	listed, err := g.Freshness.Listed(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(orphans, func(v verdict.Verdict) bool { return listed.Has(v.Address()) }), nil
}

// held applies the brakes that hold for one endpoint.
func (g *Guard) held(v verdict.Verdict, now time.Time) (Brake, bool) {
	if g.backoff.IsInBackOffSinceUpdate(v.Address().String(), now) {
		return BrakeBackoff, true
	}
	return BrakeRate, !g.limiter.AllowN(now, 1)
}

// remove deletes one endpoint, if it still should be. [Removed] means that HNS said so. Whatever comes of it, the
// address is left alone for a while afterwards, so that one that cannot be dealt with does not keep the others
// waiting.
func (g *Guard) remove(ctx context.Context, evidence verdict.Evidence, v verdict.Verdict) (Result, error) {
	g.backoff.Next(v.Address().String(), g.Clock.Now())
	if err := g.confirm(ctx, evidence, v); err != nil {
		return resultOf(err), err
	}
	err := g.HNS.DeleteEndpoint(ctx, v.Endpoint.ID)
	switch {
	case err == nil:
		return Removed, nil
	case errors.Is(err, hns.ErrNotFound):
		return AlreadyGone, nil
	case errors.Is(err, hns.ErrTimeout), errors.Is(err, context.Canceled):
		g.memory.doubtful[v.Endpoint.ID] = v
		return Unknown, err
	default:
		return Failed, err
	}
}

// errRefused says that the endpoint stays, after all.
var errRefused = errors.New("the endpoint stays")

// resultOf tells what it means that a verdict was not confirmed.
func resultOf(err error) Result {
	switch {
	case errors.Is(err, errRefused):
		return Refused
	case errors.Is(err, hns.ErrNotFound):
		return AlreadyGone
	default:
		return Unconfirmed
	}
}

// confirm judges the endpoint again, and returns nil if it still may be removed for the same cause.
func (g *Guard) confirm(ctx context.Context, evidence verdict.Evidence, v verdict.Verdict) error {
	again, err := g.rejudge(ctx, evidence, v)
	if err != nil {
		return err
	}
	if !again.Kind.Removes() || !sameClass(again.Kind, v.Kind) {
		return fmt.Errorf("%w: it is now %s (%s)", errRefused, again.Kind, again.Reason)
	}
	return nil
}

// rejudge reads everything again on which a verdict rests, and lets the same rule judge it (invariant 2). It fails with
// [hns.ErrNotFound] if the endpoint has gone meanwhile.
func (g *Guard) rejudge(ctx context.Context, evidence verdict.Evidence, v verdict.Verdict) (verdict.Verdict, error) {
	fresh, err := g.HNS.Endpoint(ctx, v.Endpoint.ID)
	if err != nil {
		return verdict.Verdict{}, fmt.Errorf("reading it again: %w", err)
	}
	if !fresh.SameIdentity(v.Endpoint) || !fresh.Remote() {
		return verdict.Verdict{}, fmt.Errorf("%w: its ID now means another endpoint, %v", errRefused, fresh)
	}
	snapshot := evidence.Snapshot
	if snapshot.Endpoints, err = g.rereadLocals(ctx, snapshot, v); err != nil {
		return verdict.Verdict{}, err
	}
	if err := g.confirmPods(ctx, v); err != nil {
		return verdict.Verdict{}, err
	}
	for _, again := range verdict.Decide(g.evidence(snapshot)) {
		if again.Endpoint.ID == v.Endpoint.ID {
			return again, nil
		}
	}
	return verdict.Verdict{}, fmt.Errorf("%w: it is not in the evidence any more", errRefused)
}

// sameClass lets an early conflict be confirmed as a conflict: the pod has reported its address meanwhile.
func sameClass(a, b verdict.Kind) bool { return (a == verdict.Orphan) == (b == verdict.Orphan) }

// rereadLocals returns the endpoint in question together with all that share its address, as they are in HNS now.
func (g *Guard) rereadLocals(ctx context.Context, snapshot inventory.Snapshot, v verdict.Verdict,
) ([]inventory.Endpoint, error) {
	var endpoints []inventory.Endpoint
	for _, e := range snapshot.Endpoints {
		if e.ID == v.Endpoint.ID {
			endpoints = append(endpoints, e)
			continue
		}
		if e.Remote() || !slices.ContainsFunc(v.Endpoint.Addresses, e.Has) {
			continue
		}
		fresh, err := g.HNS.Endpoint(ctx, e.ID)
		if errors.Is(err, hns.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the local endpoint of its address again: %w", err)
		}
		endpoints = append(endpoints, inventory.Endpoint{Endpoint: fresh, Appeared: e.Appeared})
	}
	return endpoints, nil
}

// confirmTimeout bounds the question to the API server about one pod.
const confirmTimeout = 5 * time.Second

// confirmPods asks the API server itself whether the pod of a conflict still is what the cache says.
func (g *Guard) confirmPods(ctx context.Context, v verdict.Verdict) error {
	if v.Kind == verdict.Orphan {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	for _, key := range v.Pods {
		pod, err := g.readPod(ctx, key)
		if err != nil {
			return err
		}
		if pod.Live() && (slices.Contains(pod.Addresses, v.Address()) || v.Early() && pod.Waiting()) {
			return nil
		}
	}
	return fmt.Errorf("%w: the API server knows no live pod of this node with its address", errRefused)
}

// readPod reads a pod; one that does not exist, or is another node's, is not live.
func (g *Guard) readPod(ctx context.Context, key types.NamespacedName) (cluster.Pod, error) {
	var pod corev1.Pod
	err := g.Pods.Get(ctx, key, &pod)
	if apierrors.IsNotFound(err) || err == nil && pod.Spec.NodeName != g.Node {
		return cluster.Pod{Deleting: true}, nil
	}
	if err != nil {
		return cluster.Pod{}, fmt.Errorf("reading pod %s from the API server: %w", key, err)
	}
	return cluster.PodOf(&pod), nil
}

// verify looks whether what was deleted is gone (invariant 6).
func (g *Guard) verify(ctx context.Context, snapshot inventory.Snapshot, deleted []verdict.Verdict) {
	if len(deleted) == 0 {
		return
	}
	ids, err := g.HNS.ListEndpointIDs(ctx)
	if err != nil {
		// The next pass will tell.
		for _, v := range deleted {
			g.memory.doubtful[v.Endpoint.ID] = v
			g.recordResult(ctx, v, Unknown, fmt.Errorf("looking up whether it is gone: %w", err))
		}
		return
	}
	left := sets.New(ids...)
	for _, v := range deleted {
		if left.Has(v.Endpoint.ID) {
			g.recordResult(ctx, v, StillListed, nil)
			continue
		}
		g.recordResult(ctx, v, Removed, nil)
	}
	g.recordDangling(ctx, snapshot, deleted)
}

// settleDoubts looks what became of deletes whose outcome was unknown. One that did nothing is decided about afresh.
func (g *Guard) settleDoubts(ctx context.Context, snapshot inventory.Snapshot) {
	for id, v := range g.memory.doubtful {
		present := slices.ContainsFunc(snapshot.Endpoints, func(e inventory.Endpoint) bool { return e.ID == id })
		if !present {
			g.recordResult(ctx, v, Removed, nil)
		}
	}
	clear(g.memory.doubtful)
}
