// SPDX-License-Identifier: Apache-2.0

package hns

import (
	"context"
	"errors"
)

// Client is the part of HNS that hnsguard uses. Package hcnclient (Windows) and package hnstest implement it; package
// contract tests the assumptions about both. All methods are safe for concurrent use.
type Client interface {
	// Networks lists all networks.
	Networks(ctx context.Context) ([]Network, error)

	// ListEndpointIDs lists the IDs of all endpoints of all networks, in HNS's own, undocumented order. It is one call to
	// HNS, however many endpoints there are.
	ListEndpointIDs(ctx context.Context) ([]EndpointID, error)

	// Endpoint reads one endpoint. It returns ErrNotFound if no endpoint has the ID. HNS has no call that reads several
	// endpoints, so neither has Client: to read all, list the IDs and read one by one.
	Endpoint(ctx context.Context, id EndpointID) (Endpoint, error)

	// LoadBalancers reads all load balancers: it lists their IDs, then opens and queries each one. A load balancer that
	// vanishes in between is omitted, because HNS itself says that it is gone. Every other failure to read one fails the
	// whole list.
	LoadBalancers(ctx context.Context) ([]LoadBalancer, error)

	// DeleteEndpoint deletes an endpoint by ID, whatever it is: HNS checks neither its kind nor whether a container uses
	// it or a load balancer refers to it. It returns ErrNotFound if the endpoint is already gone, and ErrTimeout if the
	// outcome is unknown.
	DeleteEndpoint(ctx context.Context, id EndpointID) error

	// Version reads the version of HNS, such as "15.4". It is not measured: an HNS that does not report its version still
	// works.
	Version(ctx context.Context) (string, error)
}

// ReadEndpoints reads every endpoint. It omits endpoints that vanish meanwhile.
func ReadEndpoints(ctx context.Context, client Client) ([]Endpoint, error) {
	ids, err := client.ListEndpointIDs(ctx)
	if err != nil {
		return nil, err
	}
	endpoints := make([]Endpoint, 0, len(ids))
	for _, id := range ids {
		e, err := client.Endpoint(ctx, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}

// Operation is the closed set of HNS calls, for metrics and for the faults of package hnstest.
type Operation string

// One operation for each method of Client except Version.
const (
	OpNetworks        Operation = "list_networks"
	OpListEndpointIDs Operation = "list_endpoint_ids"
	OpEndpoint        Operation = "get_endpoint"
	OpLoadBalancers   Operation = "list_load_balancers"
	OpDeleteEndpoint  Operation = "delete_endpoint"
)

// Operations lists every operation, so that metrics can start at zero.
func Operations() []Operation {
	return []Operation{
		OpNetworks, OpListEndpointIDs, OpEndpoint, OpLoadBalancers, OpDeleteEndpoint,
	}
}
