// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// The Events on Services.
const (
	// EventDangling: a load balancer of the Service names an HNS endpoint that is gone.
	EventDangling = "LoadBalancerDangling"
	// EventMissing: the Service should have a load balancer, and has none.
	EventMissing = "LoadBalancerMissing"
	// EventStale: the backends of a load balancer are not those that kube-proxy should use.
	EventStale = "LoadBalancerStale"
)

const eventAction = "Reprogramming"

// LoadBalancers provides readings.
type LoadBalancers interface {
	// Reading returns the last successful reading.
	Reading() Reading
	// ReadSoon brings the next reading forward, as far as possible if a load balancer seems broken for the first time.
	ReadSoon(first bool)
}

// ReprogrammerOptions configure a reprogrammer.
type ReprogrammerOptions struct {
	// Node is the name of this node. Required.
	Node string
	// Enforce allows making kube-proxy program a Service again. If it is false, load balancers are only reported.
	Enforce bool
	// LoadBalancers reads load balancers. Required.
	LoadBalancers LoadBalancers
	// Index has the Services and their EndpointSlices. Required.
	Index *cluster.Index
	// HNSVersion reads the version of HNS. Required.
	HNSVersion func(ctx context.Context) (string, error)
	// Server reads from the API server, not from a cache. Required.
	Server client.Reader
	// Client writes slices. Required.
	Client client.Client
	// Gate is open while an admission policy restricts what Client writes.
	// Default: it is always open.
	Gate *admission.Gate
	// Describe explains what is wrong with a load balancer. Required.
	Describe func(verdict.Balancer) string
	// Events records the Events on Services. Required.
	Events events.EventRecorder
	// History records the actions on Services. Default: no history is kept.
	History *history.Ring
	// Metrics are the measurements. Required.
	Metrics *Metrics
	// Clock is the source of time. Required.
	Clock clock.Clock
}

// WatchLag is how far kube-proxy's watch may be behind the API server in production: longer than it takes to notice a
// broken connection.
const WatchLag = 200 * time.Second

// Reprogrammer remembers the Services that it has disturbed. It is for one caller at a time.
type Reprogrammer struct {
	opts     ReprogrammerOptions
	backoff  *flowcontrol.Backoff
	findings findings
	// reported are the Services whose broken load balancers were reported, with the most urgent kind.
	reported map[types.NamespacedName]verdict.BalancerKind
	// disturbing are the Services with a slice now, and since when.
	disturbing map[types.NamespacedName]time.Time
	// strangers are the slices of other agents, and when this agent first saw them. It checks them again no earlier than
	// nextSweep, and never once swept is set.
	strangers map[types.UID]time.Time
	nextSweep time.Time
	swept     bool
}

// How long a slice stays: long enough for every kube-proxy to process it on its own, which takes a second or two after
// a change (minSyncPeriod). And how soon a Service may be disturbed again.
const (
	stay         = 5 * time.Second
	backoffFirst = 30 * time.Second
	backoffMost  = 30 * time.Minute
)

var _ pass.Action = (*Reprogrammer)(nil)

// NewReprogrammer returns a reprogrammer.
func NewReprogrammer(o ReprogrammerOptions) *Reprogrammer {
	return &Reprogrammer{
		opts: o, reported: map[types.NamespacedName]verdict.BalancerKind{}, disturbing: map[types.NamespacedName]time.Time{},
		strangers: map[types.UID]time.Time{},
		backoff:   flowcontrol.NewFakeBackOff(backoffFirst, backoffMost, o.Clock), // "fake" accepts a clock
	}
}

// Run implements [pass.Action]: it judges the load balancers if there is a new reading, and acts on broken ones as
// configured.
func (r *Reprogrammer) Run(ctx context.Context, p pass.Pass) time.Duration {
	if r.opts.Enforce {
		r.sweep(ctx)
	}
	next := r.deleteOld(ctx)
	if reading := r.opts.LoadBalancers.Reading(); reading.Begun.After(r.findings.begun) {
		if some, news := r.findings.add(reading, r.opts.Index, p); some {
			r.opts.LoadBalancers.ReadSoon(news)
		}
	}
	r.handleBroken(ctx, p.Evidence.KubeProxy)
	r.backoff.GC()
	return next
}

