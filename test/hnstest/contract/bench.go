// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// bench is the environment of checks: an HNS, and a network for the objects that they create. No address or VIP is used
// twice in a run.
type bench struct {
	hns     Service
	network hns.Network
	opts    Options
	// address and vip are the last ones used, and number counts the created objects.
	address, vip netip.Addr
	number       uint16
	// made are the deletions of the objects that the current check has created, by ID.
	made []undo
}

type undo struct {
	id string
	do func(context.Context) error
}

// newAddress returns an address of the network that no other object has had.
func (b *bench) newAddress() netip.Addr {
	b.address = b.address.Next()
	return b.address
}

func (b *bench) newFrontend() netip.Addr {
	b.vip = b.vip.Next()
	return b.vip
}

// remote creates a remote endpoint like kube-proxy's, except for its hardware address.
func (b *bench) remote(ctx context.Context, addr netip.Addr) (hns.EndpointID, error) {
	b.number++
	return b.create(ctx, EndpointSpec{Address: addr, MAC: markedMAC(b.number), Remote: true})
}

// local creates a local endpoint like a CNI's.
func (b *bench) local(ctx context.Context, addr netip.Addr) (hns.EndpointID, error) {
	b.number++
	return b.create(ctx, EndpointSpec{Address: addr})
}

func (b *bench) create(ctx context.Context, spec EndpointSpec) (hns.EndpointID, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	spec.Name = fmt.Sprintf("%s-%d", NetworkName, b.number)
	id, err := b.hns.CreateEndpoint(ctx, b.network, spec)
	if err == nil {
		b.undo(string(id), func(ctx context.Context) error { return b.hns.DeleteEndpoint(ctx, id) })
	}
	return id, err
}

// remotes creates remote endpoints with new addresses.
func (b *bench) remotes(ctx context.Context, n int) ([]hns.EndpointID, error) {
	ids := make([]hns.EndpointID, 0, n)
	for range n {
		id, err := b.remote(ctx, b.newAddress())
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// balancer creates a load balancer for one TCP port.
func (b *bench) balancer(ctx context.Context, vip netip.Addr, backends ...hns.EndpointID) (hns.LoadBalancer, error) {
	lb := hns.LoadBalancer{
		Endpoints: backends, FrontendVIPs: []netip.Addr{vip},
		Ports: []hns.PortMapping{{Protocol: 6, InternalPort: 8080, ExternalPort: 80}},
	}
	if err := ctx.Err(); err != nil {
		return lb, err
	}
	id, err := b.hns.CreateLoadBalancer(ctx, lb)
	if err == nil {
		lb.ID = id
		b.undo(string(id), func(ctx context.Context) error { return b.hns.DeleteLoadBalancer(ctx, id) })
	}
	return lb, err
}

func (b *bench) namespace(ctx context.Context) (hns.NamespaceID, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	id, err := b.hns.CreateNamespace(ctx, newNamespaceID())
	if err == nil {
		b.undo(string(id), func(ctx context.Context) error { return b.hns.DeleteNamespace(ctx, id) })
	}
	return id, err
}

func (b *bench) undo(id string, do func(context.Context) error) {
	b.made = append(b.made, undo{id, do})
}

// remove deletes one of the created objects.
func (b *bench) remove(ctx context.Context, id string) error {
	at := slices.IndexFunc(b.made, func(u undo) bool { return u.id == id })
	err := b.made[at].do(ctx)
	if err == nil {
		b.made = slices.Delete(b.made, at, at+1)
	}
	return err
}

// removeAll deletes what the check has created, the latest first: it may refer to older objects (invariant 3).
func (b *bench) removeAll(ctx context.Context) error {
	var errs []error
	for _, u := range slices.Backward(b.made) {
		err := u.do(ctx)
		if errors.Is(err, hns.ErrUnavailable) {
			return err
		}
		if !errors.Is(err, hns.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	b.made = nil
	return errors.Join(errs...)
}

// balancerOf reads a load balancer.
func (b *bench) balancerOf(ctx context.Context, id hns.LoadBalancerID) (hns.LoadBalancer, error) {
	all, err := b.hns.LoadBalancers(ctx)
	if err != nil {
		return hns.LoadBalancer{}, err
	}
	for _, lb := range all {
		if lb.ID == id {
			return lb, nil
		}
	}
	return hns.LoadBalancer{}, fmt.Errorf("reading load balancer %s: %w", id, hns.ErrNotFound)
}
