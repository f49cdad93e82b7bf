// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Deleter deletes endpoints.
type Deleter interface {
	DeleteEndpoint(ctx context.Context, id hns.EndpointID) error
}

// Freshness proves how current the view of EndpointSlices is.
type Freshness interface {
	// Current reports whether the view includes everything that the API server held at the given time. An error means that
	// this is unknown.
	Current(ctx context.Context, since time.Time) (bool, error)
	// ProvenVersion returns the resource version for which Current last reported true.
	ProvenVersion() string
	// Listed returns all addresses that EndpointSlices list on the API server. The last value is false if they were read
	// too recently to be read again.
	Listed(ctx context.Context) (sets.Set[netip.Addr], bool, error)
}

// LoadBalancers provides the load balancers as they were last read.
type LoadBalancers interface {
	Last() ([]hns.LoadBalancer, time.Time, bool)
	// ReadSince reports whether that reading began at the moment or later. If not, it requests a new reading.
	ReadSince(moment time.Time) bool
}

// Options configure a remover.
type Options struct {
	// Node is the name of this node. Required.
	Node string
	// Config is the policy. Required.
	Config config.Config
	// Confirmer judges an endpoint again before it is deleted. Required.
	Confirmer Confirmer
	// HNS deletes endpoints. Required.
	HNS Deleter
	// Limiter limits deletions, see [NewLimiter]. Required.
	Limiter *rate.Limiter
	// Freshness proves that the view of EndpointSlices is current. Required.
	Freshness Freshness
	// LoadBalancers provides the last known ones. Required.
	LoadBalancers LoadBalancers
	// Events records the Events on pods and on the node. Required.
	Events events.EventRecorder
	// History records removals and brakes. Default: no history is kept.
	History *history.Ring
	// Metrics are the measurements. Required.
	Metrics *Metrics
	// Clock is the source of time. Required.
	Clock clock.Clock
	// Random returns a number from 0 to 1, for the times of steps. Required.
	Random func() float64
}

// Remover removes endpoints. It is for one caller at a time, except for [Remover.SliceChanged].
type Remover struct {
	opts Options
	// backoff is by address: kube-proxy may create the endpoint again at once, or HNS may report a delete that it did not
	// perform.
	backoff *pauses
	// hung is by endpoint: a call that hangs holds a thread.
	hung *pauses
	// deleted are the endpoints whose absence the next pass verifies.
	deleted map[hns.EndpointID]attempt
	// lookups is by address of an endpoint that only a pod on another node keeps.
	lookups *pauses
	// steps decides when orphans are removed.
	steps steps
}

var (
	_ pass.Action        = (*Remover)(nil)
	_ pass.SliceObserver = (*Remover)(nil)
)

// attempt is one attempted deletion.
type attempt struct {
	verdict verdict.Verdict
	result  Result
	err     error
	// before are the endpoints that had the address when the removal was decided, after those that had it when the absence
	// was verified.
	before, after []string
	// took is the time since the endpoint was first found to be stale.
	took time.Duration
}

// The backoffs.
const (
	backoffFirst = time.Second
	backoffMost  = time.Minute
	hungFirst    = 2 * time.Minute
	hungMost     = time.Hour
	lookupFirst  = 5 * time.Minute
	lookupMost   = time.Hour
)

// NewLimiter returns the limiter for all deletions of stale endpoints on a node.
func NewLimiter(c config.Config) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(c.Removals.PerSecond), c.Pace.Burst)
}

// New returns a remover.
func New(o Options) *Remover {
	return &Remover{
		opts:    o,
		backoff: newPauses(backoffFirst, backoffMost, o.Clock),
		hung:    newPauses(hungFirst, hungMost, o.Clock),
		lookups: newPauses(lookupFirst, lookupMost, o.Clock),
		deleted: map[hns.EndpointID]attempt{},
	}
}

// Result is the closed set of outcomes of an attempt to remove an endpoint.
type Result string

// The results.
const (
	// Removed: the endpoint was deleted, and is gone.
	Removed Result = "removed"
	// AlreadyGone: the endpoint was gone before it could be deleted.
	AlreadyGone Result = "already_gone"
	// Refused: on fresh evidence the endpoint has to stay.
	Refused Result = "refused"
	// Unconfirmed: fresh evidence is not available.
	Unconfirmed Result = "unconfirmed"
	// StillListed: HNS reported the delete as done, but still lists the endpoint.
	StillListed Result = "still_listed"
	// Unknown: the call was abandoned; it may still take effect.
	Unknown Result = "unknown"
	// Failed: HNS refused the delete.
	Failed Result = "failed"
)

func results() []Result {
	return []Result{Removed, AlreadyGone, Refused, Unconfirmed, StillListed, Unknown, Failed}
}

// Run implements [pass.Action]. Conflicts come first: they affect a pod.
func (r *Remover) Run(ctx context.Context, pass pass.Pass) time.Duration {
	r.verify(ctx, pass)
	unverified := len(r.deleted)
	conflicts, orphans := r.enforced(pass)
	if r.removeAll(ctx, pass, r.proveConflicts(ctx, pass, conflicts), "") {
		step, version := r.nextOrphans(ctx, pass, orphans)
		r.removeAll(ctx, pass, step, version)
	}
	r.lookUpAgain(ctx, pass)
	for _, p := range []*pauses{r.backoff, r.hung, r.lookups} {
		p.forget()
	}
	if len(r.deleted) > unverified {
		return r.opts.Config.Poll.FastInterval.Duration // to verify what was deleted
	}
	return r.retry(pass, conflicts)
}

