// SPDX-License-Identifier: Apache-2.0

package reprogram

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/action"
	"github.com/hnsguard/hnsguard/internal/hns"
)

// EventDangling on a Service: a load balancer of it names an HNS endpoint that is gone.
const EventDangling = "LoadBalancerDangling"

const eventAction = "Reprogramming"

// LoadBalancers finds the load balancers that dangle.
type LoadBalancers interface {
	Dangling() []hns.LoadBalancer
}

// Options configure a reprogrammer.
type Options struct {
	// Node is the name of this node. Required.
	Node string
	// Enforce allows kube-proxy to be made to program a Service again. If it is false, load balancers are only reported.
	Enforce bool
	// LoadBalancers finds the load balancers that dangle. Required.
	LoadBalancers LoadBalancers
	// Server reads from the API server, not from a cache. Required.
	Server client.Reader
	// Client writes slices. Required.
	Client client.Client
	// Events gets the Events on Services. Required.
	Events events.EventRecorder
	// Metrics are the measurements. Required.
	Metrics *Metrics
	// Clock is the source of time. Required.
	Clock clock.Clock
}

// Reprogrammer remembers the Services that it has disturbed. It is for one caller at a time.
type Reprogrammer struct {
	opts    Options
	backoff *flowcontrol.Backoff
	// reported are the load balancers that dangle and were told of.
	reported map[hns.LoadBalancerID]bool
	// disturbing are the slices that are there now, and since when.
	disturbing map[types.NamespacedName]time.Time
	swept      bool
}

// How long a slice stays: long enough for every kube-proxy to process it by itself, which it does within a second or
// two (minSyncPeriod) of a change. And how soon a Service may be disturbed again.
const (
	stay         = 5 * time.Second
	backoffFirst = 30 * time.Second
	backoffMost  = 30 * time.Minute
)

var _ action.Action = (*Reprogrammer)(nil)

// New returns a reprogrammer.
func New(o Options) *Reprogrammer {
	return &Reprogrammer{
		opts: o, reported: map[hns.LoadBalancerID]bool{}, disturbing: map[types.NamespacedName]time.Time{},
		backoff: flowcontrol.NewFakeBackOff(backoffFirst, backoffMost, o.Clock), // "fake" is the one that takes a clock
	}
}

// Run implements [action.Action]: it does about the load balancers that dangle what is configured.
func (r *Reprogrammer) Run(ctx context.Context, _ action.Pass) time.Duration {
	dangling := r.opts.LoadBalancers.Dangling()
	if r.opts.Enforce && !r.swept {
		r.swept = r.sweep(ctx)
	}
	next := r.calm(ctx)
	reported, budget := make(map[hns.LoadBalancerID]bool, len(dangling)), perPass
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
	r.backoff.GC()
	return next
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
		r.opts.Metrics.attempts.WithLabelValues(unknown).Inc()
		log.Error(err, "Cannot find the Service of a load balancer that names an endpoint which is gone")
		return false
	}
	log = log.WithValues("Service", client.ObjectKeyFromObject(service))
	if !r.reported[lb.ID] {
		r.report(service)
	}
	if !r.opts.Enforce {
		r.opts.Metrics.attempts.WithLabelValues(observed).Inc()
		log.Info("Observing: kube-proxy would be made to program the Service again")
		return true
	}
	result, err := r.disturb(ctx, service, vip)
	r.opts.Metrics.attempts.WithLabelValues(result).Inc()
	if err != nil {
		log.Error(err, "Cannot make kube-proxy program the Service again", "result", result)
		return true
	}
	log.Info("Made kube-proxy program the Service again", "result", result)
	return true
}

func (r *Reprogrammer) report(service *corev1.Service) {
	advice := "restart the kube-proxy of the node, or set reprogram.mode to enforce"
	if r.opts.Enforce {
		advice = "kube-proxy is made to program the Service again"
	}
	r.opts.Events.Eventf(service, nil, corev1.EventTypeWarning, EventDangling, eventAction,
		"On node %s a load balancer of this Service names an HNS endpoint that is gone, and connections to it are lost: %s",
		r.opts.Node, advice)
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
