// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// The reasons of the Events that the guard records. They are part of its interface: users select Events by them.
const (
	// EventFound on a pod, in observe mode: the stale endpoint would have been removed.
	EventFound = "StaleEndpointFound"
	// EventHeld on a pod: removing the stale endpoint now would make kube-proxy delete the pod's own endpoint.
	EventHeld = "StaleEndpointHeld"
	// EventContested on a pod: a pod on another node has its address, too.
	EventContested = "AddressClaimedTwice"
	// EventLeaked on the node: local endpoints were left behind, whether or not another node has their address.
	EventLeaked = "LeakedLocalEndpoint"
	// EventDuplicate on the node: several local endpoints have the same address.
	EventDuplicate = "DuplicateLocalEndpoints"
)

// The action of every Event.
const eventAction = "Deciding"

// recorder reports the findings of passes: in metrics, in the log and as Events.
type recorder struct {
	config  config.Config
	words   Words
	events  events.EventRecorder
	history *history.Ring
	metrics *Metrics
	clock   clock.PassiveClock
	ledger  ledger
	// shared are the addresses that several local endpoints had in the last pass.
	shared map[netip.Addr]sharing
	// oversized are the Services with too many addresses in the last pass.
	oversized []types.NamespacedName
	// idling is set while there is no pod network, gone if pods need one, and blind while the node cannot be observed.
	idling, gone, blind bool
}

func newRecorder(o Options) *recorder {
	return &recorder{
		config: o.Config, words: o.Words, events: o.Events, history: o.History, metrics: o.Metrics, clock: o.Clock,
		ledger: ledger{},
	}
}

// verdicts reports the verdicts of a pass, and returns when each stale endpoint was first found to be stale.
func (r *recorder) verdicts(
	ctx context.Context, evidence verdict.Evidence, verdicts []verdict.Verdict,
) map[hns.EndpointID]time.Time {
	now := evidence.Now
	changes := r.ledger.enter(verdicts, now)
	if evidence.Snapshot.Network.Type == hns.NetworkOverlay { // on other networks these addresses protect nothing
		r.oversizedServices(ctx, evidence.Cluster.OversizedServices)
	}
	for _, c := range changes {
		r.change(ctx, c.Verdict)
		if c.notable() {
			r.history.Add(history.Of(history.Decision, "", c.Verdict))
		}
	}
	r.stale(changes, now)
	r.duplicated(ctx, evidence.Cluster.Node, verdicts, now)
	r.leaked(evidence.Cluster.Node, r.ledger.newLeaks(verdicts, now))
	return r.ledger.staleSince()
}

// leaked reports local endpoints that a CNI has left behind. Those with an unused address may be many, and all Events
// on one node form one series: they share an Event.
func (r *recorder) leaked(node string, leaks []verdict.Verdict) {
	var unused []verdict.Verdict
	for _, v := range leaks {
		if v.Reason == verdict.ReasonLocalLeftBehind {
			unused = append(unused, v)
			continue
		}
		r.eventOnNode(node, EventLeaked, r.words.Endpoint(v))
	}
	if len(unused) > 0 {
		r.eventOnNode(node, EventLeaked, fmt.Sprintf("%d endpoints were left behind, such as this one: %s",
			len(unused), r.words.Endpoint(unused[0])))
	}
}

// unknown reports that a pass could not observe the node.
func (r *recorder) unknown(ctx context.Context, err error) {
	r.idling, r.gone, r.blind = false, false, true
	r.metrics.passes.WithLabelValues(passUnknown).Inc()
	r.history.Add(history.Entry{
		Act: history.Pass, Result: history.Unknown, Subject: string(hns.ClassOf(err)),
	}.Because(err))
	logf.FromContext(ctx).Error(err, "Cannot observe the node; nothing is touched", "class", hns.ClassOf(err))
}