// retry returns how soon a conflict that could not be removed now should be tried again.
func (r *Remover) retry(p pass.Pass, conflicts []verdict.Verdict) time.Duration {
	var next time.Duration
	for _, v := range conflicts {
		wait := r.left(v, p.Evidence.Now)
		if wait <= 0 {
			wait = r.opts.Config.Poll.FastInterval.Duration
		}
		next = pass.Soonest(next, wait)
	}
	return next
}

// maxReadAge is how old the lists of pods may be when an endpoint is deleted.
const maxReadAge = 10 * time.Second

// removeAll tries to remove each endpoint that no brake keeps, and reports whether the pass may delete more (invariant
// 4). Pods are read once for all endpoints, not older than the resource version.
func (r *Remover) removeAll(
	ctx context.Context, pass pass.Pass, removable []verdict.Verdict, version string,
) bool {
	removable = r.released(removable, pass.Evidence.Now)
	var read time.Time
	pods := sync.OnceValues(func() (claims, error) {
		read = r.opts.Clock.Now()
		return r.opts.Confirmer.readAgain(ctx, version, removable)
	})
	for at, v := range removable {
		if !read.IsZero() && r.opts.Clock.Since(read) >= maxReadAge || v.Kind == verdict.Orphan && r.over() {
			r.keep(BrakePace, v)
			continue
		}
		done := r.remove(ctx, pass, v, pods)
		if done.result == Removed {
			r.deleted[v.Endpoint.ID] = done
		} else {
			r.record(ctx, done)
		}
		if stops(done.result) {
			r.keep(BrakeFailure, removable[at+1:]...)
			return false
		}
	}
	return true
}

// stops reports whether a pass deletes nothing more after a result (invariant 4). If fresh evidence is not available
// for one endpoint, it will not be for the next.
func stops(r Result) bool { return r == Failed || r == Unknown || r == Unconfirmed }

// remove deletes one endpoint if it still may be deleted. [Removed] means that HNS reported success.
func (r *Remover) remove(ctx context.Context, pass pass.Pass, v verdict.Verdict, pods lookup) attempt {
	done := attempt{
		verdict: v, before: sharers(pass.Evidence.Snapshot, v), took: r.opts.Clock.Since(pass.StaleSince[v.Endpoint.ID]),
	}
	r.backoff.begin(v.Address().String())
	if err := r.opts.Confirmer.confirm(ctx, pass, v, pods); err != nil {
		done.result, done.err = resultOf(err), err
		if errors.Is(err, hns.ErrTimeout) {
			r.hung.begin(string(v.Endpoint.ID))
		}
		return done
	}
	done.err = r.opts.HNS.DeleteEndpoint(ctx, v.Endpoint.ID)
	if v.Kind == verdict.Orphan {
		r.pace(pass)
	}
	switch {
	case done.err == nil:
		done.result = Removed
	case errors.Is(done.err, hns.ErrNotFound):
		done.result = AlreadyGone
	case errors.Is(done.err, hns.ErrTimeout), errors.Is(done.err, context.Canceled):
		done.result = Unknown
		r.hung.begin(string(v.Endpoint.ID))
		r.deleted[v.Endpoint.ID] = done
	default:
		done.result = Failed
	}
	return done
}

// lookUpAgain looks up the pods on other nodes that keep endpoints, since these pods are not watched. If a pod on this
// node has the address too, it may be waiting for the result.
func (r *Remover) lookUpAgain(ctx context.Context, pass pass.Pass) {
	var due []verdict.Verdict
	for _, v := range pass.Verdicts {
		pause := r.lookups
		if v.Kind == verdict.Contested {
			pause = r.backoff
		}
		if key := v.Address().String(); v.Reason == verdict.ReasonPodElsewhere && pause.left(key, pass.Evidence.Now) <= 0 {
			pause.begin(key)
			due = append(due, v)
		}
	}
	if len(due) == 0 {
		return
	}
	if _, err := r.opts.Confirmer.readClaims(ctx, "", due); err != nil {
		logf.FromContext(ctx).Error(err, "Cannot look up the pods on other nodes that use addresses of remote endpoints; "+
			"keeping the endpoints", "endpoints", len(due))
	}
}

// verify checks the deletions of earlier passes (invariant 5). An endpoint whose delete did nothing is decided again. A
// delete that did not return may take effect for as long as its endpoint is left alone.
func (r *Remover) verify(ctx context.Context, pass pass.Pass) {
	if len(r.deleted) == 0 {
		return
	}
	present := sets.New[hns.EndpointID]()
	for _, e := range pass.Evidence.Snapshot.Endpoints {
		present.Insert(e.ID)
	}
	for id, done := range r.deleted {
		done.after = sharers(pass.Evidence.Snapshot, done.verdict)
		switch {
		case !present.Has(id):
			done.result, done.err = Removed, nil
			r.record(ctx, done)
			r.recordReferrers(ctx, done.verdict)
		case done.result == Removed:
			done.result = StillListed
			r.record(ctx, done)
		case r.hung.left(string(id), pass.Evidence.Now) > 0:
			continue
		}
		delete(r.deleted, id)
	}
}
