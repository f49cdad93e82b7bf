// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/verdict"
)

// The reasons of the Events. They are part of the interface: people select by them.
const (
	// EventRemoved on a pod: the stale remote endpoint of its address is gone.
	EventRemoved = "StaleEndpointRemoved"
	// EventNotRemoved on a pod: removing it did not work.
	EventNotRemoved = "StaleEndpointNotRemoved"
	// EventOrphanCap on the node: there are more orphans than expected.
	EventOrphanCap = "TooManyOrphanEndpoints"
)

// The action of every Event.
const eventAction = "Removing"

// record reports what became of an attempt to remove an endpoint.
func (r *Remover) record(ctx context.Context, done attempt) {
	v := done.verdict
	r.opts.Metrics.removals.WithLabelValues(string(v.Kind), string(done.result)).Inc()
	log := logf.FromContext(ctx).WithValues(v.KeysAndValues()...).WithValues("result", done.result)
	switch done.result {
	case Removed, AlreadyGone:
		r.opts.Metrics.detection.WithLabelValues(string(v.Kind)).Observe(done.took.Seconds())
		log.Info("Removed a stale remote endpoint", "after", done.took.Round(time.Millisecond))
		r.eventOnPods(v, corev1.EventTypeNormal, EventRemoved,
			"Removed the stale remote endpoint %s that had this pod's address %s", v.Endpoint.ID, v.Address())
	case Refused:
		log.Info("Kept a remote endpoint: fresh evidence speaks for it", "because", done.err.Error())
	default:
		log.Error(done.err, "Cannot remove a stale remote endpoint")
		r.eventOnPods(v, corev1.EventTypeWarning, EventNotRemoved,
			"Could not remove the stale remote endpoint %s that has this pod's address %s: %s",
			v.Endpoint.ID, v.Address(), done.result)
	}
}

// recordCap reports that there are more orphans than expected.
func (r *Remover) recordCap(ctx context.Context, n int) {
	limits := r.opts.Config.Orphan
	logf.FromContext(ctx).Info("There are more orphans than orphan.maxPerPass; removing them in small steps, each "+
		"after a list of all EndpointSlices", "orphans", n, "maxPerPass", limits.MaxPerPass, "maxPerStep", limits.MaxPerStep)
	node := &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: r.opts.Node, UID: types.UID(r.opts.Node)}
	r.opts.Events.Eventf(node, nil, corev1.EventTypeWarning, EventOrphanCap, eventAction,
		"%d remote HNS endpoints look like orphans, more than orphan.maxPerPass (%d); removing %d at a time",
		n, limits.MaxPerPass, limits.MaxPerStep)
}

// recordReferrers names the load balancers that referred to what was deleted, when they were last read. kube-proxy does
// not notice by itself: it programs a Service again when its endpoints change.
func (r *Remover) recordReferrers(ctx context.Context, v verdict.Verdict) {
	balancers, _, _ := r.opts.LoadBalancers.Last()
	for _, lb := range balancers {
		if !lb.Refers(v.Endpoint.ID) {
			continue
		}
		r.opts.Metrics.orphaned.Inc()
		logf.FromContext(ctx).WithValues(v.KeysAndValues()...).Info(
			"A load balancer referred to the removed endpoint, and does until kube-proxy programs its Service again",
			"loadBalancerID", lb.ID, "vips", lb.FrontendVIPs, "ports", lb.Ports)
	}
}

// eventOnPods records one Event on each pod that a verdict is about.
func (r *Remover) eventOnPods(v verdict.Verdict, kind, reason, note string, args ...any) {
	for _, pod := range v.Pods {
		r.opts.Events.Eventf(pod.Reference(), nil, kind, reason, eventAction, note, args...)
	}
}
