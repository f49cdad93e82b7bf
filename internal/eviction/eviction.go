// SPDX-License-Identifier: Apache-2.0

package eviction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// The reasons of the Events on victims.
const (
	// EventVictim: the pod has no endpoint.
	EventVictim = "NetworkEndpointLost"
	// EventNotAttached: the pod has an endpoint that is not attached.
	EventNotAttached = "NetworkEndpointNotAttached"
	// EventEvicted: the pod was evicted because it has no endpoint.
	EventEvicted = "EvictedWithoutNetwork"
	// EventEnding: the pod has lost its endpoint, and should have been gone long ago.
	EventEnding = "NetworkEndpointGoneBeforePod"
)

const eventAction = "Evicting"

// Options configure an evictor.
type Options struct {
	// Enforce allows victims to be evicted. If it is false, they are only reported.
	Enforce bool
	// After is for how long a pod must lack its network to be a victim. Required.
	After time.Duration
	// Sandbox is how much longer a pod must lack its network to be evicted (invariant 7). Default: no longer.
	Sandbox time.Duration
	// MaxGap is the longest time between two passes that still counts as observed. Required.
	MaxGap time.Duration
	// Interval is the shortest time between two evictions. Required.
	Interval time.Duration
	// Client creates the evictions. Required.
	Client client.SubResourceClientConstructor
	// Gate is open while an admission policy restricts what Client evicts.
	// Default: it is always open.
	Gate *admission.Gate
	// Describe explains what a pod lacks; networkGone is set if HNS has no pod network. Required.
	Describe func(v Victim, networkGone bool) string
	// Events records the Events on victims. Required.
	Events events.EventRecorder
	// History records victims and evictions. Default: no history is kept.
	History *history.Ring
	// Metrics are the measurements. Required.
	Metrics *Metrics
	// Clock is the source of time. Required.
	Clock clock.Clock
}

// Evictor finds the victims among the pods of a node. It is for one caller at a time.
type Evictor struct {
	opts     Options
	suspects map[types.UID]*suspect
	victims  []Victim
	// ending are the pods that were ending for too long in the last pass.
	ending []Victim
	// ran is when the last pass ran, evicted when the last eviction was tried.
	ran, evicted time.Time
	// backoff is by controller: if its replacements lose their endpoints too, eviction does not help.
	backoff *flowcontrol.Backoff
}

var _ pass.Action = (*Evictor)(nil)

// Victim is a running pod that lacks its network, or one that has been ending for too long.
type Victim struct {
	Pod cluster.Pod
	// State has [verdict.PodState.LacksNetwork], or is [verdict.PodEndingTooLong].
	State verdict.PodState
	// Since is when the pod was first found in this condition.
	Since time.Time
}

// suspect is a pod that lacked its network in the last pass.
type suspect struct {
	since    time.Time
	reported bool
}

// How soon another pod of the same controller may be evicted.
const (
	backoffFirst = 5 * time.Minute
	backoffMost  = 2 * time.Hour
)

// New returns an evictor.
func New(o Options) *Evictor {
	return &Evictor{
		opts: o, suspects: map[types.UID]*suspect{},
		backoff: flowcontrol.NewFakeBackOff(backoffFirst, backoffMost, o.Clock), // "fake" is the variant that accepts a clock
	}
}

