// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/internal/version"
)

// The Events on Services.
const (
	// EventDangling: a load balancer of the Service names an HNS endpoint that is gone.
	EventDangling = "LoadBalancerDangling"
	// EventMissing: the Service should have a load balancer, had one, and has none.
	EventMissing = "LoadBalancerMissing"
)

const eventAction = "Reprogramming"

// LoadBalancers finds the load balancers that dangle, and the frontends that no load balancer has any more.
type LoadBalancers interface {
	Dangling() []hns.LoadBalancer
	// Absent returns the frontends that are absent, and when the reading began that was the last without them.
	Absent() ([]Absence, time.Time)
	// Forget forgets a frontend that is absent because it should be.
	Forget(front Frontend)
}

// ReprogrammerOptions configure a reprogrammer.
type ReprogrammerOptions struct {
	// Node is the name of this node. Required.
	Node string
	// Enforce allows kube-proxy to be made to program a Service again. If it is false, load balancers are only reported.
	Enforce bool
	// LoadBalancers finds the load balancers that dangle or are missing. Required.
	LoadBalancers LoadBalancers
	// Syncs counts the syncs that kube-proxy has finished since it started. It fails where that cannot be known. Required.
	Syncs func(ctx context.Context) (uint64, error)
	// InPlace reports whether kube-proxy may update load balancers in place: then it cannot make a missing one again
	// (invariant 9). Required.
	InPlace func(ctx context.Context) bool
	// WatchLag is how far kube-proxy's watch may be behind the API server, which is not visible. Required.
	WatchLag time.Duration
	// Random returns numbers from 0 up to 1. Required.
	Random func() float64
	// Server reads from the API server, not from a cache. Required.
	Server client.Reader
	// Client writes slices. Required.
	Client client.Client
	// Gate is open while an admission policy restricts what Client writes.
	// Default: it is always open.
	Gate *admission.Gate
	// Events gets the Events on Services. Required.
	Events events.EventRecorder
	// History gets what is done about Services.
	// Default: it is not kept.
	History *history.Ring
	// Metrics are the measurements. Required.
	Metrics *Metrics
	// Clock is the source of time. Required.
	Clock clock.Clock
}

// Reprogrammer remembers the Services that it has disturbed. It is for one caller at a time.
type Reprogrammer struct {
	opts    ReprogrammerOptions
	backoff *flowcontrol.Backoff
	// reported are the load balancers that dangle and were told of.
	reported map[hns.LoadBalancerID]bool
	// disturbing are the slices that are there now, and since when.
	disturbing map[types.NamespacedName]time.Time
	// strangers are the slices of other agents, by when this agent first saw them. The next look at them is no earlier
	// than at nextSweep, and there is none after swept is set.
	strangers map[types.UID]time.Time
	nextSweep time.Time
	swept     bool
	// dangling are the addresses of the load balancers that dangle in this pass, and leaked the addresses of the local
	// endpoints that a CNI plugin left behind.
	dangling, leaked sets.Set[netip.Addr]
	// suspects are the frontends that are absent. The next of them is looked at no earlier than at next.
	suspects map[Frontend]*suspect
	next     time.Time
}

// How long a slice stays: long enough for every kube-proxy to process it by itself, which it does within a second or
// two (minSyncPeriod) of a change. And how soon a Service may be disturbed again.
const (
	stay         = 5 * time.Second
	backoffFirst = 30 * time.Second
	backoffMost  = 30 * time.Minute
)

var _ pass.Action = (*Reprogrammer)(nil)

// NewReprogrammer returns a reprogrammer.
func NewReprogrammer(o ReprogrammerOptions) *Reprogrammer {
	return &Reprogrammer{
		opts: o, reported: map[hns.LoadBalancerID]bool{}, disturbing: map[types.NamespacedName]time.Time{},
		strangers: map[types.UID]time.Time{},
		backoff:   flowcontrol.NewFakeBackOff(backoffFirst, backoffMost, o.Clock), // "fake" is the one that takes a clock
	}
}

// Run implements [pass.Action]: it does about the load balancers that dangle or are missing what is configured.
func (r *Reprogrammer) Run(ctx context.Context, pass pass.Pass) time.Duration {
	if r.opts.Enforce {
		r.sweep(ctx)
	}
	r.leaked = leakedAddresses(pass.Verdicts)
	next := r.calm(ctx)
	r.mendDangling(ctx)
	r.mendMissing(ctx, pass.Evidence.Snapshot)
	r.backoff.GC()
	return next
}

func (r *Reprogrammer) mendDangling(ctx context.Context) {
	dangling := r.opts.LoadBalancers.Dangling()
	reported, budget := make(map[hns.LoadBalancerID]bool, len(dangling)), perPass
	r.dangling = sets.New[netip.Addr]()
	for _, lb := range dangling {
		if len(lb.FrontendVIPs) > 0 {
			r.dangling.Insert(lb.FrontendVIPs[0])
		}
	}
	for _, lb := range dangling {
		reported[lb.ID] = r.reported[lb.ID]
		if budget == 0 || !r.due(lb) {
			continue
		}
		budget--
		if r.attend(ctx, lb) {
			reported[lb.ID] = true
		}
	}
	r.reported = reported
}

// perPass is how many load balancers are attended to in a pass, which waits for the API server meanwhile.
const perPass = 4

