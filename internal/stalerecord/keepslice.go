// SPDX-License-Identifier: Apache-2.0

package stalerecord

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/pass"
)

// The actions on keep-slices.
const (
	actCreate = "create"
	actDelete = "delete"
)

// present: the keep-slice already existed.
const present = "present"

// errObserving is why a keep-slice is not written in observe mode.
var errObserving = errors.New("hnsguard only observes")

// newKeepSlice returns the slice that keeps an address listed. It has no owner: if the garbage collector deleted it
// with its Service, that would be the drop that it prevents. It names no node: that node's kube-proxy would take the
// address for local.
func newKeepSlice(keep cluster.Keep) *discoveryv1.EndpointSlice {
	slice := cluster.InertSlice(keep.Name(), cluster.ManagedByKeep, keep.Service, keep.Address)
	slice.Annotations = map[string]string{cluster.AnnotationNode: keep.Node}
	return slice
}

// try returns a dry run of a write that the admission policy must refuse: its address, from a documentation range, is
// ready.
func (k *Keeper) try(namespace string) func(context.Context) error {
	return func(ctx context.Context) error {
		slice := newKeepSlice(cluster.Keep{
			Service: types.NamespacedName{Namespace: namespace, Name: "hnsguard-trial"}, Node: k.opts.Node,
			Address: netip.MustParseAddr("203.0.113.1"),
		})
		slice.Endpoints[0].Conditions.Ready = new(true)
		return k.opts.Client.Create(ctx, slice, client.DryRunAll)
	}
}

func (k *Keeper) delete(ctx context.Context, keep cluster.Keep) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := k.opts.Client.Delete(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: keep.Service.Namespace, Name: keep.Name()},
	})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting EndpointSlice %s/%s: %w", keep.Service.Namespace, keep.Name(), err)
	}
	return nil
}

// EventKept is the reason of the Events on pods whose addresses are kept.
const EventKept = "AddressKept"

// record counts a write, adds it to the history and logs it.
func (k *Keeper) record(ctx context.Context, p pass.Pass, act string, keep cluster.Keep, err error) {
	result := keepResult(err)
	k.opts.Metrics.keeps.WithLabelValues(act, result).Inc()
	k.opts.History.Add(history.Entry{
		Act: history.Keep, Result: act + "_" + result, Address: keep.Address, Subject: keep.Service.String(),
		Pods: history.Names(podsWith(p, keep.Address)...),
	}.Because(err))
	log := logf.FromContext(ctx).WithValues("ip", keep.Address.String(), "Service", keep.Service, "keptFor", keep.Node)
	switch {
	case result == observed:
		log.Info("Observing: an address would be kept listed, so that kube-proxy does not delete the endpoint of its pod")
	case result == unrestricted: // the gate logs this once
	case result == present:
		log.Info("A keep-slice exists, but the EndpointSlice watch does not show it as one; if this persists, another "+
			"writer has changed it: delete it", "EndpointSlice", keep.Name())
	case err != nil:
		log.Error(err, "Cannot "+act+" a keep-slice; the conflict stays held", "EndpointSlice", keep.Name())
	case act == actCreate:
		k.announce(p, keep)
		log.Info("Keeping an address listed, so that kube-proxy does not delete the endpoint of its pod",
			"EndpointSlice", keep.Name())
	default:
		log.Info("Deleted a keep-slice: no pod has used its address for some time", "EndpointSlice", keep.Name())
	}
}

// announce records an Event on the pods whose address is kept.
func (k *Keeper) announce(p pass.Pass, keep cluster.Keep) {
	for _, pod := range podsWith(p, keep.Address) {
		k.opts.Events.Eventf(pod.Reference(), nil, corev1.EventTypeNormal, EventKept, "Keep",
			"Service %s still lists this pod's address %s elsewhere. hnsguard keeps it listed by EndpointSlice %s until no "+
				"pod has it any more: kube-proxy on this node would answer the drop by deleting this pod's endpoint",
			keep.Service, keep.Address, keep.Name())
	}
}

func podsWith(p pass.Pass, addr netip.Addr) []cluster.PodID {
	var ids []cluster.PodID
	for _, pod := range p.Evidence.Cluster.PodsWith(addr) {
		ids = append(ids, pod.ID())
	}
	return ids
}

func keepResult(err error) string {
	switch {
	case err == nil:
		return written
	case apierrors.IsAlreadyExists(err):
		return present
	case errors.Is(err, errObserving):
		return observed
	case errors.Is(err, admission.ErrUnrestricted):
		return unrestricted
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		return forbidden
	default:
		return failed
	}
}