// Found returns the broken load balancers, the most urgent first, and the number of load balancers by verdict.
func (r *Reprogrammer) Found() (broken []verdict.Balancer, counts map[verdict.BalancerKind]int) {
	return r.findings.broken, r.findings.counts
}

// handleBroken handles the Services whose load balancers are broken.
func (r *Reprogrammer) handleBroken(ctx context.Context, profile kubeproxy.Profile) {
	var services []types.NamespacedName
	broken := map[types.NamespacedName][]verdict.Balancer{}
	for _, b := range r.findings.broken {
		if b.Service.Name == "" || b.Kind == verdict.BalancerOnLeakedLocal {
			continue // there is no Service to program again, or this would not help
		}
		if broken[b.Service] == nil {
			services = append(services, b.Service)
		}
		broken[b.Service] = append(broken[b.Service], b)
	}
	maps.DeleteFunc(r.reported, func(s types.NamespacedName, _ verdict.BalancerKind) bool { return broken[s] == nil })
	budget := perPass
	for _, service := range services {
		if budget > 0 && r.due(service, broken[service][0].Kind) {
			budget--
			r.handle(ctx, service, broken[service], len(services), profile)
		}
	}
}

// perPass is how many Services are handled in a pass, which waits for the API server meanwhile.
const perPass = 4

// due reports whether a Service needs to be handled now.
func (r *Reprogrammer) due(service types.NamespacedName, kind verdict.BalancerKind) bool {
	return (r.opts.Enforce || r.reported[service] != kind) &&
		!r.backoff.IsInBackOffSinceUpdate(service.String(), r.opts.Clock.Now())
}

// handle reports a Service once, and disturbs it if configured. broken has the most urgent load balancer first;
// services is the number of Services with broken ones.
func (r *Reprogrammer) handle(
	ctx context.Context, key types.NamespacedName, broken []verdict.Balancer, services int, profile kubeproxy.Profile,
) {
	first := broken[0]
	r.backoff.Next(key.String(), r.opts.Clock.Now())
	ctx = logf.IntoContext(ctx, logf.FromContext(ctx).WithValues(
		"Service", key, "loadBalancer", first.Kind, "frontend", first.Frontend.String(), "loadBalancerID", first.ID))
	service, err := r.serviceOf(ctx, key)
	if err != nil {
		r.record(unknown, first.Frontend.VIP, key.String(), err)
		logf.FromContext(ctx).Error(err, "Cannot read the Service of a broken load balancer; will retry")
		return
	}
	result := r.hindrance(ctx, service, broken, services, profile)
	if r.reported[key] != first.Kind {
		r.reported[key] = first.Kind
		r.report(service, first)
	}
	if vip := vipOf(service, first.Frontend.VIP); result == "" {
		r.reprogram(ctx, service, vip)
	} else {
		r.record(result, vip, key.String(), nil)
		logf.FromContext(ctx).Info("A load balancer is broken, and kube-proxy is not made to program its Service again",
			"result", result)
	}
}

// vipOf returns the Service's cluster IP of the same family as another address.
func vipOf(service *corev1.Service, like netip.Addr) netip.Addr {
	for _, text := range append(slices.Clone(service.Spec.ClusterIPs), service.Spec.ClusterIP) {
		if vip, err := hns.ParseAddr(text); err == nil && vip.Is6() == like.Is6() {
			return vip
		}
	}
	return like
}

// most is the most Services with broken load balancers at which any is still disturbed (invariant 10).
const most = 10

