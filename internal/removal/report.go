// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// The reasons of the Events. They are part of the interface: users select Events by them.
const (
	// EventRemoved on a pod: the stale remote endpoint with its address is gone.
	EventRemoved = "StaleEndpointRemoved"
	// EventNotRemoved on a pod: the stale endpoint could not be removed.
	EventNotRemoved = "StaleEndpointNotRemoved"
	// EventOrphanCap on the node: there are more orphans than expected.
	EventOrphanCap = "TooManyOrphanEndpoints"
)

// The action of every Event.
const eventAction = "Removing"

// record reports the outcome of an attempt to remove an endpoint.
func (r *Remover) record(ctx context.Context, done attempt) {
	v := done.verdict
	r.opts.Metrics.removals.WithLabelValues(string(v.Kind), string(done.result)).Inc()
	entry := history.Of(history.Removal, string(done.result), v).Because(done.err).Took(done.took)
	entry.Before, entry.After = done.before, done.after
	r.opts.History.Add(entry)
	log := logf.FromContext(ctx).WithValues(v.KeysAndValues()...).
		WithValues("result", done.result, "before", done.before, "after", done.after)
	switch done.result {
	case Removed, AlreadyGone:
		r.opts.Metrics.detection.WithLabelValues(string(v.Kind)).Observe(done.took.Seconds())
		log.Info("Removed a stale remote endpoint", "took", done.took.Round(time.Millisecond))
		r.eventOnPods(v, corev1.EventTypeNormal, EventRemoved,
			"Removed the stale remote endpoint %s that had this pod's address %s", v.Endpoint.ID, v.Address())
	case Refused:
		log.Info("Removal refused on re-check", "because", done.err.Error())
	default:
		log.Error(done.err, "Cannot remove a stale remote endpoint")
		r.eventOnPods(v, corev1.EventTypeWarning, EventNotRemoved,
			"Could not remove the stale remote endpoint %s that has this pod's address %s: %s",
			v.Endpoint.ID, v.Address(), done.result)
	}
}

// sharers describes every endpoint with the address of a verdict, on any network: what an operator would have listed
// before and after the removal.
func sharers(snapshot verdict.Snapshot, v verdict.Verdict) []string {
	all := []string{}
	for i := range snapshot.Endpoints {
		if e := &snapshot.Endpoints[i].Endpoint; e.Has(v.Address()) {
			all = append(all, describe(*e))
		}
	}
	return all
}

func describe(e hns.Endpoint) string {
	kind, use := "local", "not attached"
	if e.Remote() {
		kind = "remote"
	}
	if e.Attached() {
		use = "attached"
	}
	return fmt.Sprintf("%s %s %q %s on network %s, %s", kind, e.ID, e.Name, e.MAC, e.Network, use)
}

// keep records the brake that keeps endpoints in this pass.
func (r *Remover) keep(brake Brake, kept ...verdict.Verdict) {
	for _, v := range kept {
		r.opts.Metrics.skipped(v.Kind, brake, 1)
		r.opts.History.Add(history.Of(history.Brake, string(brake), v))
	}
}

// keepMany records how many orphans have to wait for their turn. They are too many to name.
func (r *Remover) keepMany(brake Brake, n int) {
	if n == 0 {
		return
	}
	r.opts.Metrics.skipped(verdict.Orphan, brake, n)
	r.opts.History.Add(history.Entry{
		Act: history.Brake, Result: string(brake), Verdict: verdict.Orphan, Detail: fmt.Sprintf("%d orphans wait", n),
	})
}

// recordCap reports that there are more orphans than expected.
func (r *Remover) recordCap(ctx context.Context, n int) {
	limits := r.opts.Config
	logf.FromContext(ctx).Info("There are more orphans than orphan.maxPerPass; removing them in small steps, each "+
		"after a list of all EndpointSlices",
		"orphans", n, "maxPerPass", limits.Orphan.MaxPerPass, "perStep", limits.Pace.OrphansPerStep)
	node := &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: r.opts.Node, UID: types.UID(r.opts.Node)}
	r.opts.Events.Eventf(node, nil, corev1.EventTypeWarning, EventOrphanCap, eventAction,
		"%d remote HNS endpoints look like orphans, more than orphan.maxPerPass (%d); removing %d at a time",
		n, limits.Orphan.MaxPerPass, limits.Pace.OrphansPerStep)
}

// recordReferrers names the load balancers that referred to the deleted endpoint when they were last read. kube-proxy
// does not notice the deletion: it programs a Service again only when its endpoints change.
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

// eventOnPods records one Event on each pod of a verdict.
func (r *Remover) eventOnPods(v verdict.Verdict, kind, reason, note string, args ...any) {
	for _, pod := range v.Pods {
		r.opts.Events.Eventf(pod.Reference(), nil, kind, reason, eventAction, note, args...)
	}
}
