// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/slicewatch"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Collector collects the evidence of a pass, and remembers what the next pass needs.
type Collector interface {
	// Collect returns the present evidence, or an error if it is incomplete. If only the pod network is unknown, because
	// HNS has none or several, Collect returns the rest of the evidence with the error.
	Collect(ctx context.Context) (verdict.Evidence, error)
	// Remember records the verdicts on that evidence.
	Remember(verdicts []verdict.Verdict)
	// FreshlyWaiting reports whether a pod on the node has recently begun to wait for its address.
	FreshlyWaiting() bool
}

// Status receives the outcome of each pass. It is called by one goroutine, and must not block.
type Status interface {
	// Complete is called after a complete pass and its actions. The next pass overwrites only the verdicts.
	Complete(pass pass.Pass, began time.Time)
	// Idle is called if there is nothing to guard, and NetworkGone if HNS has no network for running pods.
	Idle(why error)
	NetworkGone(why error)
	// Unknown is called if the node could not be observed.
	Unknown(err error)
}

// Words phrases findings for Events.
type Words interface {
	// Endpoint explains a verdict. Shared names the local endpoints that share an address.
	Endpoint(v verdict.Verdict) string
	Shared(addr netip.Addr, endpoints []hns.EndpointID) string
}

// Options configure a guard.
type Options struct {
	// Config is the policy. Required.
	Config config.Config
	// Collector collects the evidence. Required.
	Collector Collector
	// Slices is the watch of EndpointSlices, of the node's pods, and of Services where they are needed. Required by
	// [Guard.SetupWithManager].
	Slices *slicewatch.Watch
	// Actions run in every pass, in this order. Actions that save a pod come first. None by default.
	Actions []pass.Action
	// Victims runs after Actions, and also if the pod network is unknown: a running pod needs one. Required.
	Victims pass.Action
	// Hung returns for how long the maximum number of HNS calls has been hanging. Never by default.
	Hung func() time.Duration
	// Words phrases findings for Events. Required.
	Words Words
	// Events records the Events on pods and on the node. Required.
	Events events.EventRecorder
	// History records decisions, and passes that could not observe the node. Default: no history is kept.
	History *history.Ring
	// Status receives the outcome of each pass. Required.
	Status Status
	// Metrics are the measurements. Required.
	Metrics *Metrics
	// Clock is the source of time. Required.
	Clock clock.Clock
}

// Guard is the reconciler. controller-runtime never runs two passes at a time.
type Guard struct {
	opts     Options
	recorder *recorder
	health   *health
	// last are the verdicts of the last pass. The next pass reuses their memory.
	last []verdict.Verdict
}

var _ reconcile.TypedReconciler[Request] = (*Guard)(nil)

// New returns a guard.
func New(o Options) *Guard {
	return &Guard{
		opts: o, recorder: newRecorder(o),
		health: newHealth(o.Clock, o.Config.Poll.SlowInterval.Duration, o.Hung),
	}
}

// forever is how long the guard waits for its first view of the cluster. On a fresh Windows node the address of the API
// server may not work before the node's first pod. Restarting every two minutes, the default, would not help: kubelet
// would only start the agent less and less often. The readiness probe reports what is missing.
const forever = math.MaxInt64 * time.Nanosecond

// SetupWithManager adds the guard to a manager. It does not use the manager's cache.
func (g *Guard) SetupWithManager(mgr manager.Manager) error {
	_, err := builder.TypedControllerManagedBy[Request](mgr).
		Named("guard").
		WatchesRawSource(source.TypedFunc[Request](firstTick)).
		WatchesRawSource(slicewatch.Pods(g.opts.Slices, enqueue)).
		WatchesRawSource(slicewatch.Source(g.opts.Slices, enqueueLater)).
		// Not waited for: without Services the guard only knows less, and pods cannot wait.
		WatchesRawSource(source.TypedFunc[Request](slicewatch.Services(g.opts.Slices, enqueueLater).Start)).
		WithOptions(controller.TypedOptions[Request]{
			MaxConcurrentReconciles: 1,
			NeedLeaderElection:      new(false), // every node has its own agent
			CacheSyncTimeout:        forever,
			LogConstructor:          logFor(mgr.GetLogger()),
		}).
		Build(g)
	if err != nil {
		return fmt.Errorf("building the controller: %w", err)
	}
	return nil
}