// due reports whether there is something to do about a load balancer now. One for node ports has no address; that for
// the cluster address of the same Service dangles with it.
func (r *Reprogrammer) due(lb hns.LoadBalancer) bool {
	return len(lb.FrontendVIPs) > 0 && (r.opts.Enforce || !r.reported[lb.ID]) &&
		!r.backoff.IsInBackOffSinceUpdate(lb.FrontendVIPs[0].String(), r.opts.Clock.Now())
}

// attend finds the Service of a load balancer, reports it unless that has been done, and disturbs it if that is asked
// for. It returns whether the Service was found.
func (r *Reprogrammer) attend(ctx context.Context, lb hns.LoadBalancer) bool {
	vip := lb.FrontendVIPs[0]
	r.backoff.Next(vip.String(), r.opts.Clock.Now())
	log := logf.FromContext(ctx).WithValues("loadBalancerID", lb.ID, "vip", vip.String())
	service, err := r.serviceOf(ctx, vip)
	if err != nil {
		r.record(unknown, vip, "", err)
		log.Error(err, "Cannot find the Service of a load balancer that names an endpoint which is gone")
		return false
	}
	log = log.WithValues("Service", client.ObjectKeyFromObject(service))
	result, err := r.hindrance(ctx, service)
	if !r.reported[lb.ID] {
		r.report(service, EventDangling, "a load balancer of this Service names an HNS endpoint that is gone", result)
	}
	if result == "" {
		r.reprogram(logf.IntoContext(ctx, log), service, vip)
		return true
	}
	r.record(result, vip, client.ObjectKeyFromObject(service).String(), err)
	log.Info("A load balancer dangles, and kube-proxy is not made to program its Service again", "result", result)
	return true
}

// most is how many Services with broken load balancers a reprogrammer still disturbs (invariant 10).
const most = 10

// hindrance is the result of doing nothing about a Service; empty if nothing is in the way.
func (r *Reprogrammer) hindrance(ctx context.Context, service *corev1.Service) (string, error) {
	broken := r.dangling.Clone()
	for _, s := range r.suspects {
		if s.expected.known() {
			broken.Insert(s.VIP)
		}
	}
	switch {
	case !r.opts.Enforce:
		return observed, nil
	case len(broken) > most:
		return tooMany, nil
	case len(r.leaked) == 0:
		return "", nil
	}
	slices, err := r.slicesOf(ctx, service)
	if err != nil {
		return failed, err
	}
	for i := range slices {
		for addr := range cluster.Listings(&slices[i]) {
			if r.leaked.Has(addr) {
				return besideLeak, nil
			}
		}
	}
	return "", nil
}

// leakedAddresses returns the addresses of the local endpoints that were left behind (invariant 12).
func leakedAddresses(verdicts []verdict.Verdict) sets.Set[netip.Addr] {
	leaked := sets.New[netip.Addr]()
	for i := range verdicts {
		if verdicts[i].Reason == verdict.ReasonLocalLeaked {
			leaked.Insert(verdicts[i].Endpoint.Addresses...)
		}
	}
	return leaked
}

// reprogram disturbs a Service and says what came of it.
func (r *Reprogrammer) reprogram(ctx context.Context, service *corev1.Service, vip netip.Addr) {
	result, err := r.disturb(ctx, service, vip)
	r.record(result, vip, client.ObjectKeyFromObject(service).String(), err)
	if err != nil {
		logf.FromContext(ctx).Error(err, "Cannot make kube-proxy program the Service again", "result", result)
		return
	}
	logf.FromContext(ctx).Info("Made kube-proxy program the Service again", "result", result)
}

// record counts what was done about a load balancer, and keeps it in the history.
func (r *Reprogrammer) record(result string, vip netip.Addr, service string, err error) {
	r.opts.Metrics.attempts.WithLabelValues(result).Inc()
	r.opts.History.Add(history.Entry{
		Act: history.Reprogram, Result: result, Address: vip, Subject: service,
	}.Because(err))
}

// report records an Event on a Service. What is done about it depends on what hinders kube-proxy from being made to
// program it again.
func (r *Reprogrammer) report(service *corev1.Service, event, what, hindrance string) {
	advice := "restart the kube-proxy of the node"
	switch hindrance {
	case "":
		advice = "kube-proxy is made to program the Service again"
	case observed:
		advice += ", or set reprogram.mode to enforce"
	case besideLeak:
		advice = "a CNI plugin left a local endpoint behind that has an address of this Service; remove that endpoint " +
			"first, because kube-proxy would use it: " + version.RunbookURL("HNSGuardLeakedLocalEndpoints")
	}
	r.opts.Events.Eventf(service, nil, corev1.EventTypeWarning, event, eventAction,
		"On node %s %s, and connections to it are lost: %s", r.opts.Node, what, advice)
}

// errNoService says that no Service has a load balancer's address.
var errNoService = errors.New("no Service has this cluster IP")

// serviceOf asks the API server for the Service with a cluster IP. That of a load balancer for another address of a
// Service is not found, but that for its cluster IP dangles with it.
func (r *Reprogrammer) serviceOf(ctx context.Context, vip netip.Addr) (*corev1.Service, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var services corev1.ServiceList
	if err := r.opts.Server.List(ctx, &services, client.MatchingFields{"spec.clusterIP": vip.String()}); err != nil {
		return nil, fmt.Errorf("reading the Service with cluster IP %s from the API server: %w", vip, err)
	}
	if len(services.Items) == 0 {
		return nil, fmt.Errorf("%w: %s", errNoService, vip)
	}
	return &services.Items[0], nil
}

// calm deletes the slices that have been there for long enough, and returns how soon to come back.
func (r *Reprogrammer) calm(ctx context.Context) (next time.Duration) {
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
