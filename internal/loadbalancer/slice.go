// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
)

// ManagedBy is the manager that the slices name, by which the agent finds them.
const ManagedBy = "hnsguard-reprogram"

// SliceName returns the name of the slice that disturbs a Service. All agents use the same name, so that a Service with
// dangling load balancers on many nodes is disturbed once.
func SliceName(service string) string { return ManagedBy + "-" + service }

// The addresses of the slices, from documentation ranges.
const (
	addressV4 = "192.0.2.2"
	addressV6 = "2001:db8::2"
)

// timeout bounds a request to the API server.
const timeout = 5 * time.Second

// The results of an attempt.
const (
	disturbed = "done"
	present   = "done_by_another"
	failed    = "failed"
	observed  = "observed"
	// unknown: the Service could not be read.
	unknown = "unknown_service"
	// inPlace: nothing was done, because kube-proxy cannot recreate a missing load balancer (invariant 9).
	inPlace = "updates_in_place"
	// loses: nothing was done, because this may make kube-proxy lose load balancers of the Service (invariant 13).
	loses = "kube_proxy_loses_it"
	// tooMany: nothing was done, because so many are broken that kube-proxy has to be restarted (invariant 10).
	tooMany = "too_many"
	// besideLeak: nothing was done, because kube-proxy would use a leaked local endpoint (invariant 12).
	besideLeak = "leaked_local"
	// unrestricted: nothing was done, because no admission policy restricts it.
	unrestricted = "unrestricted"
)

func results() []string {
	return []string{disturbed, present, failed, observed, unknown, inPlace, loses, tooMany, besideLeak, unrestricted}
}

// disturb creates the slice.
func (r *Reprogrammer) disturb(ctx context.Context, service *corev1.Service, vip netip.Addr) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	slice := NewSlice(service, vip)
	key := client.ObjectKeyFromObject(slice)
	err := r.opts.Gate.Pass(ctx, func(ctx context.Context) error { return r.try(ctx, service, vip) })
	if err == nil {
		err = r.opts.Client.Create(ctx, slice)
	}
	result := failed
	switch {
	case err == nil:
		r.disturbing[key] = r.opts.Clock.Now()
		return disturbed, nil
	case errors.Is(err, admission.ErrUnrestricted):
		result = unrestricted
	case apierrors.IsAlreadyExists(err):
		r.swept = false // a stopped agent may have left it behind
		if err = r.verifyOwn(ctx, key); err == nil {
			return present, nil
		}
	}
	return result, fmt.Errorf("creating EndpointSlice %s: %w", key, err)
}

// try returns the result of a dry run that the admission policy must refuse: a slice with another documentation
// address.
func (r *Reprogrammer) try(ctx context.Context, service *corev1.Service, vip netip.Addr) error {
	slice := NewSlice(service, vip)
	slice.Endpoints[0].Addresses = []string{"203.0.113.1"}
	if vip.Is6() {
		slice.Endpoints[0].Addresses = []string{"2001:db8::ffff"}
	}
	return r.opts.Client.Create(ctx, slice, client.DryRunAll)
}

// NewSlice returns the slice that disturbs a Service, for the family of one of its addresses.
func NewSlice(service *corev1.Service, vip netip.Addr) *discoveryv1.EndpointSlice {
	addr := netip.MustParseAddr(addressV4)
	if vip.Is6() {
		addr = netip.MustParseAddr(addressV6)
	}
	slice := cluster.InertSlice(SliceName(service.Name), ManagedBy, client.ObjectKeyFromObject(service), addr)
	slice.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "v1", Kind: "Service", Name: service.Name, UID: service.UID,
	}}
	return slice
}

func (r *Reprogrammer) remove(ctx context.Context, key types.NamespacedName) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := r.opts.Client.Delete(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
	})
	if err != nil {
		return fmt.Errorf("deleting EndpointSlice %s: %w", key, err)
	}
	return nil
}

// abandoned is how long this agent must have seen a slice of another agent to count it as left behind. The API server's
// creation time does not help: clocks may differ.
const abandoned = time.Minute

// interval is how soon to check for such slices again after a failure.
const interval = 5 * time.Second

// errNotOwn means that a slice has the name, but not the label, of hnsguard's slices.
var errNotOwn = errors.New(
	"another EndpointSlice has this name, without the label of those that hnsguard creates; delete it")

// verifyOwn returns an error if hnsguard did not create the slice.
func (r *Reprogrammer) verifyOwn(ctx context.Context, key types.NamespacedName) error {
	var all discoveryv1.EndpointSliceList
	managed := client.MatchingLabels{discoveryv1.LabelManagedBy: ManagedBy}
	if err := r.opts.Server.List(ctx, &all, client.InNamespace(key.Namespace), managed); err != nil {
		return fmt.Errorf("reading EndpointSlice %s: %w", key, err)
	}
	for i := range all.Items {
		if all.Items[i].Name == key.Name {
			return nil
		}
	}
	return errNotOwn
}

// sweep deletes the slices that stopped agents have left behind (invariant 6), until none is left.
func (r *Reprogrammer) sweep(ctx context.Context) {
	now := r.opts.Clock.Now()
	if r.swept || now.Before(r.nextSweep) {
		return
	}
	r.nextSweep = now.Add(interval)
	log := logf.FromContext(ctx)
	listing, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var all discoveryv1.EndpointSliceList
	if err := r.opts.Server.List(listing, &all, client.MatchingLabels{discoveryv1.LabelManagedBy: ManagedBy}); err != nil {
		log.Error(err, "Cannot look for EndpointSlices that a stopped agent has left behind; will retry")
		return
	}
	r.nextSweep, r.swept = now.Add(abandoned), true
	before := r.strangers
	r.strangers = map[types.UID]time.Time{}
	for i := range all.Items {
		slice := &all.Items[i]
		key := client.ObjectKeyFromObject(slice)
		if _, own := r.disturbing[key]; own {
			continue
		}
		seen := cmp.Or(before[slice.UID], now)
		if now.Sub(seen) >= abandoned {
			err := r.remove(ctx, key)
			if err == nil || apierrors.IsNotFound(err) {
				continue
			}
			log.Error(err, "Cannot delete an EndpointSlice that a stopped agent has left behind; will retry")
		}
		r.strangers[slice.UID], r.swept = seen, false
	}
}
