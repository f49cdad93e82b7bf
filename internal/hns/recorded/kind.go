// SPDX-License-Identifier: Apache-2.0

package recorded

// kind is the kind of an HNS object, and for all but namespaces the interface that shows it so.
type kind int

const (
	unknownKind kind = iota
	loadBalancerV2
	policyList
	endpointV2
	endpointV1
	networkV2
	networkV1
	namespace
)

// noun names the kind for people, whichever interface shows it.
func (k kind) noun() string {
	switch k {
	case loadBalancerV2, policyList:
		return "load balancer"
	case endpointV2, endpointV1:
		return "endpoint"
	case networkV2, networkV1:
		return "network"
	case namespace:
		return "namespace"
	default:
		return "object"
	}
}

// kindOf tells an object's kind from its properties. Objects carry no type of their own, and the properties overlap: a
// load balancer names its network as an endpoint does, so the order of the tests matters.
func kindOf(has func(property string) bool) kind {
	for _, mark := range []struct {
		kind       kind
		properties []string
	}{
		{loadBalancerV2, []string{"HostComputeEndpoints", "PortMappings", "FrontendVIPs"}},
		{policyList, []string{"References"}},
		{endpointV2, []string{"IpConfigurations", "HostComputeNamespace", "HostComputeNetwork"}},
		{endpointV1, []string{"VirtualNetwork", "VirtualNetworkName", "IsRemoteEndpoint", "IPSubnetId", "IPAddress"}},
		{namespace, []string{"CompartmentId", "ResourceList", "NamespaceId", "IsDefault"}},
		{networkV2, []string{"Ipams", "MacPool"}},
		{networkV1, []string{
			"Subnets", "MacPools", "LayeredOn", "CurrentEndpointCount", "MaxConcurrentEndpoints", "AddressPrefix",
		}},
		{endpointV1, []string{"SharedContainers", "MacAddress"}},
	} {
		for _, property := range mark.properties {
			if has(property) {
				return mark.kind
			}
		}
	}
	return unknownKind
}
