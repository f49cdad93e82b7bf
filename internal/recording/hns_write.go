// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"net/netip"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// The functions below form objects in the V2 form that [ReadHNS] reads.

// endpointObject forms a whole endpoint.
func endpointObject(e hns.Endpoint) any {
	type ipConfig struct {
		IPAddress netip.Addr `json:"IpAddress"`
	}
	addresses := make([]ipConfig, 0, len(e.Addresses))
	for _, addr := range e.Addresses {
		addresses = append(addresses, ipConfig{addr})
	}
	return map[string]any{
		"ID": e.ID, "Name": e.Name, "HostComputeNetwork": e.Network, "HostComputeNamespace": e.Namespace,
		"MacAddress": e.MAC, "Flags": e.Flags, "IpConfigurations": addresses, "Untranslated": e.Untranslated,
		"Health":        map[string]any{"Extra": map[string]any{"SharedContainers": make([]struct{}, e.SharedContainers)}},
		"SchemaVersion": map[string]int{"Major": 2, "Minor": 0},
	}
}

// networkObject forms a network without its subnets, which are not read either.
func networkObject(n hns.Network) any {
	return map[string]any{"ID": n.ID, "Name": n.Name, "Type": n.Type, "Ipams": []any{}}
}

// balancerObject forms a load balancer. Frontends and ports are for people: they are not read.
func balancerObject(lb hns.LoadBalancer) any {
	return map[string]any{
		"ID": lb.ID, "HostComputeEndpoints": append([]hns.EndpointID{}, lb.Endpoints...), "FrontendVIPs": lb.FrontendVIPs,
		"PortMappings": lb.Ports,
	}
}
