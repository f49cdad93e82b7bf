// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// The V1 states of an endpoint that a container uses. Created (1) and Detached (4) say that none does; Uninitialized
// (0), Degraded (5), Destroyed (6) and unknown states say nothing.
const (
	stateAttached        = 2
	stateAttachedSharing = 3
)

// endpointV1 reads what Get-HnsEndpoint shows of an endpoint. The type is that of its network.
func (r *hnsReader) endpointV1(o hnsObject) {
	v := decodeHNS[struct {
		Name, VirtualNetwork, VirtualNetworkName, Type string
		IPAddress, IPv6Address                         string
		IsRemoteEndpoint                               bool
		Flags                                          hns.EndpointFlags
		State                                          uint32
		Namespace                                      struct{ ID string }
		SharedContainers                               []part
	}](r, o)
	e := hns.Endpoint{Name: v.Name, Flags: v.Flags &^ hns.FlagRemote, SharedContainers: len(v.SharedContainers)}
	whole := o.has("State") && o.has("ActivityId", "EncapOverhead", "Resources", "Version")
	switch {
	case v.IsRemoteEndpoint:
		e.Flags |= hns.FlagRemote
	case v.Flags&hns.FlagRemote != 0: // the property and the flag contradict each other
		whole = false
	}
	r.placeEndpoint(o, &e, v.VirtualNetwork, v.Namespace.ID, v.IPAddress, v.IPv6Address)
	if used := v.State == stateAttached || v.State == stateAttachedSharing; used && !e.Attached() {
		e.SharedContainers = 1
	}
	r.addEndpoint(o, e, whole, hns.Network{ID: e.Network, Name: v.VirtualNetworkName, Type: hns.ParseNetworkType(v.Type)})
}

// endpointV2 reads what hcn shows of an endpoint. Untranslated is not HNS's own: [endpointObject] writes it.
func (r *hnsReader) endpointV2(o hnsObject) {
	v := decodeHNS[struct {
		Name, HostComputeNetwork, HostComputeNamespace, Untranslated string
		IPConfigurations                                             []struct {
			IPAddress string `json:"IpAddress"`
		} `json:"IpConfigurations"`
		Flags  hns.EndpointFlags
		Health struct {
			Extra struct{ SharedContainers []part }
		}
	}](r, o)
	var addresses []string
	for _, ip := range v.IPConfigurations {
		addresses = append(addresses, ip.IPAddress)
	}
	e := hns.Endpoint{
		Name: v.Name, Flags: v.Flags, SharedContainers: len(v.Health.Extra.SharedContainers), Untranslated: v.Untranslated,
	}
	r.placeEndpoint(o, &e, v.HostComputeNetwork, v.HostComputeNamespace, addresses...)
	r.addEndpoint(o, e, o.has("SchemaVersion"), hns.Network{ID: e.Network})
}

// placeEndpoint reads where an endpoint is. HNS writes an empty string for "none".
func (r *hnsReader) placeEndpoint(o hnsObject, e *hns.Endpoint, network, namespace string, addresses ...string) {
	v := decodeHNS[struct{ ID, MacAddress string }](r, o)
	e.ID = parse(r, o, "ID", v.ID, hns.ParseID[hns.EndpointID])
	e.MAC = parse(r, o, "MacAddress", v.MacAddress, hns.ParseMAC)
	e.Network = parse(r, o, "network", network, hns.ParseOptionalID[hns.NetworkID])
	e.Namespace = parse(r, o, "namespace", namespace, hns.ParseOptionalID[hns.NamespaceID])
	for _, text := range addresses {
		if text != "" {
			e.Addresses = append(e.Addresses, parse(r, o, "IPAddress", text, hns.ParseAddr))
		}
	}
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

// addEndpoint adds an endpoint and the network that it is on.
func (r *hnsReader) addEndpoint(o hnsObject, e hns.Endpoint, whole bool, on hns.Network) {
	r.dump.EndpointsRecorded = true
	if e.Network != "" {
		r.addNetwork(o, on)
	}
	if lacks := missing(e, whole); lacks != "" {
		r.dump.Incomplete[e.ID] = lacks
	}
	r.dump.Endpoints = keep(r.source, o.at, "endpoint "+string(e.ID), r.dump.Endpoints, e)
}

// network reads a network, of which V1 and V2 show the needed properties alike.
func (r *hnsReader) network(o hnsObject) {
	v := decodeHNS[struct{ ID, Name, Type string }](r, o)
	id := parse(r, o, "ID", v.ID, hns.ParseID[hns.NetworkID])
	r.addNetwork(o, hns.Network{ID: id, Name: v.Name, Type: hns.ParseNetworkType(v.Type)})
}

// addNetwork adds a network, or what an earlier record of it lacks.
func (r *hnsReader) addNetwork(o hnsObject, n hns.Network) {
	i, again := r.networks[n.ID]
	if !again {
		r.networks[n.ID] = len(r.dump.Networks)
		r.dump.Networks = keep(r.source, o.at, "network "+string(n.ID), r.dump.Networks, n)
		return
	}
	known := &r.dump.Networks[i]
	known.Name, known.Type = cmp.Or(known.Name, n.Name), cmp.Or(known.Type, n.Type)
}

// loadBalancer reads what hcn shows of a load balancer, and what Get-HnsPolicyList shows: what hcn calls a load
// balancer is a list with policies of type ELB. A list of other policies counts too: it refers to endpoints as well.
func (r *hnsReader) loadBalancer(o hnsObject) {
	v := decodeHNS[struct {
		ID                                             string
		HostComputeEndpoints, References, FrontendVIPs []string
		PortMappings                                   []hns.PortMapping
		Policies                                       []struct {
			hns.PortMapping
			Type string
			VIPs []string
		}
	}](r, o)
	lb := hns.LoadBalancer{ID: parse(r, o, "ID", v.ID, hns.ParseID[hns.LoadBalancerID])}
	for _, id := range v.HostComputeEndpoints {
		lb.Endpoints = append(lb.Endpoints, parse(r, o, "HostComputeEndpoints", id, hns.ParseID[hns.EndpointID]))
	}
	for _, path := range v.References {
		lb.Endpoints = append(lb.Endpoints, parse(r, o, "References", path, endpointOf))
	}
	lb.Ports = v.PortMappings
	for _, p := range v.Policies {
		if p.Type == "ELB" {
			lb.Ports, v.FrontendVIPs = append(lb.Ports, p.PortMapping), append(v.FrontendVIPs, p.VIPs...)
		}
	}
	for _, text := range v.FrontendVIPs {
		if text != "" {
			lb.FrontendVIPs = append(lb.FrontendVIPs, parse(r, o, "VIP", text, hns.ParseAddr))
		}
	}
	r.dump.LoadBalancersRecorded = true
	r.dump.LoadBalancers = keep(r.source, o.at, "load balancer "+string(lb.ID), r.dump.LoadBalancers, lb)
}

// endpointOf is the endpoint to which a policy list refers.
func endpointOf(reference string) (hns.EndpointID, error) {
	const prefix = "/endpoints/"
	if len(reference) < len(prefix) || !strings.EqualFold(reference[:len(prefix)], prefix) {
		return "", fmt.Errorf("%q does not refer to an endpoint: want %s<ID>", reference, prefix)
	}
	return hns.ParseID[hns.EndpointID](reference[len(prefix):])
}
