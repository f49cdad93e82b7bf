// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// errRefused means that the endpoint stays after all.
var errRefused = errors.New("the endpoint stays")

// resultOf maps the error of a failed confirmation to a result.
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

// Confirmer judges endpoints again on fresh evidence.
type Confirmer struct {
	// Node is the name of this node. Required.
	Node string
	// HNS reads the endpoints. Required.
	HNS EndpointReader
	// Evidence provides the rest of the evidence. Required.
	Evidence Evidence
	// Pods reads pods from the API server. Required.
	Pods PodReader
	// KubeProxy detects the node's kube-proxy again and returns its profile. Required.
	KubeProxy func(ctx context.Context) (kubeproxy.Profile, error)
}

// EndpointReader reads endpoints.
type EndpointReader interface {
	Endpoint(ctx context.Context, id hns.EndpointID) (hns.Endpoint, error)
}

// Evidence provides everything but the snapshot.
type Evidence interface {
	// With returns the present evidence with the given snapshot.
	With(snapshot verdict.Snapshot) verdict.Evidence
	// RememberElsewhere replaces what is known about the pods on other nodes that may use these addresses. An empty entry
	// means that there are none.
	RememberElsewhere(pods map[netip.Addr][]cluster.Pod)
}

// confirm judges the endpoint again, and returns nil if it may still be removed for the same cause.
func (c Confirmer) confirm(ctx context.Context, pass pass.Pass, v verdict.Verdict, pods lookup) error {
	again, err := c.rejudge(ctx, pass.Evidence.Snapshot, v, pods)
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

// sameClass lets a conflict confirm an early conflict: the pod has reported its address meanwhile.
func sameClass(a, b verdict.Kind) bool { return (a == verdict.Orphan) == (b == verdict.Orphan) }

// rejudge rereads the endpoints, and applies the same rule to them, to the pods on the API server and to the latest
// view of the cluster (invariant 1). It fails with [hns.ErrNotFound] if the endpoint is gone.
func (c Confirmer) rejudge(
	ctx context.Context, snapshot verdict.Snapshot, v verdict.Verdict, pods lookup,
) (verdict.Verdict, error) {
	fresh, err := c.HNS.Endpoint(ctx, v.Endpoint.ID)
	if err != nil {
		return verdict.Verdict{}, fmt.Errorf("reading it again: %w", err)
	}
	if !fresh.SameIdentity(v.Endpoint) {
		return verdict.Verdict{}, fmt.Errorf("%w: its ID now means another endpoint, %v", errRefused, fresh)
	}
	endpoints, err := c.rereadLocals(ctx, snapshot, v)
	if err != nil {
		return verdict.Verdict{}, err
	}
	read, err := pods() // after the first endpoint
	if err != nil {
		return verdict.Verdict{}, err
	}
	evidence := c.Evidence.With(snapshot.WithEndpoints(endpoints))
	evidence.Cluster, evidence.Elsewhere = evidence.Cluster.WithPods(read.here), read.elsewhere
	evidence.KubeProxy = read.kubeProxy
	again, there := verdict.DecideEndpoint(evidence, v.Endpoint.ID)
	if !there {
		return verdict.Verdict{}, fmt.Errorf("%w: it is not in the evidence any more", errRefused)
	}
	return again, nil
}

// rereadLocals returns the endpoints of the snapshot. It rereads the local ones that share an address with the given
// one.
func (c Confirmer) rereadLocals(ctx context.Context, snapshot verdict.Snapshot, v verdict.Verdict,
) ([]verdict.Endpoint, error) {
	endpoints := make([]verdict.Endpoint, 0, len(snapshot.Endpoints))
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
