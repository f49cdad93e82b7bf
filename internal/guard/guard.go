// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/hnsguard/hnsguard/internal/action"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/slicewatch"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Collector collects the evidence of a pass, and remembers from one pass to the next.
type Collector interface {
	// Collect returns the evidence of this moment, or an error if it is not complete.
	Collect(ctx context.Context) (verdict.Evidence, error)
	// Remember records the verdicts on it.
	Remember(verdicts []verdict.Verdict)
	// FreshlyWaiting reports whether a pod of the node has been waiting for its address for a short time.
	FreshlyWaiting() bool
}

// Options configure a guard.
type Options struct {
	// Config is the policy. Required.
	Config config.Config
	// Collector collects the evidence. Required.
	Collector Collector
	// Index gets the pods of the node, and Services where they are needed. Required by [Guard.SetupWithManager].
	Index *cluster.Index
	// Slices is the watch of EndpointSlices. Required by [Guard.SetupWithManager].
	Slices *slicewatch.Watch
	// Actions run in every pass, in this order. What saves a pod comes first. None by default.
	Actions []action.Action
	// Hung returns how long HNS has been leaving calls unanswered, as many as it may. Never by default.
	Hung func() time.Duration
	// Events gets the Events on pods. Required.
	Events events.EventRecorder
	// Metrics are the measurements. Required.
	Metrics *Metrics
	// Clock is the source of time. Required.
	Clock clock.Clock
}

// Request requests a look at the node. There is only one, so any number of events makes one pass.
type Request struct{}

// Guard is the reconciler. controller-runtime never runs two passes at a time.
type Guard struct {
	opts   Options
	ledger ledger
	health health
	// idle is set while there is no pod network.
	idle bool
	// overlay is closed when the pod network turns out to be an overlay, for which Services have to be known.
	overlay *signal
}

var _ reconcile.TypedReconciler[Request] = (*Guard)(nil)

// New returns a guard.
func New(o Options) *Guard {
	if o.Hung == nil {
		o.Hung = func() time.Duration { return 0 }
	}
	return &Guard{
		opts: o, ledger: ledger{}, health: newHealth(o.Clock, o.Config.Poll.SlowInterval.Duration), overlay: newSignal(),
	}
}

// Reconcile is one pass over the node. It returns no error: what fails is recorded, and the next pass comes in any case,
// at an interval of the guard's own choosing.
func (g *Guard) Reconcile(ctx context.Context, _ Request) (reconcile.Result, error) {
	start := g.opts.Clock.Now()
	g.health.begin(start)
	pass, err := g.observe(ctx)
	if errors.Is(err, inventory.ErrNoPodNetwork) {
		g.recordIdle(ctx, err)
		g.health.end(g.opts.Clock.Now(), nil)
		return reconcile.Result{RequeueAfter: g.opts.Config.Poll.SlowInterval.Duration}, nil
	}
	g.idle = false
	if err != nil {
		g.recordUnknown(ctx, err)
		g.health.end(g.opts.Clock.Now(), err)
		return reconcile.Result{RequeueAfter: g.opts.Config.Poll.SlowInterval.Duration}, nil
	}
	next := g.opts.Config.Poll.SlowInterval.Duration
	if pass.Waiting {
		next = g.opts.Config.Poll.FastInterval.Duration
	}
	for _, a := range g.opts.Actions {
		next = action.Soonest(next, a.Run(ctx, pass))
	}
	g.recordPass(start)
	g.health.end(g.opts.Clock.Now(), nil)
	return reconcile.Result{RequeueAfter: next}, nil
}

// observe collects the evidence of a pass and decides, or fails (invariant 1).
func (g *Guard) observe(ctx context.Context) (action.Pass, error) {
	evidence, err := g.opts.Collector.Collect(ctx)
	if err != nil {
		return action.Pass{}, err
	}
	if evidence.Snapshot.Network.Type == hns.NetworkOverlay {
		g.overlay.set()
	}
	verdicts := verdict.Decide(evidence)
	g.opts.Collector.Remember(verdicts)
	changes := g.ledger.enter(verdicts, evidence.Now)
	g.recordVerdicts(ctx, verdicts, changes)
	g.recordStale(changes, evidence.Now)
	return action.Pass{
		Evidence: evidence, Verdicts: verdicts, StaleSince: g.ledger.staleSince(), Waiting: g.opts.Collector.FreshlyWaiting(),
	}, nil
}