// withoutNetwork reports that there is no network to guard: not yet on a fresh node, or never with some CNIs; or the
// network of running pods is gone. HNS was read for this, so the agent can read it.
func (r *recorder) withoutNetwork(ctx context.Context, why error, gone bool) {
	now := r.clock.Now()
	r.verdicts(ctx, verdict.Evidence{Now: now}, nil)
	r.metrics.lastPass.Set(float64(now.UnixMilli()) / 1000)
	r.metrics.passes.WithLabelValues(passIdle).Inc()
	switch log := logf.FromContext(ctx); {
	case gone && !r.gone:
		log.Info("Pods run, and HNS has no network for them", "because", why.Error())
	case !gone && !r.idling:
		log.Info("There is nothing to guard yet", "because", why.Error())
	}
	r.idling, r.gone = !gone, gone
}

// complete reports that a pass is complete.
func (r *recorder) complete(start time.Time) {
	now := r.clock.Now()
	if r.blind {
		r.history.Add(history.Entry{Act: history.Pass, Result: history.Complete})
	}
	r.idling, r.gone, r.blind = false, false, false
	r.metrics.passes.WithLabelValues(passComplete).Inc()
	r.metrics.duration.Observe(now.Sub(start).Seconds())
	r.metrics.lastPass.Set(float64(now.UnixMilli()) / 1000)
}

// oversizedServices reports Services with more addresses than the index keeps.
func (r *recorder) oversizedServices(ctx context.Context, services []types.NamespacedName) {
	r.metrics.oversized.Set(float64(len(services)))
	for _, service := range services {
		if !slices.Contains(r.oversized, service) {
			logf.FromContext(ctx).Info("A Service has so many external addresses that hnsguard does not keep them all: until "+
				"it has fewer, no endpoint is removed", "service", service, "most", cluster.MaxExternalAddresses)
		}
	}
	r.oversized = services
}

// change reports a new verdict.
func (r *recorder) change(ctx context.Context, v verdict.Verdict) {
	log := logf.FromContext(ctx).WithValues(v.KeysAndValues()...)
	switch {
	case v.Kind == verdict.Held:
		log.Info("Holding a stale remote endpoint: this kube-proxy may delete the pod's own endpoint if it goes first")
		r.eventOnPods(v, corev1.EventTypeWarning, EventHeld)
	case v.Kind == verdict.Contested && len(v.Elsewhere) > 0:
		log.Info("Keeping a remote endpoint: a pod on this node and one on another node have its address")
		r.eventOnPods(v, corev1.EventTypeWarning, EventContested)
	case v.Kind.Removes() && !r.config.EnforcesRemoval(v.Kind == verdict.Orphan):
		log.Info("Observing: this remote endpoint would be removed")
		r.eventOnPods(v, corev1.EventTypeNormal, EventFound)
	case v.Reason == verdict.ReasonLocalLeaked:
		log.Info("Found a leaked local endpoint: its address is in use on another node")
	default:
		log.V(1).Info("Decided")
	}
}

// stale counts the endpoints that have just been found to be stale.
func (r *recorder) stale(changes []change, now time.Time) {
	for _, v := range changes {
		if since := r.ledger[v.Endpoint.ID].stale; !since.IsZero() && since.Equal(now) {
			r.metrics.found.WithLabelValues(string(v.Kind)).Inc()
		}
	}
}

// eventOnNode records an Event on the node. kubectl looks for a node's Events by its name as the UID.
func (r *recorder) eventOnNode(node, reason, note string) {
	reference := &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: node, UID: types.UID(node)}
	r.events.Eventf(reference, nil, corev1.EventTypeWarning, reason, eventAction, "%s", note)
}

// eventOnPods records one Event on each pod of a verdict.
func (r *recorder) eventOnPods(v verdict.Verdict, kind, reason string) {
	for _, pod := range v.Pods {
		r.events.Eventf(pod.Reference(), nil, kind, reason, eventAction, "%s", r.words.Endpoint(v))
	}
}
