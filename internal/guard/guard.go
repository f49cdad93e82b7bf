// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// HNS is what the guard asks of HNS besides its inventory.
type HNS interface {
	ListEndpointIDs(ctx context.Context) ([]hns.EndpointID, error)
	Endpoint(ctx context.Context, id hns.EndpointID) (hns.Endpoint, error)
	DeleteEndpoint(ctx context.Context, id hns.EndpointID) error
	CreateRemoteEndpoint(ctx context.Context, spec hns.RemoteSpec) (hns.Endpoint, error)
}

// Inventory is where the guard learns what is in HNS.
type Inventory interface {
	Observe(ctx context.Context) (inventory.Snapshot, error)
	LoadBalancers(ctx context.Context) ([]hns.LoadBalancer, error)
}

// Freshness tells whether what is known of EndpointSlices is up to date.
type Freshness interface {
	// CaughtUp reports whether the watch of EndpointSlices has seen everything that the API server held a short time ago.
	// An error means that nobody knows.
	CaughtUp(ctx context.Context) (bool, error)
	// Listed reads all EndpointSlices from the API server itself and returns the addresses that they list. In a large
	// cluster that is much to read.
	Listed(ctx context.Context) (sets.Set[netip.Addr], error)
}

// Repairer takes care of pods that have lost their endpoint.
type Repairer interface {
	Run(ctx context.Context, snapshot inventory.Snapshot, view cluster.View)
}

// Flusher keeps kube-proxy's record of terminated addresses from harming pods.
type Flusher interface {
	// Changed is told of every change of an EndpointSlice; either side may be nil.
	Changed(before, after *discoveryv1.EndpointSlice)
	// Pass is told of every snapshot, and whether it is urgent: a pod of the node waits for its address. It returns how
	// soon the next snapshot should come; zero means that there is no hurry.
	Pass(ctx context.Context, snapshot inventory.Snapshot, profile kubeproxy.Profile, urgent bool) time.Duration
}

// ReuseMeter measures how soon addresses are reused.
type ReuseMeter interface {
	// Changed is told of every change of an EndpointSlice, after the index; either side may be nil.
	Changed(before, after *discoveryv1.EndpointSlice)
	// Look is told of the pods in every complete pass.
	Look(view cluster.View)
}

// Reprogrammer takes care of load balancers that name an endpoint which is gone.
type Reprogrammer interface {
	// Pass is told of all such load balancers in every pass. It returns how soon the next should come; zero means that
	// there is no hurry.
	Pass(ctx context.Context, dangling []hns.LoadBalancer) time.Duration
}

// Options are what a guard is made of. All fields are required.
type Options struct {
	// Node is the name of this node.
	Node      string
	Config    config.Config
	HNS       HNS
	Inventory Inventory
	// Index is the view of the cluster. [Guard.SetupWithManager] keeps it current.
	Index *cluster.Index
	// Pods reads pods from the API server, not from a cache.
	Pods      client.Reader
	Freshness Freshness
	// KubeProxy tells what is known of the node's kube-proxy at the moment.
	KubeProxy    func() kubeproxy.Profile
	Repairer     Repairer
	Flusher      Flusher
	Reprogrammer Reprogrammer
	Reuse        ReuseMeter
	Events       events.EventRecorder
	Metrics      *Metrics
	Clock        clock.Clock
}

// Request asks for a look at the node. There is only one, so that any number of events makes one pass.
type Request struct{}

// Guard is the reconciler. Its passes follow one another; controller-runtime never runs two at a time.
type Guard struct {
	Options
	memory  memory
	limiter *rate.Limiter
	backoff *flowcontrol.Backoff
	health  health
	// overlay is closed when the pod network turns out to be an overlay, for which Services have to be known.
	overlay   *signal
	balancers *balancers
	// nextList is when all EndpointSlices may be read again.
	nextList time.Time
}

var _ reconcile.TypedReconciler[Request] = (*Guard)(nil)

// The backoff of an address whose endpoint does not stay away: kube-proxy may make it again at once, or HNS may
// report a delete that it did not do.
const (
	backoffFirst = time.Second
	backoffMost  = time.Minute
)

