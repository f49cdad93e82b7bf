// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// The functions below write objects in the V2 form that [ReadHNS] reads. An empty list, which Read refuses because it does
// not say what there is none of, is written too: whoever keeps it has to know the kind.

// writeEndpoints writes whole endpoints.
func writeEndpoints(endpoints []hns.Endpoint) ([]byte, error) {
	return writeObjects(endpoints, func(e hns.Endpoint) any {
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
	})
}

// writeNetworks writes networks without their subnets, which are not read either.
func writeNetworks(networks []hns.Network) ([]byte, error) {
	return writeObjects(networks, func(n hns.Network) any {
		return map[string]any{"ID": n.ID, "Name": n.Name, "Type": n.Type, "Ipams": []any{}}
	})
}

// writeLoadBalancers writes load balancers. Frontends and ports are for people: they are not read.
func writeLoadBalancers(balancers []hns.LoadBalancer) ([]byte, error) {
	return writeObjects(balancers, func(lb hns.LoadBalancer) any {
		endpoints := append([]hns.EndpointID{}, lb.Endpoints...)
		return map[string]any{
			"ID": lb.ID, "HostComputeEndpoints": endpoints, "FrontendVIPs": lb.FrontendVIPs, "PortMappings": lb.Ports,
		}
	})
}

func writeObjects[T any](objects []T, form func(T) any) ([]byte, error) {
	forms := make([]any, 0, len(objects))
	for _, o := range objects {
		forms = append(forms, form(o))
	}
	data, err := json.MarshalIndent(forms, "", " ")
	if err != nil {
		return nil, fmt.Errorf("writing HNS objects: %w", err)
	}
	return append(data, '\n'), nil
}
