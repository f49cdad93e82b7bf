// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// The reasons of the Events that the guard records. They are part of its interface: people select by them.
const (
	// EventFound on a pod, in observe mode: the stale endpoint would have been removed.
	EventFound = "StaleEndpointFound"
	// EventHeld on a pod: it cannot be removed yet without the pod losing its own endpoint to kube-proxy.
	EventHeld = "StaleEndpointHeld"
)

// The action of every Event.
const eventAction = "Deciding"

// recordUnknown reports that a pass could not observe the node.
func (g *Guard) recordUnknown(ctx context.Context, err error) {
	g.opts.Metrics.passes.WithLabelValues(passUnknown).Inc()
	logf.FromContext(ctx).Error(err, "Cannot observe the node; nothing is touched", "class", hns.ClassOf(err))
}

// recordIdle reports that there is no network to guard: not yet on a fresh node, or never with some CNIs.
func (g *Guard) recordIdle(ctx context.Context, why error) {
	g.opts.Metrics.passes.WithLabelValues(passIdle).Inc()
	if !g.idle {
		logf.FromContext(ctx).Info("There is nothing to guard yet", "because", why.Error())
	}
	g.idle = true
}

// recordPass reports that a pass is complete.
func (g *Guard) recordPass(start time.Time) {
	now := g.opts.Clock.Now()
	g.opts.Metrics.passes.WithLabelValues(passComplete).Inc()
	g.opts.Metrics.duration.Observe(now.Sub(start).Seconds())
	g.opts.Metrics.lastPass.Set(float64(now.UnixMilli()) / 1000)
}

// recordVerdicts counts all verdicts and reports those that are new.
func (g *Guard) recordVerdicts(ctx context.Context, verdicts, changes []verdict.Verdict) {
	count := map[verdict.Kind]int{}
	leaked := 0
	for _, v := range verdicts {
		count[v.Kind]++
		if v.Reason == verdict.ReasonLocalLeaked {
			leaked++
		}
	}
	for _, kind := range verdict.Kinds() {
		g.opts.Metrics.endpoints.WithLabelValues(string(kind)).Set(float64(count[kind]))
	}
	g.opts.Metrics.leaked.Set(float64(leaked))
	for _, v := range changes {
		g.recordChange(ctx, v)
	}
}

func (g *Guard) recordChange(ctx context.Context, v verdict.Verdict) {
	log := logf.FromContext(ctx).WithValues(v.KeysAndValues()...)
	switch {
	case v.Kind == verdict.Held:
		log.Info("Holding a stale remote endpoint: this kube-proxy may delete the pod's own endpoint if it goes first")
		g.eventOnPods(v, corev1.EventTypeWarning, EventHeld,
			"The stale remote endpoint %s has this pod's address %s. It is held until kube-proxy is known to have forgotten "+
				"the address, because the kube-proxy of this node may delete the pod's own endpoint otherwise",
			v.Endpoint.ID, v.Address())
	case v.Kind.Removes() && !g.opts.Config.Enforces(removal.ModeOf(g.opts.Config, v.Kind)):
		log.Info("Observing: this remote endpoint would be removed")
		g.eventOnPods(v, corev1.EventTypeNormal, EventFound,
			"The stale remote endpoint %s has this pod's address %s. hnsguard only observes and does not remove it",
			v.Endpoint.ID, v.Address())
	case v.Reason == verdict.ReasonLocalLeaked:
		log.Info("Found a leaked local endpoint: its address is in use on another node")
	default:
		log.V(1).Info("Decided")
	}
}

// recordStale counts the endpoints that have just been found to be stale, and measures the age of the oldest.
func (g *Guard) recordStale(changes []verdict.Verdict, now time.Time) {
	for _, v := range changes {
		if since := g.ledger[v.Endpoint.ID].stale; !since.IsZero() && since.Equal(now) {
			g.opts.Metrics.found.WithLabelValues(string(v.Kind)).Inc()
		}
	}
	ages := g.ledger.oldest(now)
	for _, kind := range verdict.Kinds() {
		if kind.Stale() {
			g.opts.Metrics.age.WithLabelValues(string(kind)).Set(ages[kind].Seconds())
		}
	}
}

// eventOnPods records one Event on each pod that a verdict is about.
func (g *Guard) eventOnPods(v verdict.Verdict, kind, reason, note string, args ...any) {
	for _, pod := range v.Pods {
		g.opts.Events.Eventf(pod.Reference(), nil, kind, reason, eventAction, note, args...)
	}
}
