// SPDX-License-Identifier: Apache-2.0

package hcnclient

import (
	"context"
	"fmt"

	"github.com/Microsoft/hcsshim/hcn"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// client is the real service. It keeps no state: every method is one question to HNS.
type client struct {
	computenetwork *computenetwork
}

var _ hns.Client = (*client)(nil)

// New opens the Host Networking Service of this machine. It fails with [hns.ErrUnsupported] where Windows has none,
// which is so until its Containers feature is installed. That the service runs is not asked here: it may be down at
// any time.
func New() (hns.Client, error) {
	dll, err := loadComputeNetwork()
	if err != nil {
		return nil, fmt.Errorf("opening HNS: %w; install the Windows feature Containers: %w", hns.ErrUnsupported, err)
	}
	return &client{computenetwork: dll}, nil
}

// Networks implements [hns.Client].
func (*client) Networks(context.Context) ([]hns.Network, error) {
	listed, err := hcn.ListNetworks()
	if err != nil {
		return nil, fmt.Errorf("listing networks: %w", translateError(err))
	}
	return translateAll(listed, toNetwork)
}

// ListEndpointIDs implements [hns.Client].
func (c *client) ListEndpointIDs(context.Context) ([]hns.EndpointID, error) {
	listed, err := c.computenetwork.enumerateEndpoints()
	if err != nil {
		return nil, fmt.Errorf("listing endpoint IDs: %w", err)
	}
	return translateAll(listed, hns.ParseID[hns.EndpointID])
}

// Endpoint implements [hns.Client].
func (c *client) Endpoint(_ context.Context, id hns.EndpointID) (hns.Endpoint, error) {
	read, err := c.computenetwork.queryEndpoint(id)
	if err != nil {
		return hns.Endpoint{}, fmt.Errorf("reading endpoint %s: %w", id, err)
	}
	endpoint, err := toEndpoint(read)
	if err != nil {
		return hns.Endpoint{}, err
	}
	if endpoint.ID != id {
		return hns.Endpoint{}, fmt.Errorf("reading endpoint %s: HNS answered with %s", id, endpoint.ID)
	}
	return endpoint, nil
}

// LoadBalancers implements [hns.Client].
func (*client) LoadBalancers(context.Context) ([]hns.LoadBalancer, error) {
	listed, err := hcn.ListLoadBalancers()
	if err != nil {
		return nil, fmt.Errorf("listing load balancers: %w", translateError(err))
	}
	return translateAll(listed, toLoadBalancer)
}

// CreateRemoteEndpoint implements [hns.Client].
func (*client) CreateRemoteEndpoint(_ context.Context, spec hns.RemoteSpec) (hns.Endpoint, error) {
	network := &hcn.HostComputeNetwork{Id: string(spec.Network)}
	made, err := network.CreateRemoteEndpoint(&hcn.HostComputeEndpoint{
		IpConfigurations: []hcn.IpConfig{{IpAddress: spec.Address.String()}},
		MacAddress:       spec.MAC.String(),
		SchemaVersion:    hcn.SchemaVersion{Major: 2, Minor: 0},
	})
	if err != nil {
		return hns.Endpoint{}, fmt.Errorf("making a remote endpoint for %s: %w", spec.Address, translateError(err))
	}
	return toEndpoint(*made)
}

// DeleteEndpoint implements [hns.Client].
func (*client) DeleteEndpoint(_ context.Context, id hns.EndpointID) error {
	if err := (&hcn.HostComputeEndpoint{Id: string(id)}).Delete(); err != nil {
		return fmt.Errorf("deleting endpoint %s: %w", id, translateError(err))
	}
	return nil
}
