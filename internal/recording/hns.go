// SPDX-License-Identifier: Apache-2.0

package recording

import "github.com/hnsguard/hnsguard/internal/hns"

// HNS is what one or more files say about the HNS of a node.
type HNS struct {
	// Networks are the recorded networks and those that endpoints name. Subnets are not read. Name and type of a network
	// that only V2 endpoints name are unknown.
	Networks []hns.Network

	// Endpoints are in the order of the files.
	Endpoints []hns.Endpoint
	// EndpointsRecorded is false if no file mentions endpoints: unknown is not "none".
	EndpointsRecorded bool

	// LoadBalancers are V2 load balancers and V1 policy lists. Only ID and Endpoints are read.
	LoadBalancers []hns.LoadBalancer
	// LoadBalancersRecorded is false if no file mentions load balancers: unknown is not "none".
	LoadBalancersRecorded bool

	// Incomplete names, for each endpoint whose record does not suffice for a verdict, what is missing. Its fields may
	// mean nothing: an endpoint of unknown kind has no remote flag, and yet may be remote.
	Incomplete map[hns.EndpointID]string
}
