// SPDX-License-Identifier: Apache-2.0

package eviction

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/inventory"
)

// The reasons of the Events on victims.
const (
	// EventVictim: the pod has no endpoint.
	EventVictim = "NetworkEndpointLost"
	// EventEvicted: it was evicted for that.
	EventEvicted = "EvictedWithoutNetwork"
)

const eventAction = "Repairing"

// Options are what a repairer is made of. All fields are required.
type Options struct {
	// Evict says whether victims are evicted, or only reported.
	Evict bool
	// After is how long a pod has to be without endpoint.
	After time.Duration
	// Every is the shortest time between two evictions.
	Every   time.Duration
	Client  client.SubResourceClientConstructor
	Events  events.EventRecorder
	Metrics *Metrics
	Clock   clock.PassiveClock
}

// Evictor watches over the pods of a node. It is for one caller at a time.
type Evictor struct {
	Options
	suspects map[types.UID]*suspect
	evicted  time.Time // when the last eviction was tried
}

// suspect is a pod that was without endpoint in the last pass.
type suspect struct {
	since    time.Time
	reported bool
}

// New makes a repairer.
func New(o Options) *Evictor {
	return &Evictor{Options: o, suspects: map[types.UID]*suspect{}}
}

// Repair looks for victims and does about them what is configured.
func (r *Evictor) Run(ctx context.Context, snapshot inventory.Snapshot, view cluster.View) {
	without, all := withoutEndpoint(snapshot, view)
	victims := r.confirmed(without)
	r.Metrics.victims.Set(float64(len(victims)))
	for _, pod := range victims {
		if s := r.suspects[pod.UID]; !s.reported {
			s.reported = true
			r.report(ctx, pod)
		}
	}
	if !r.Evict {
		return
	}
	if len(victims) == all && all > 1 {
		logf.FromContext(ctx).Info("Evicting none of the victims: every pod of the node seems to be one", "victims", all)
		return
	}
	r.evictOne(ctx, victims)
}

// withoutEndpoint returns the running pods that no local endpoint has an address of, and how many there are that should
// have one.
func withoutEndpoint(snapshot inventory.Snapshot, view cluster.View) (without []cluster.Pod, all int) {
	local := sets.New[netip.Addr]()
	for _, e := range snapshot.Endpoints {
		if !e.Remote() {
			local.Insert(e.Addresses...)
		}
	}
	for _, pod := range view.Pods {
		if !pod.Live() || !pod.Running || len(pod.Addresses) == 0 {
			continue
		}
		all++
		if !local.HasAny(pod.Addresses...) {
			without = append(without, pod)
		}
	}
	return without, all
}

// confirmed returns those that have been without endpoint for long enough (invariant 1).
func (r *Evictor) confirmed(without []cluster.Pod) []cluster.Pod {
	now := r.Clock.Now()
	suspects := make(map[types.UID]*suspect, len(without))
	for _, pod := range without {
		suspects[pod.UID] = &suspect{since: now}
		if before, known := r.suspects[pod.UID]; known {
			suspects[pod.UID] = before
		}
	}
	r.suspects = suspects
	return slices.DeleteFunc(slices.Clone(without), func(p cluster.Pod) bool {
		return now.Sub(suspects[p.UID].since) < r.After
	})
}

func (r *Evictor) report(ctx context.Context, pod cluster.Pod) {
	logf.FromContext(ctx).Info("A pod has lost its network: no local HNS endpoint has its address",
		"Pod", pod.Key, "ips", pod.Addresses)
	r.Events.Eventf(reference(pod), nil, corev1.EventTypeWarning, EventVictim, eventAction,
		"No local HNS endpoint of this node has this pod's address %s: the pod has no network. It needs to be made again",
		pod.Addresses[0])
}

// evictOne evicts the first victim that a controller would replace, if the last eviction is long enough ago. One that a
// disruption budget protects gets its turn again later.
func (r *Evictor) evictOne(ctx context.Context, victims []cluster.Pod) {
	now := r.Clock.Now()
	if now.Sub(r.evicted) < r.Every {
		return
	}
	for _, pod := range victims {
		if !pod.Controlled {
			continue
		}
		r.evicted = now
		result, err := r.evict(ctx, pod)
		r.Metrics.evictions.WithLabelValues(result).Inc()
		log := logf.FromContext(ctx).WithValues("Pod", pod.Key, "result", result)
		if err != nil {
			log.Error(err, "A pod without network was not evicted")
			continue
		}
		log.Info("Evicted a pod that had lost its network")
		r.Events.Eventf(reference(pod), nil, corev1.EventTypeWarning, EventEvicted, eventAction,
			"Evicted because no local HNS endpoint had this pod's address %s", pod.Addresses[0])
		return
	}
}

// evict asks the API server to evict the pod, and no other of its name (invariant 2).
func (r *Evictor) evict(ctx context.Context, pod cluster.Pod) (string, error) {
	meta := metav1.ObjectMeta{Namespace: pod.Key.Namespace, Name: pod.Key.Name}
	err := r.Client.SubResource("eviction").Create(ctx, &corev1.Pod{ObjectMeta: meta}, &policyv1.Eviction{
		ObjectMeta:    meta,
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}},
	})
	switch {
	case err == nil:
		return evictionDone, nil
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return evictionGone, fmt.Errorf("evicting pod %s: it has gone already: %w", pod.Key, err)
	case apierrors.IsTooManyRequests(err):
		return evictionBlocked, fmt.Errorf("evicting pod %s: a disruption budget does not allow it now: %w", pod.Key, err)
	default:
		return evictionFailed, fmt.Errorf("evicting pod %s: %w", pod.Key, err)
	}
}

func reference(pod cluster.Pod) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: pod.Key.Namespace, Name: pod.Key.Name, UID: pod.UID,
	}
}