// hindrance returns the result that explains why a Service is not disturbed; empty if nothing hinders it.
func (r *Reprogrammer) hindrance(
	ctx context.Context, service *corev1.Service, broken []verdict.Balancer, services int, profile kubeproxy.Profile,
) string {
	local := ptr.Deref(service.Spec.InternalTrafficPolicy, "") == corev1.ServiceInternalTrafficPolicyLocal
	isMissing := func(b verdict.Balancer) bool { return b.Kind == verdict.BalancerMissing }
	switch {
	case !r.opts.Enforce:
		return observed
	case services > most:
		return tooMany
	case slices.ContainsFunc(broken, func(b verdict.Balancer) bool { return b.BesideLeak }):
		return besideLeak
	case slices.ContainsFunc(broken, isMissing) && r.updatesInPlace(ctx, profile):
		return inPlace
	case profile.LosesUnchanged(local):
		return loses
	default:
		return ""
	}
}

// updatesInPlace reports whether kube-proxy may update load balancers in place: then it cannot recreate a missing one
// (invariant 9).
func (r *Reprogrammer) updatesInPlace(ctx context.Context, profile kubeproxy.Profile) bool {
	version, _ := r.opts.HNSVersion(ctx) // an unknown version counts as yes
	return profile.MayUpdateLoadBalancers(version)
}

// reprogram disturbs a Service and records the outcome.
func (r *Reprogrammer) reprogram(ctx context.Context, service *corev1.Service, vip netip.Addr) {
	result, err := r.disturb(ctx, service, vip)
	r.record(result, vip, client.ObjectKeyFromObject(service).String(), err)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Cannot make kube-proxy program the Service again", "result", result)
		return
	}
	logf.FromContext(ctx).Info("Made kube-proxy program the Service again", "result", result)
}

// record counts the outcome for a load balancer and adds it to the history.
func (r *Reprogrammer) record(result string, vip netip.Addr, service string, err error) {
	r.opts.Metrics.attempts.WithLabelValues(result).Inc()
	r.opts.History.Add(history.Entry{
		Act: history.Reprogram, Result: result, Address: vip, Subject: service,
	}.Because(err))
}

// report records an Event on a Service.
func (r *Reprogrammer) report(service *corev1.Service, broken verdict.Balancer) {
	event := EventDangling
	switch broken.Kind {
	case verdict.BalancerMissing:
		event = EventMissing
	case verdict.BalancerStale:
		event = EventStale
	default:
	}
	r.opts.Events.Eventf(service, nil, corev1.EventTypeWarning, event, eventAction, "%s", r.opts.Describe(broken))
}

// serviceOf reads a Service from the API server. It lists it by name, because the agent may only list Services.
func (r *Reprogrammer) serviceOf(ctx context.Context, key types.NamespacedName) (*corev1.Service, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var services corev1.ServiceList
	err := r.opts.Server.List(ctx, &services, client.InNamespace(key.Namespace),
		client.MatchingFields{metav1.ObjectNameField: key.Name})
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading Service %s from the API server: %w", key, err)
	case len(services.Items) == 0:
		return nil, fmt.Errorf("reading Service %s from the API server: there is none", key)
	default:
		return &services.Items[0], nil
	}
}

// deleteOld deletes slices that have existed long enough, and returns how soon to run again.
func (r *Reprogrammer) deleteOld(ctx context.Context) (next time.Duration) {
	for key, since := range r.disturbing {
		if r.backoff.IsInBackOffSinceUpdate(key.String(), r.opts.Clock.Now()) {
			continue
		}
		if wait := stay - r.opts.Clock.Since(since); wait > 0 {
			if next == 0 || wait < next {
				next = wait
			}
			continue
		}
		if err := r.remove(ctx, key); err != nil && !apierrors.IsNotFound(err) {
			r.backoff.Next(key.String(), r.opts.Clock.Now())
			logf.FromContext(ctx).Error(err, "Cannot delete an EndpointSlice of hnsguard; will retry")
			continue
		}
		delete(r.disturbing, key)
	}
	return next
}
