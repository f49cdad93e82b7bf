// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/action"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// errRefused says that the endpoint stays, after all.
var errRefused = errors.New("the endpoint stays")

// resultOf returns what it means that a verdict was not confirmed.
func resultOf(err error) Result {
	switch {
	case errors.Is(err, errRefused):
		return Refused
	case errors.Is(err, hns.ErrNotFound):
		return AlreadyGone
	default:
		return Unconfirmed
	}
}

// Confirmer judges endpoints again on evidence that was read just now.
type Confirmer struct {
	// Node is the name of this node. Required.
	Node string
	// HNS is where the endpoints are read. Required.
	HNS EndpointReader
	// Evidence is the rest of what a verdict rests on. Required.
	Evidence Evidence
	// Pods reads pods from the API server, not from a cache. Required.
	Pods client.Reader
}

// EndpointReader reads endpoints.
type EndpointReader interface {
	Endpoint(ctx context.Context, id hns.EndpointID) (hns.Endpoint, error)
}

// Evidence returns the evidence of a snapshot as known now.
type Evidence interface {
	With(snapshot inventory.Snapshot) verdict.Evidence
}

// confirm judges the endpoint again, and returns nil if it still may be removed for the same cause.
func (c Confirmer) confirm(ctx context.Context, pass action.Pass, v verdict.Verdict) error {
	again, err := c.rejudge(ctx, pass.Evidence.Snapshot, v)
	if err != nil {
		return err
	}
	switch {
	case !again.Kind.Removes() || !sameClass(again.Kind, v.Kind):
		return fmt.Errorf("%w: it is now %s (%s)", errRefused, again.Kind, again.Reason)
	case again.NeedsCurrentSlices && !v.NeedsCurrentSlices:
		return fmt.Errorf("%w: it is now %s (%s), and needs a proof that the EndpointSlice watch is current",
			errRefused, again.Kind, again.Reason)
	default:
		return nil
	}
}

// sameClass lets an early conflict be confirmed as a conflict: the pod has reported its address meanwhile.
func sameClass(a, b verdict.Kind) bool { return (a == verdict.Orphan) == (b == verdict.Orphan) }

// rejudge reads everything again that a verdict rests on, and applies the same rule (invariant 1). It fails with
// [hns.ErrNotFound] if the endpoint has gone meanwhile.
func (c Confirmer) rejudge(
	ctx context.Context, snapshot inventory.Snapshot, v verdict.Verdict,
) (verdict.Verdict, error) {
	fresh, err := c.HNS.Endpoint(ctx, v.Endpoint.ID)
	if err != nil {
		return verdict.Verdict{}, fmt.Errorf("reading it again: %w", err)
	}
	if !fresh.SameIdentity(v.Endpoint) || !fresh.Remote() {
		return verdict.Verdict{}, fmt.Errorf("%w: its ID now means another endpoint, %v", errRefused, fresh)
	}
	endpoints, err := c.rereadLocals(ctx, snapshot, v)
	if err != nil {
		return verdict.Verdict{}, err
	}
	evidence := c.Evidence.With(snapshot.WithEndpoints(endpoints))
	pods, err := c.podsOfNode(ctx)
	if err != nil {
		return verdict.Verdict{}, err
	}
	evidence.Cluster = evidence.Cluster.WithPods(pods)
	again, there := verdict.About(evidence, v.Endpoint.ID)
	if !there {
		return verdict.Verdict{}, fmt.Errorf("%w: it is not in the evidence any more", errRefused)
	}
	return again, c.noPodElsewhere(ctx, again)
}

// rereadLocals returns the endpoints of the snapshot, those that share an address with the one in question as they
// are in HNS now.
func (c Confirmer) rereadLocals(ctx context.Context, snapshot inventory.Snapshot, v verdict.Verdict,
) ([]inventory.Endpoint, error) {
	endpoints := make([]inventory.Endpoint, 0, len(snapshot.Endpoints))
	for _, e := range snapshot.Endpoints {
		if e.Remote() || !slices.ContainsFunc(v.Endpoint.Addresses, e.Has) {
			endpoints = append(endpoints, e)
			continue
		}
		fresh, err := c.HNS.Endpoint(ctx, e.ID)
		if errors.Is(err, hns.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the local endpoint of its address again: %w", err)
		}
		e.Endpoint = fresh
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}

// confirmTimeout bounds a request to the API server.
const confirmTimeout = 5 * time.Second

// podsOfNode reads the pods of this node from the API server itself.
func (c Confirmer) podsOfNode(ctx context.Context) ([]cluster.Pod, error) {
	return c.listPods(ctx, client.MatchingFields{"spec.nodeName": c.Node})
}

// noPodElsewhere refuses if a pod of another node has the address, where no pod of this one is known to have it. One
// that does may have got it from a pod that is still being deleted. The API server selects by a pod's first address
// only; proven lists all EndpointSlices for IPv6.
func (c Confirmer) noPodElsewhere(ctx context.Context, v verdict.Verdict) error {
	if !v.Early() && !v.Unclaimed() {
		return nil
	}
	addr := v.Address()
	pods, err := c.listPods(ctx, client.MatchingFields{"status.podIP": addr.String()})
	if err != nil {
		return err
	}
	for _, p := range pods {
		if p.Node != c.Node && holds(p, addr) {
			return fmt.Errorf("%w: on the API server pod %s of node %s has its address", errRefused, p.Key, p.Node)
		}
	}
	return nil
}

// holds reports whether the pod may use the address: one that is being deleted does until it is gone.
func holds(p cluster.Pod, addr netip.Addr) bool {
	return !p.HostNetwork && !p.Terminal && slices.Contains(p.Addresses, addr)
}

func (c Confirmer) listPods(ctx context.Context, fields client.MatchingFields) ([]cluster.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	var list corev1.PodList
	if err := c.Pods.List(ctx, &list, fields); err != nil {
		return nil, fmt.Errorf("reading pods from the API server: %w", err)
	}
	pods := make([]cluster.Pod, 0, len(list.Items))
	for i := range list.Items {
		pods = append(pods, cluster.PodOf(&list.Items[i]))
	}
	return pods, nil
}
