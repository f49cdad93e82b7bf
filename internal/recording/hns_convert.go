// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// The V1 states of an endpoint that a container uses. Created (1) and Detached (4) say that none does; Uninitialized
// (0), Degraded (5), Destroyed (6) and unknown states say nothing.
const (
	stateAttached        = 2
	stateAttachedSharing = 3
)

// endpointV1 is what Get-HnsEndpoint shows of an endpoint.
type endpointV1 struct {
	ID, Name           string
	VirtualNetwork     string
	VirtualNetworkName string
	Type               string // of the network
	IPAddress          string
	IPv6Address        string
	MacAddress         string
	IsRemoteEndpoint   bool
	Flags              hns.EndpointFlags
	State              uint32
	Namespace          struct{ ID string }
	SharedContainers   []json.RawMessage
}

func (r *hnsReader) endpointV1(o hnsObject) {
	v := decodeHNS[endpointV1](r, o)
	e := hns.Endpoint{
		ID:               parse(r, o, "ID", v.ID, hns.ParseID[hns.EndpointID]),
		Name:             v.Name,
		Network:          parse(r, o, "VirtualNetwork", v.VirtualNetwork, hns.ParseOptionalID[hns.NetworkID]),
		Namespace:        parse(r, o, "Namespace.ID", v.Namespace.ID, hns.ParseOptionalID[hns.NamespaceID]),
		Addresses:        append(r.addresses(o, "IPAddress", v.IPAddress), r.addresses(o, "IPv6Address", v.IPv6Address)...),
		MAC:              parse(r, o, "MacAddress", v.MacAddress, hns.ParseMAC),
		Flags:            v.Flags &^ hns.FlagRemote,
		SharedContainers: len(v.SharedContainers),
	}
	whole := o.has("State") && o.has("ActivityId", "EncapOverhead", "Resources", "Version")
	switch {
	case v.IsRemoteEndpoint:
		e.Flags |= hns.FlagRemote
	case v.Flags&hns.FlagRemote != 0: // the property and the flag contradict each other
		whole = false
	}
	if used := v.State == stateAttached || v.State == stateAttachedSharing; used && !e.Attached() {
		e.SharedContainers = 1
	}
	r.addEndpoint(o, e, whole, hns.Network{ID: e.Network, Name: v.VirtualNetworkName, Type: hns.ParseNetworkType(v.Type)})
}

// endpointV2 is what hcn shows of an endpoint.
type endpointV2 struct {
	ID, Name             string
	HostComputeNetwork   string
	HostComputeNamespace string
	IPConfigurations     []struct {
		IPAddress string `json:"IpAddress"`
	} `json:"IpConfigurations"`
	MacAddress string
	Flags      hns.EndpointFlags
	Health     struct {
		Extra struct{ SharedContainers []json.RawMessage }
	}
	// Untranslated is not HNS's own: [writeEndpoints] writes it.
	Untranslated string
}

func (r *hnsReader) endpointV2(o hnsObject) {
	v := decodeHNS[endpointV2](r, o)
	e := hns.Endpoint{
		ID:               parse(r, o, "ID", v.ID, hns.ParseID[hns.EndpointID]),
		Name:             v.Name,
		Network:          parse(r, o, "HostComputeNetwork", v.HostComputeNetwork, hns.ParseOptionalID[hns.NetworkID]),
		Namespace:        parse(r, o, "HostComputeNamespace", v.HostComputeNamespace, hns.ParseOptionalID[hns.NamespaceID]),
		MAC:              parse(r, o, "MacAddress", v.MacAddress, hns.ParseMAC),
		Flags:            v.Flags,
		SharedContainers: len(v.Health.Extra.SharedContainers),
		Untranslated:     v.Untranslated,
	}
	for _, ip := range v.IPConfigurations {
		e.Addresses = append(e.Addresses, r.addresses(o, "IpConfigurations.IpAddress", ip.IPAddress)...)
	}
	r.addEndpoint(o, e, o.has("SchemaVersion"), hns.Network{ID: e.Network})
}

// addEndpoint keeps an endpoint and the network that it is on.
func (r *hnsReader) addEndpoint(o hnsObject, e hns.Endpoint, whole bool, on hns.Network) {
	r.dump.EndpointsRecorded = true
	if e.Network != "" {
		r.conflict(o, r.dump.addNetwork(on))
	}
	r.conflict(o, r.dump.addEndpoint(e, missing(e, whole)))
}

// missing says what a verdict needs and the record lacks, or returns an empty string.
func missing(e hns.Endpoint, whole bool) string {
	switch {
	case e.Network == "":
		return "network"
	case !e.Remote() && !whole:
		return "local or remote"
	case e.Remote() && e.MAC == (hns.MAC{}):
		return "MAC address"
	case e.Remote() && !whole && len(e.Addresses) == 0:
		return "IP address"
	default:
		return ""
	}
}

// addresses reads an address. HNS writes an empty string for "none".
func (r *hnsReader) addresses(o hnsObject, property, text string) []netip.Addr {
	if text == "" {
		return nil
	}
	return []netip.Addr{parse(r, o, property, text, hns.ParseAddr)}
}

// network reads a network, of which V1 and V2 show the needed properties alike.
func (r *hnsReader) network(o hnsObject) {
	v := decodeHNS[struct{ ID, Name, Type string }](r, o)
	r.conflict(o, r.dump.addNetwork(hns.Network{
		ID:   parse(r, o, "ID", v.ID, hns.ParseID[hns.NetworkID]),
		Name: v.Name,
		Type: hns.ParseNetworkType(v.Type),
	}))
}

// loadBalancerV2 reads what hcn shows of a load balancer.
func (r *hnsReader) loadBalancerV2(o hnsObject) {
	v := decodeHNS[struct {
		ID                   string
		HostComputeEndpoints []string
	}](r, o)
	r.addLoadBalancer(o, v.ID, "HostComputeEndpoints", v.HostComputeEndpoints, hns.ParseID[hns.EndpointID])
}

// policyList reads what Get-HnsPolicyList shows. What hcn calls a load balancer is a list with policies of type ELB. A
// list of other policies counts too: it refers to endpoints as well.
func (r *hnsReader) policyList(o hnsObject) {
	v := decodeHNS[struct {
		ID         string
		References []string
	}](r, o)
	r.addLoadBalancer(o, v.ID, "References", v.References, func(s string) (hns.EndpointID, error) {
		const prefix = "/endpoints/"
		if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
			return "", fmt.Errorf("%q does not refer to an endpoint: want %s<ID>", s, prefix)
		}
		return hns.ParseID[hns.EndpointID](s[len(prefix):])
	})
}

func (r *hnsReader) addLoadBalancer(o hnsObject, id, property string, endpoints []string,
	parser func(string) (hns.EndpointID, error),
) {
	r.dump.LoadBalancersRecorded = true
	lb := hns.LoadBalancer{ID: parse(r, o, "ID", id, hns.ParseID[hns.LoadBalancerID])}
	for _, endpoint := range endpoints {
		lb.Endpoints = append(lb.Endpoints, parse(r, o, property, endpoint, parser))
	}
	r.conflict(o, r.dump.addLoadBalancer(lb))
}