// Run implements [pass.Action]: it finds victims, reports them and, if configured, evicts them.
func (r *Evictor) Run(ctx context.Context, pass pass.Pass) time.Duration {
	lacking, ending, all := r.lacking(pass.Evidence.Snapshot, pass.Evidence.Cluster)
	gone := pass.Evidence.Snapshot.Network.ID == ""
	r.reportEnding(ctx, ending)
	r.victims = r.confirmed(lacking)
	for _, v := range r.victims {
		if s := r.suspects[v.Pod.UID]; !s.reported {
			s.reported = true
			r.report(ctx, v, gone)
		}
	}
	if !r.opts.Enforce {
		return 0
	}
	log := logf.FromContext(ctx).WithValues("victims", len(r.victims))
	switch {
	case len(r.victims) == 0:
	case len(r.victims) == all && all > 1:
		log.Info("Evicting no pods: every pod on the node seems to have lost its network")
	case gone:
		log.Info("Evicting no pods: HNS has no pod network")
	case slices.ContainsFunc(pass.Evidence.Snapshot.Endpoints, mayBeAnyPods):
		log.Info("Evicting no pods: the addresses of an HNS endpoint are unknown")
	default:
		r.evictOne(ctx)
	}
	r.backoff.GC()
	return 0
}

// Lacking returns the victims of the last pass, and the pods that had been ending for too long, each sorted by name.
func (r *Evictor) Lacking() []Victim { return slices.Concat(r.victims, r.ending) }

// mayBeAnyPods reports whether the endpoint may belong to any pod, because its addresses are unknown.
func mayBeAnyPods(e verdict.Endpoint) bool {
	return !e.Remote() && e.Untranslated != "" && len(e.Addresses) == 0
}

// lacking returns the pods that lack their network, those that have been ending for too long, and the number of running
// pods that should have a network.
func (r *Evictor) lacking(snapshot verdict.Snapshot, view cluster.View) (
	lacking, ending []Victim, all int,
) {
	locals, now := verdict.LocalsOf(snapshot), r.opts.Clock.Now()
	for _, pod := range view.Pods {
		switch state := locals.StateOf(pod, view.Node, now); {
		case state.LacksNetwork():
			lacking = append(lacking, Victim{pod, state, now})
			all++
		case state == verdict.PodEndingTooLong:
			ending = append(ending, Victim{pod, state, pod.Ends})
		case state == verdict.PodAttached && pod.Running && !pod.Deleting:
			all++
		}
	}
	return lacking, ending, all
}

// confirmed returns the pods that have lacked their network for long enough (invariant 1). Time in which the node was
// not observed does not count.
func (r *Evictor) confirmed(lacking []Victim) []Victim {
	now := r.opts.Clock.Now()
	blind := now.Sub(r.ran) > r.opts.MaxGap
	r.ran = now
	suspects := make(map[types.UID]*suspect, len(lacking))
	var victims []Victim
	for _, v := range lacking {
		s, known := r.suspects[v.Pod.UID]
		if !known {
			s = &suspect{since: now}
		} else if blind {
			s.since = now
		}
		suspects[v.Pod.UID] = s
		if v.Since = s.since; now.Sub(s.since) >= r.opts.After {
			victims = append(victims, v)
		}
	}
	r.suspects = suspects
	return victims
}

func (r *Evictor) report(ctx context.Context, v Victim, networkGone bool) {
	r.opts.History.Add(entryOf(v.Pod, history.Victim, ""))
	reason := EventVictim
	if v.State == verdict.PodNotAttached {
		reason = EventNotAttached
	}
	logf.FromContext(ctx).Info("Pod lacks its network", "Pod", v.Pod.Key, "ips", v.Pod.Addresses, "because", reason)
	r.event(v, reason, networkGone)
}

// reportEnding reports once each pod that has been ending for too long. Evicting it is no help.
func (r *Evictor) reportEnding(ctx context.Context, ending []Victim) {
	reported := r.ending
	r.ending = ending
	for _, v := range ending {
		pod := v.Pod
		if slices.ContainsFunc(reported, func(before Victim) bool { return before.Pod.UID == pod.UID }) {
			continue
		}
		r.opts.History.Add(entryOf(pod, history.Victim, history.Ending))
		logf.FromContext(ctx).Info("Pod should have been gone", "Pod", pod.Key, "ips", pod.Addresses, "since", pod.Ends)
		r.event(v, EventEnding, false)
	}
}

