// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// recordUnknown says that a pass could not see the node.
func (g *Guard) recordUnknown(ctx context.Context, err error) {
	g.Metrics.passes.WithLabelValues(passUnknown).Inc()
	logf.FromContext(ctx).Error(err, "The state of the node is unknown; nothing is touched", "class", hns.ClassOf(err))
}

// recordPass says that a pass is complete.
func (g *Guard) recordPass(start time.Time) {
	now := g.Clock.Now()
	g.Metrics.passes.WithLabelValues(passComplete).Inc()
	g.Metrics.duration.Observe(now.Sub(start).Seconds())
	g.Metrics.lastPass.Set(float64(now.UnixMilli()) / 1000)
}

// recordVerdicts counts all verdicts and tells of those that are new.
func (g *Guard) recordVerdicts(ctx context.Context, verdicts, changes []verdict.Verdict) {
	count := map[verdict.Kind]int{}
	for _, v := range verdicts {
		count[v.Kind]++
	}
	for _, kind := range verdict.Kinds() {
		g.Metrics.endpoints.WithLabelValues(string(kind)).Set(float64(count[kind]))
	}
	for _, v := range changes {
		log := withVerdict(logf.FromContext(ctx), v)
		switch {
		case v.Kind == verdict.Held:
			log.Info("Holding a stale remote endpoint until no slice lists its address: " +
				"this kube-proxy would delete the pod's own endpoint")
			g.eventOnPods(v, corev1.EventTypeWarning, EventHeld,
				"The stale remote endpoint %s has this pod's address %s. It stays until no EndpointSlice lists the address "+
					"for another node, because the kube-proxy of this node would delete the pod's own endpoint otherwise",
				v.Endpoint.ID, v.Address())
		case v.Kind.Removes() && !g.Config.Enforces(g.modeOf(v.Kind)):
			log.Info("Observing: this remote endpoint would be removed")
			g.eventOnPods(v, corev1.EventTypeNormal, EventFound,
				"The stale remote endpoint %s has this pod's address %s. hnsguard only observes and does not remove it",
				v.Endpoint.ID, v.Address())
		default:
			log.V(1).Info("Decided")
		}
	}
}

// recordStale counts the endpoints that have just been found to be stale, and says how old the oldest are.
func (g *Guard) recordStale(changes []verdict.Verdict, now time.Time) {
	for _, v := range changes {
		if g.memory.foundAt(v.Endpoint.ID, now) {
			g.Metrics.found.WithLabelValues(string(v.Kind)).Inc()
		}
	}
	ages := g.memory.oldest(now)
	for _, kind := range verdict.Kinds() {
		if kind.Stale() {
			g.Metrics.age.WithLabelValues(string(kind)).Set(ages[kind].Seconds())
		}
	}
}

// recordResult tells what came of an attempt to remove an endpoint.
func (g *Guard) recordResult(ctx context.Context, v verdict.Verdict, result Result, err error) {
	g.Metrics.removals.WithLabelValues(string(v.Kind), string(result)).Inc()
	log := withVerdict(logf.FromContext(ctx), v).WithValues("result", result)
	switch result {
	case Removed, AlreadyGone:
		took := time.Duration(0)
		if detected := g.memory.judged[v.Endpoint.ID].detected; !detected.IsZero() {
			took = g.Clock.Since(detected)
		}
		g.Metrics.detection.WithLabelValues(string(v.Kind)).Observe(took.Seconds())
		log.Info("Removed a stale remote endpoint", "after", took.Round(time.Millisecond))
		g.eventOnPods(v, corev1.EventTypeNormal, EventRemoved,
			"Removed the stale remote endpoint %s that had this pod's address %s", v.Endpoint.ID, v.Address())
	case Refused:
		log.Info("Kept a remote endpoint: fresh evidence speaks for it", "because", err.Error())
	default:
		log.Error(err, "A stale remote endpoint was not removed")
		g.eventOnPods(v, corev1.EventTypeWarning, EventNotRemoved,
			"The stale remote endpoint %s has this pod's address %s and could not be removed: %s",
			v.Endpoint.ID, v.Address(), result)
	}
}

// recordCap tells that orphans are left alone because there are too many.
func (g *Guard) recordCap(ctx context.Context, n int) {
	logf.FromContext(ctx).Info("Keeping all orphans: there are more than orphan.maxPerPass; check that hnsguard sees all "+
		"EndpointSlices, then raise the limit", "orphans", n, "maxPerPass", g.Config.Orphan.MaxPerPass)
	g.Events.Eventf(nodeReference(g.Node), nil, corev1.EventTypeWarning, EventOrphanCap, eventAction,
		"%d remote HNS endpoints look like orphans, more than the %d that may be removed at one time; none is removed",
		n, g.Config.Orphan.MaxPerPass)
}

// recordLoadBalancers counts the load balancers that name endpoints which do not exist, and tells of the new ones.
func (g *Guard) recordLoadBalancers(ctx context.Context, news []hns.LoadBalancer) {
	for _, lb := range news {
		logf.FromContext(ctx).Info("A load balancer names an endpoint that is gone",
			"loadBalancerID", lb.ID, "vips", lb.FrontendVIPs, "ports", lb.Ports)
	}
	g.Metrics.dangling.Set(float64(len(g.balancers.confirmed())))
}

// recordDangling names the load balancers that referred to what was just deleted. kube-proxy does not notice by itself:
// it programs a Service again when its endpoints change.
func (g *Guard) recordDangling(ctx context.Context, snapshot inventory.Snapshot, deleted []verdict.Verdict) {
	if !snapshot.LoadBalancersKnown && !g.Clock.Now().Before(g.balancers.next) {
		g.readLoadBalancers(ctx, &snapshot)
	}
	for _, lb := range snapshot.LoadBalancers {
		for _, v := range deleted {
			if !lb.Refers(v.Endpoint.ID) {
				continue
			}
			g.Metrics.orphaned.Inc()
			withVerdict(logf.FromContext(ctx), v).Info("A load balancer referred to the removed endpoint and does so until "+
				"kube-proxy programs its Service again", "loadBalancerID", lb.ID, "vips", lb.FrontendVIPs, "ports", lb.Ports)
		}
	}
}

func withVerdict(log logr.Logger, v verdict.Verdict) logr.Logger {
	return log.WithValues("endpointID", v.Endpoint.ID, "ip", v.Address().String(), "verdict", v.Kind, "reason", v.Reason,
		"pods", v.Pods, "localEndpointIDs", v.Locals, "listings", len(v.Listings))
}
