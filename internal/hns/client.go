// SPDX-License-Identifier: Apache-2.0

package hns

import (
	"context"
	"errors"
)

// Client is the part of HNS that hnsguard uses. Package hcnclient (Windows) and package hnstest implement it; package
// contract is what is assumed of both. All methods may be called at the same time.
type Client interface {
	// Networks lists all networks.
	Networks(ctx context.Context) ([]Network, error)

	// ListEndpointIDs lists the IDs of all endpoints of all networks, in HNS's own order, which is not documented. It is
	// one call to HNS, however many endpoints there are.
	ListEndpointIDs(ctx context.Context) ([]EndpointID, error)

	// Endpoint reads one endpoint. It returns ErrNotFound when there is none with the ID. HNS has no call that reads
	// several, so there is no method for it either: to read all, list the IDs and read one by one.
	Endpoint(ctx context.Context, id EndpointID) (Endpoint, error)

	// LoadBalancers reads all load balancers: their IDs are listed, then each is opened and queried. One that vanishes in
	// between is left out, because HNS says itself that it is gone. Every other failure to read one fails the whole list.
	LoadBalancers(ctx context.Context) ([]LoadBalancer, error)

	// DeleteEndpoint deletes an endpoint by ID, whatever it is: HNS checks neither its kind nor whether a container uses
	// it or a load balancer refers to it. It returns ErrNotFound when the endpoint had already gone, and ErrTimeout when
	// the outcome is unknown.
	DeleteEndpoint(ctx context.Context, id EndpointID) error

	// Version reads the version of HNS, such as "15.4". It is no operation that is measured: an HNS that hides its
	// version works.
	Version(ctx context.Context) (string, error)
}

// ReadEndpoints reads every endpoint. One that vanishes meanwhile does not exist.
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

// Operation is the closed set of HNS calls, for metrics and for the simulation's faults.
type Operation string

// One operation for each method of Client but Version.
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