func (r *Evictor) event(v Victim, reason string, networkGone bool) {
	r.opts.Events.Eventf(v.Pod.ID().Reference(), nil, corev1.EventTypeWarning, reason, eventAction,
		"%s", r.opts.Describe(v, networkGone))
}

func entryOf(pod cluster.Pod, act history.Act, result string) history.Entry {
	e := history.Entry{Act: act, Result: result, Pods: history.Names(pod.ID())}
	if len(pod.Addresses) > 0 {
		e.Address = pod.Addresses[0]
	}
	return e
}

// replaceable reports whether a controller replaces the pod, perhaps on another node. The Node owns a static pod's
// mirror; evicting that changes nothing. DaemonSet pods are left to the operator, as kubectl drain does.
func replaceable(pod cluster.Pod) bool {
	switch pod.Controller.Kind {
	case "", "Node", "DaemonSet":
		return false
	default:
		return true
	}
}

// evictOne evicts the first victim that a controller would replace, unless the last eviction was too recent. A pod that
// a disruption budget protects gets another turn later. A failure unrelated to the pod ends the attempt: each other pod
// could take as long to fail, and the pass waits.
func (r *Evictor) evictOne(ctx context.Context) {
	now := r.opts.Clock.Now()
	if now.Sub(r.evicted) < r.opts.Interval {
		return
	}
	for _, v := range r.victims {
		pod := v.Pod
		owner := string(pod.Controller.UID)
		early := now.Sub(v.Since) < r.opts.After+r.opts.Sandbox
		if early || v.State != verdict.PodWithoutNetwork || !replaceable(pod) ||
			r.backoff.IsInBackOffSinceUpdate(owner, now) {
			continue
		}
		r.evicted = now
		result, err := r.evict(ctx, pod)
		r.opts.Metrics.evictions.WithLabelValues(result).Inc()
		r.opts.History.Add(entryOf(pod, history.Eviction, result).Because(err))
		log := logf.FromContext(ctx).WithValues("Pod", pod.Key, "result", result)
		if result == evictionUnrestricted {
			return // the gate logs this once
		}
		if err != nil {
			log.Error(err, "Cannot evict a pod that has no network")
			if result == evictionFailed {
				return
			}
			continue
		}
		r.backoff.Next(owner, now)
		log.Info("Evicted a pod that had lost its network")
		r.opts.Events.Eventf(pod.ID().Reference(), nil, corev1.EventTypeWarning, EventEvicted, eventAction,
			"Evicted because no local HNS endpoint had this pod's address %s", pod.Addresses[0])
		return
	}
}

// timeout bounds a request to the API server.
const timeout = 5 * time.Second

// evict evicts this pod, not another one of the same name (invariant 2).
func (r *Evictor) evict(ctx context.Context, pod cluster.Pod) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	meta := metav1.ObjectMeta{Namespace: pod.Key.Namespace, Name: pod.Key.Name}
	eviction := &policyv1.Eviction{ObjectMeta: meta}
	evictions := r.opts.Client.SubResource("eviction")
	err := r.opts.Gate.Pass(ctx, func(ctx context.Context) error { // the policy must refuse one without a UID
		return evictions.Create(ctx, &corev1.Pod{ObjectMeta: meta}, eviction, client.DryRunAll)
	})
	if err == nil {
		eviction.DeleteOptions = &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}}
		err = evictions.Create(ctx, &corev1.Pod{ObjectMeta: meta}, eviction)
	}
	switch {
	case errors.Is(err, admission.ErrUnrestricted):
		return evictionUnrestricted, err
	case err == nil:
		return evictionDone, nil
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return evictionGone, fmt.Errorf("evicting pod %s, which is gone already: %w", pod.Key, err)
	case apierrors.IsTooManyRequests(err):
		return evictionBlocked, fmt.Errorf("evicting pod %s, which a disruption budget protects: %w", pod.Key, err)
	default:
		return evictionFailed, fmt.Errorf("evicting pod %s: %w", pod.Key, err)
	}
}
