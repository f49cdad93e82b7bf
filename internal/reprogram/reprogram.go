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

	"github.com/hnsguard/hnsguard/internal/hns"
)

// EventDangling on a Service: a load balancer of it names an HNS endpoint that is gone.
const EventDangling = "LoadBalancerDangling"

const eventAction = "Reprogramming"

// Options are what a reprogrammer is made of. All fields are required.
type Options struct {
	// Node is the name of this node.
	Node string
	// Enforce says whether kube-proxy is made to program the Service again, or the load balancer is only reported.
	Enforce bool
	// Server reads from the API server, not from a cache.
	Server  client.Reader
	Client  client.Client
	Events  events.EventRecorder
	Metrics *Metrics
	Clock   clock.Clock
}

// Reprogrammer keeps book of the Services that it has disturbed. It is for one caller at a time.
type Reprogrammer struct {
	Options
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

// New makes a reprogrammer.
func New(o Options) *Reprogrammer {
	return &Reprogrammer{
		Options: o, reported: map[hns.LoadBalancerID]bool{}, disturbing: map[types.NamespacedName]time.Time{},
		backoff: flowcontrol.NewFakeBackOff(backoffFirst, backoffMost, o.Clock), // "fake" is the one that takes a clock
	}
}

// Pass is told of all load balancers that dangle, and does about them what is configured. It returns how soon the next
// pass should come; zero means that there is no hurry.
func (r *Reprogrammer) Pass(ctx context.Context, dangling []hns.LoadBalancer) time.Duration {
	if r.Enforce && !r.swept {
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
	return len(lb.FrontendVIPs) > 0 && (r.Enforce || !r.reported[lb.ID]) &&
		!r.backoff.IsInBackOffSinceUpdate(lb.FrontendVIPs[0].String(), r.Clock.Now())
}

// attend finds the Service of a load balancer, reports it unless that has been done, and disturbs it if that is asked
// for. It returns whether the Service was found.
func (r *Reprogrammer) attend(ctx context.Context, lb hns.LoadBalancer) bool {
	vip := lb.FrontendVIPs[0]
	r.backoff.Next(vip.String(), r.Clock.Now())
	log := logf.FromContext(ctx).WithValues("loadBalancerID", lb.ID, "vip", vip.String())
	service, err := r.serviceOf(ctx, vip)
	if err != nil {
		r.Metrics.attempts.WithLabelValues(unknown).Inc()
		log.Error(err, "A load balancer names an endpoint that is gone, and its Service is unknown")
		return false
	}
	log = log.WithValues("Service", client.ObjectKeyFromObject(service))
	if !r.reported[lb.ID] {
		r.report(service)
	}
	if !r.Enforce {
		r.Metrics.attempts.WithLabelValues(observed).Inc()
		log.Info("Observing: kube-proxy would be made to program the Service again")
		return true
	}
	result, err := r.disturb(ctx, service, vip)
	r.Metrics.attempts.WithLabelValues(result).Inc()
	if err != nil {
		log.Error(err, "kube-proxy was not made to program the Service again", "result", result)
		return true
	}
	log.Info("Made kube-proxy program the Service again", "result", result)
	return true
}

func (r *Reprogrammer) report(service *corev1.Service) {
	advice := "restart the kube-proxy of the node, or set reprogram.mode to enforce"
	if r.Enforce {
		advice = "kube-proxy is made to program the Service again"
	}
	r.Events.Eventf(service, nil, corev1.EventTypeWarning, EventDangling, eventAction,
		"On node %s a load balancer of this Service names an HNS endpoint that is gone, and connections to it are lost: %s",
		r.Node, advice)
}

// errNoService says that no Service has a load balancer's address.
var errNoService = errors.New("no Service has this cluster IP")

// serviceOf asks the API server for the Service with a cluster IP. That of a load balancer for another address of a
// Service is not found, but that for its cluster IP dangles with it.
func (r *Reprogrammer) serviceOf(ctx context.Context, vip netip.Addr) (*corev1.Service, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var services corev1.ServiceList
	if err := r.Server.List(ctx, &services, client.MatchingFields{"spec.clusterIP": vip.String()}); err != nil {
		return nil, fmt.Errorf("asking the API server for the Service with cluster IP %s: %w", vip, err)
	}
	if len(services.Items) == 0 {
		return nil, fmt.Errorf("%w: %s", errNoService, vip)
	}
	return &services.Items[0], nil
}

// calm takes away the slices that have been there for long enough, and returns how soon to come back.
func (r *Reprogrammer) calm(ctx context.Context) (next time.Duration) {
	for key, since := range r.disturbing {
		if wait := stay - r.Clock.Since(since); wait > 0 {
			if next == 0 || wait < next {
				next = wait
			}
			continue
		}
		if err := r.remove(ctx, key); err != nil && !apierrors.IsNotFound(err) {
			logf.FromContext(ctx).Error(err, "An EndpointSlice of hnsguard's own was not deleted; it will be tried again")
			continue
		}
		delete(r.disturbing, key)
	}
	return next
}
