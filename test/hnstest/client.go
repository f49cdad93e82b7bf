// SPDX-License-Identifier: Apache-2.0

package hnstest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// callsPerObject is the number of calls to the service for reading one object: open, query, close.
const callsPerObject = 3

// Version implements [hns.Client].
func (h *HNS) Version(context.Context) (string, error) {
	if h.has(HidesVersion) {
		return "", fmt.Errorf("reading the version: %w", errors.ErrUnsupported)
	}
	return cmp.Or(h.opts.Version, "0.1"), nil
}

// Networks implements [hns.Client].
func (h *HNS) Networks(ctx context.Context) (networks []hns.Network, err error) {
	defer func() { h.log(hns.OpNetworks, "", err) }()
	if err := h.enter(ctx, hns.OpNetworks); err != nil {
		return nil, err
	}
	h.mu.Lock()
	networks = slices.Clone(h.networks)
	h.mu.Unlock()
	for i := range networks {
		networks[i].Type = hns.ParseNetworkType(string(networks[i].Type)) // HNS returns it as its creator wrote it
		if h.has(HidesTypes) {
			networks[i].Type = ""
		}
	}
	return networks, h.spend(ctx, callsPerObject*len(networks))
}

// ListEndpointIDs implements [hns.Client].
func (h *HNS) ListEndpointIDs(ctx context.Context) (ids []hns.EndpointID, err error) {
	defer func() { h.log(hns.OpListEndpointIDs, "", err) }()
	if h.has(OneAtATime) {
		if !h.listing.TryLock() {
			return nil, errBusy
		}
		defer h.listing.Unlock()
	}
	if err := h.enter(ctx, hns.OpListEndpointIDs); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	ids = idsOf(h.listed())
	if newest := len(h.endpoints) - 1; newest >= 0 && h.has(ListsLate) {
		ids = slices.DeleteFunc(ids, func(id hns.EndpointID) bool { return id == h.endpoints[newest].ID })
	}
	h.vanishListed()
	return ids, nil
}

// Endpoint implements [hns.Client].
func (h *HNS) Endpoint(ctx context.Context, id hns.EndpointID) (endpoint hns.Endpoint, err error) {
	defer func() { h.log(hns.OpEndpoint, id, err) }()
	if err := h.enter(ctx, hns.OpEndpoint); err != nil {
		return hns.Endpoint{}, err
	}
	if err := h.spend(ctx, callsPerObject-1); err != nil {
		return hns.Endpoint{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.indexOf(id)
	if at < 0 {
		return hns.Endpoint{}, fmt.Errorf("opening endpoint %s: %w", id, h.notFound())
	}
	endpoint = h.endpoints[at]
	endpoint.Addresses = slices.Clone(endpoint.Addresses)
	if h.has(HidesNamespaces) {
		endpoint.Namespace = ""
	}
	return endpoint, nil
}

// LoadBalancers implements [hns.Client].
func (h *HNS) LoadBalancers(ctx context.Context) (balancers []hns.LoadBalancer, err error) {
	defer func() { h.log(hns.OpLoadBalancers, "", err) }()
	if err := h.enter(ctx, hns.OpLoadBalancers); err != nil {
		return nil, err
	}
	h.mu.Lock()
	listed, fails := h.listedLoadBalancers(), h.balancerDeleted && h.has(ListsFail)
	h.vanishListedLoadBalancers()
	h.mu.Unlock()
	if fails {
		return nil, fmt.Errorf("reading a load balancer: %w", errUnknown)
	}
	for _, lb := range listed {
		if err := h.spend(ctx, callsPerObject); err != nil {
			return nil, err
		}
		if read, present := h.loadBalancer(lb.ID); present {
			balancers = append(balancers, read)
		}
	}
	return balancers, nil
}

// DeleteEndpoint implements [hns.Client].
func (h *HNS) DeleteEndpoint(ctx context.Context, id hns.EndpointID) (err error) {
	defer func() { h.log(hns.OpDeleteEndpoint, id, err) }()
	if err := h.enter(ctx, hns.OpDeleteEndpoint); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.indexOf(id)
	if at < 0 {
		return fmt.Errorf("deleting endpoint %s: %w", id, h.notFound())
	}
	if h.faults.undeletable[id] || h.has(KeepsDeleted) {
		return nil
	}
	return h.delete(h.endpoints[at])
}

// spend waits for the duration of n calls and counts them.
func (h *HNS) spend(ctx context.Context, n int) error {
	h.mu.Lock()
	h.cost += n
	wait := time.Duration(n) * h.opts.Latency
	h.mu.Unlock()
	if wait == 0 {
		return nil
	}
	select {
	case <-h.opts.Clock.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func idsOf(endpoints []hns.Endpoint) []hns.EndpointID {
	ids := make([]hns.EndpointID, 0, len(endpoints))
	for _, e := range endpoints {
		ids = append(ids, e.ID)
	}
	return ids
}