// New makes a guard.
func New(o Options) *Guard {
	return &Guard{
		Options:   o,
		memory:    newMemory(),
		limiter:   rate.NewLimiter(rate.Limit(o.Config.Removals.PerSecond), o.Config.Removals.Burst),
		backoff:   flowcontrol.NewFakeBackOff(backoffFirst, backoffMost, o.Clock), // "fake" is the one that takes a clock
		health:    newHealth(o.Clock, o.Config.Poll.SlowInterval.Duration),
		overlay:   newSignal(),
		balancers: newBalancers(),
	}
}

// Reconcile is one pass over the node. It returns no error: what fails is recorded, and the next pass comes in any
// case, at an interval of the guard's own choosing.
func (g *Guard) Reconcile(ctx context.Context, _ Request) (reconcile.Result, error) {
	start := g.Clock.Now()
	g.health.begin(start)
	evidence, verdicts, err := g.observe(ctx)
	if err != nil {
		g.recordUnknown(ctx, err)
		g.health.end(g.Clock.Now(), err)
		return reconcile.Result{RequeueAfter: g.Config.Poll.SlowInterval.Duration}, nil
	}
	changes := g.memory.take(verdicts, evidence.Now)
	g.recordVerdicts(ctx, verdicts, changes)
	g.recordStale(changes, evidence.Now)
	g.Reuse.Look(evidence.Cluster)
	g.act(ctx, evidence, verdicts)
	g.shield(ctx, evidence, verdicts)
	waiting := g.memory.anyFreshlyWaiting(evidence.Now, g.Config.Poll.FastDuration.Duration)
	flush := g.Flusher.Pass(ctx, evidence.Snapshot, evidence.KubeProxy, waiting)
	reprogram := g.Reprogrammer.Pass(ctx, g.balancers.confirmed())
	g.Repairer.Run(ctx, evidence.Snapshot, evidence.Cluster)
	g.recordPass(start)
	g.health.end(g.Clock.Now(), nil)
	return reconcile.Result{RequeueAfter: soonest(g.interval(waiting, verdicts), flush, reprogram)}, nil
}

// observe gathers the evidence of a pass and has it judged, or fails (invariant 1).
func (g *Guard) observe(ctx context.Context) (verdict.Evidence, []verdict.Verdict, error) {
	snapshot, err := g.Inventory.Observe(ctx)
	if err != nil {
		g.memory.blink()
		return verdict.Evidence{}, nil, err
	}
	if snapshot.Network.Type == hns.NetworkOverlay {
		g.overlay.set()
	}
	evidence := g.evidence(snapshot)
	g.memory.seeWaiting(evidence.Cluster.Waiting(), evidence.Now)
	verdicts := verdict.Decide(evidence)
	if g.balancers.wanted(evidence.Now, verdicts) {
		g.readLoadBalancers(ctx, &evidence.Snapshot)
		verdicts = verdict.Decide(evidence)
	}
	return evidence, verdicts, nil
}

// evidence puts a snapshot beside what is known of the cluster now.
func (g *Guard) evidence(snapshot inventory.Snapshot) verdict.Evidence {
	return verdict.Evidence{
		Snapshot:  snapshot,
		Cluster:   g.Index.View(snapshot.Addresses()),
		KubeProxy: g.KubeProxy(),
		Policy: verdict.Policy{
			Exclusions: g.Config.ExcludedPrefixes(), OrphanGrace: g.Config.Orphan.GracePeriod.Duration,
			OrphanGraceUrgent: g.Config.Orphan.GracePeriodWhileWaiting.Duration,
		},
		UnclaimedSince: g.memory.unclaimed,
		Urgent:         g.memory.anyWaitsInVain(g.Clock.Now()),
		Now:            g.Clock.Now(),
	}
}

// soonest is the shortest of several intervals, of which all but the first may be zero for none.
func soonest(interval time.Duration, others ...time.Duration) time.Duration {
	for _, other := range others {
		if other > 0 {
			interval = min(interval, other)
		}
	}
	return interval
}

// interval is the time until the next pass, unless something happens before.
func (g *Guard) interval(waiting bool, verdicts []verdict.Verdict) time.Duration {
	if waiting {
		return g.Config.Poll.FastInterval.Duration
	}
	for _, v := range verdicts {
		// A conflict was removed just now, and the flusher wants to see that, or is held up by a brake.
		if v.Kind == verdict.Conflict || v.Kind == verdict.EarlyConflict {
			return g.Config.Poll.FastInterval.Duration
		}
	}
	return g.Config.Poll.SlowInterval.Duration
}