// Reconcile is one pass over the node. It returns no error: failures are recorded, and the guard itself chooses when
// the next pass comes.
func (g *Guard) Reconcile(ctx context.Context, _ Request) (reconcile.Result, error) {
	start := g.opts.Clock.Now()
	g.health.begin(start)
	seen, err := g.observe(ctx)
	switch {
	case errors.Is(err, inventory.ErrNoPodNetwork):
		g.withoutNetwork(ctx, seen, err)
		g.health.end(g.opts.Clock.Now(), nil)
		return reconcile.Result{RequeueAfter: g.opts.Config.Poll.SlowInterval.Duration}, nil
	case err != nil:
		if errors.Is(err, inventory.ErrAmbiguousPodNetwork) {
			g.opts.Victims.Run(ctx, seen)
		}
		g.recorder.unknown(ctx, err)
		g.opts.Status.Unknown(err)
		g.health.end(g.opts.Clock.Now(), err)
		return reconcile.Result{RequeueAfter: g.opts.Config.Poll.SlowInterval.Duration}, nil
	}
	next := g.opts.Config.Poll.SlowInterval.Duration
	if seen.Waiting {
		next = g.opts.Config.Poll.FastInterval.Duration
	}
	for _, a := range g.opts.Actions {
		next = pass.Soonest(next, a.Run(ctx, seen))
	}
	next = pass.Soonest(next, g.opts.Victims.Run(ctx, seen))
	g.recorder.complete(start)
	g.opts.Status.Complete(seen, start)
	g.health.end(g.opts.Clock.Now(), nil)
	return reconcile.Result{RequeueAfter: next}, nil
}

// withoutNetwork ends a pass in which HNS has no pod network. This is a fault only if a pod needs one.
func (g *Guard) withoutNetwork(ctx context.Context, seen pass.Pass, why error) {
	g.opts.Victims.Run(ctx, seen)
	locals, view := verdict.LocalsOf(seen.Evidence.Snapshot), seen.Evidence.Cluster
	gone := slices.ContainsFunc(view.Pods, func(p cluster.Pod) bool {
		return locals.StateOf(p, view.Node, seen.Evidence.Now).LacksNetwork()
	})
	g.recorder.withoutNetwork(ctx, why, gone)
	if gone {
		g.opts.Status.NetworkGone(why)
	} else {
		g.opts.Status.Idle(why)
	}
}

// observe collects the evidence of a pass and decides, or fails (invariant 1).
func (g *Guard) observe(ctx context.Context) (pass.Pass, error) {
	evidence, err := g.opts.Collector.Collect(ctx)
	if err != nil {
		return pass.Pass{Evidence: evidence}, err
	}
	g.last = verdict.DecideInto(g.last, evidence)
	g.opts.Collector.Remember(g.last)
	return pass.Pass{
		Evidence: evidence, Verdicts: g.last, StaleSince: g.recorder.verdicts(ctx, evidence, g.last),
		Waiting: g.opts.Collector.FreshlyWaiting(),
	}, nil
}

// Ready is the readiness probe: caches have synced, HNS answers, and the last complete pass was recent.
func (g *Guard) Ready(*http.Request) error { return g.health.ready() }

// Live is the liveness probe: no pass is stuck, and calls to HNS are possible. It does not fail because the API
// server or HNS is down: a restart would not bring them back.
func (g *Guard) Live(*http.Request) error { return g.health.live() }
