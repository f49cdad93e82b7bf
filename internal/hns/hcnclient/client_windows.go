// SPDX-License-Identifier: Apache-2.0

package hcnclient

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/Microsoft/hcsshim/hcn"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// client calls the real service. It has no state: every method reads or changes HNS.
type client struct {
	computenetwork *computenetwork
}

var _ hns.Client = (*client)(nil)

// New opens the Host Networking Service of this machine. It fails with [hns.ErrUnsupported] if Windows has none because
// its Containers feature is not installed. It does not check whether the service is running: it may stop at any time.
func New() (hns.Client, error) {
	dll, err := loadComputeNetwork()
	if err != nil {
		return nil, fmt.Errorf("opening HNS: %w; install the Windows feature Containers: %w", hns.ErrUnsupported, err)
	}
	return &client{computenetwork: dll}, nil
}

// Version implements [hns.Client].
func (*client) Version(context.Context) (string, error) {
	globals, err := hcn.GetGlobals()
	if err != nil {
		return "", fmt.Errorf("reading the version of HNS: %w", err)
	}
	return fmt.Sprintf("%d.%d", globals.Version.Major, globals.Version.Minor), nil
}

// Networks implements [hns.Client].
func (c *client) Networks(context.Context) ([]hns.Network, error) {
	networks, err := readAll(c.computenetwork.networks, decodeNetwork)
	if err != nil {
		return nil, fmt.Errorf("listing networks: %w", err)
	}
	return networks, nil
}

// ListEndpointIDs implements [hns.Client].
func (c *client) ListEndpointIDs(context.Context) ([]hns.EndpointID, error) {
	listed, err := c.computenetwork.endpoints.ids()
	if err != nil {
		return nil, fmt.Errorf("listing endpoint IDs: %w", err)
	}
	return translateAll(listed, hns.ParseID[hns.EndpointID])
}

// Endpoint implements [hns.Client].
func (c *client) Endpoint(_ context.Context, id hns.EndpointID) (hns.Endpoint, error) {
	properties, err := c.computenetwork.endpoints.properties(string(id))
	if err != nil {
		return hns.Endpoint{}, fmt.Errorf("reading endpoint %s: %w", id, err)
	}
	return decodeEndpoint(id, properties)
}

// LoadBalancers implements [hns.Client].
func (c *client) LoadBalancers(context.Context) ([]hns.LoadBalancer, error) {
	balancers, err := readAll(c.computenetwork.loadBalancers, decodeLoadBalancer)
	if err != nil {
		return nil, fmt.Errorf("listing load balancers: %w", err)
	}
	return balancers, nil
}

// source lists and reads the objects of one kind.
type source interface {
	ids() ([]string, error)
	properties(id string) ([]byte, error)
}

// readAll reads the objects of a list one by one. An object that HNS does not find is gone. If a read fails in another
// way, a second list shows whether the object is gone: HNS does not document its not-found code for every kind of
// object.
func readAll[T any](from source, decode func([]byte) (T, error)) ([]T, error) {
	ids, err := from.ids()
	if err != nil {
		return nil, err
	}
	all := make([]T, 0, len(ids))
	for _, id := range ids {
		properties, err := from.properties(id)
		if errors.Is(err, hns.ErrNotFound) {
			continue
		}
		if err != nil {
			if again, listErr := from.ids(); listErr == nil && !slices.Contains(again, id) {
				continue
			}
			return nil, fmt.Errorf("reading %s: %w", id, err)
		}
		object, err := decode(properties)
		if err != nil {
			return nil, err
		}
		all = append(all, object)
	}
	return all, nil
}

// DeleteEndpoint implements [hns.Client].
func (*client) DeleteEndpoint(_ context.Context, id hns.EndpointID) error {
	if err := (&hcn.HostComputeEndpoint{Id: string(id)}).Delete(); err != nil {
		return fmt.Errorf("deleting endpoint %s: %w", id, translateError(err))
	}
	return nil
}
