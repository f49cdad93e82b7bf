// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/Microsoft/hcsshim/hcn"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/hcnclient"
	"github.com/hnsguard/hnsguard/test/hnstest/contract"
)

// service reads with the agent's client, and writes through hcsshim, like CNIs and kube-proxy.
type service struct {
	hns.Client
	// adapter is the network adapter for networks that need one.
	adapter string
}

// Open opens the HNS of this machine. Networks are created on the adapter, unless it is empty.
func Open(adapter string) (contract.Service, error) {
	client, err := hcnclient.New()
	if err != nil {
		return nil, err
	}
	return service{client, adapter}, nil
}

func v2() hcn.SchemaVersion { return hcn.SchemaVersion{Major: 2, Minor: 0} }

// CreateNetwork implements [contract.Service].
func (s service) CreateNetwork(
	_ context.Context, name string, kind hns.NetworkType, subnet netip.Prefix,
) (hns.Network, error) {
	spec := &hcn.HostComputeNetwork{
		Name: name, Type: hcn.NetworkType(kind), SchemaVersion: v2(),
		Ipams: []hcn.Ipam{{Type: "Static", Subnets: []hcn.Subnet{{
			IpAddressPrefix: subnet.String(),
			Routes: []hcn.Route{{
				NextHop: subnet.Masked().Addr().Next().String(), DestinationPrefix: "0.0.0.0/0",
			}},
		}}}},
	}
	if kind == hns.NetworkOverlay {
		spec.Ipams[0].Subnets[0].Policies = []json.RawMessage{
			[]byte(`{"Type": "VSID", "Settings": {"IsolationId": 9999}}`),
		}
	}
	if s.adapter != "" {
		settings, err := json.Marshal(hcn.NetAdapterNameNetworkPolicySetting{NetworkAdapterName: s.adapter})
		if err != nil {
			return hns.Network{}, fmt.Errorf("encoding the name of the adapter: %w", err)
		}
		spec.Policies = []hcn.NetworkPolicy{{Type: hcn.NetAdapterName, Settings: settings}}
	}
	made, err := spec.Create()
	if err != nil {
		return hns.Network{}, fmt.Errorf("creating a network: %w", err)
	}
	id, err := hns.ParseID[hns.NetworkID](made.Id)
	return hns.Network{ID: id, Name: name, Type: kind, Subnets: []netip.Prefix{subnet}}, err
}

// DeleteNetwork implements [contract.Service].
func (service) DeleteNetwork(_ context.Context, id hns.NetworkID) error {
	return translate((&hcn.HostComputeNetwork{Id: string(id)}).Delete())
}

// CreateEndpoint implements [contract.Service].
func (service) CreateEndpoint(
	_ context.Context, on hns.Network, spec contract.EndpointSpec,
) (hns.EndpointID, error) {
	address := hcn.IpConfig{IpAddress: spec.Address.String()}
	endpoint := &hcn.HostComputeEndpoint{Name: spec.Name, SchemaVersion: v2()}
	if spec.MAC != (hns.MAC{}) {
		endpoint.MacAddress = spec.MAC.String()
	}
	if spec.Remote {
		endpoint.Flags = hcn.EndpointFlagsRemoteEndpoint
	} else { // as CNIs do
		address.PrefixLength = uint8(on.Subnets[0].Bits())
	}
	endpoint.IpConfigurations = []hcn.IpConfig{address}
	if spec.Remote && on.Type == hns.NetworkOverlay { // as kube-proxy does
		endpoint.Policies = []hcn.EndpointPolicy{{
			Type: hcn.NetworkProviderAddress, Settings: []byte(`{"ProviderAddress": "203.0.113.254"}`),
		}}
	}
	made, err := (&hcn.HostComputeNetwork{Id: string(on.ID)}).CreateEndpoint(endpoint)
	if err != nil {
		return "", err
	}
	return hns.ParseID[hns.EndpointID](made.Id)
}

// CreateNamespace implements [contract.Service]. hcsshim does not let the caller choose the ID.
func (service) CreateNamespace(_ context.Context, id hns.NamespaceID) (hns.NamespaceID, error) {
	return createNamespace(id)
}

// Namespaces implements [contract.Service].
func (service) Namespaces(context.Context) ([]hns.NamespaceID, error) {
	namespaces, err := hcn.ListNamespaces()
	if err != nil {
		return nil, fmt.Errorf("listing namespaces: %w", err)
	}
	var ids []hns.NamespaceID
	for _, n := range namespaces {
		id, err := hns.ParseID[hns.NamespaceID](n.Id)
		if err != nil {
			return nil, fmt.Errorf("listing namespaces: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// DeleteNamespace implements [contract.Service].
func (service) DeleteNamespace(_ context.Context, id hns.NamespaceID) error {
	return translate((&hcn.HostComputeNamespace{Id: string(id)}).Delete())
}

// Attach implements [contract.Service].
func (service) Attach(_ context.Context, endpoint hns.EndpointID, namespace hns.NamespaceID) error {
	return hcn.AddNamespaceEndpoint(string(namespace), string(endpoint))
}

// CreateLoadBalancer implements [contract.Service].
func (service) CreateLoadBalancer(_ context.Context, spec hns.LoadBalancer) (hns.LoadBalancerID, error) {
	made, err := balancer(spec).Create()
	if err != nil {
		return "", err
	}
	return hns.ParseID[hns.LoadBalancerID](made.Id)
}

// UpdateLoadBalancer implements [contract.Service].
func (service) UpdateLoadBalancer(_ context.Context, spec hns.LoadBalancer) error {
	_, err := balancer(spec).Update(string(spec.ID))
	return err
}

// DeleteLoadBalancer implements [contract.Service].
func (service) DeleteLoadBalancer(_ context.Context, id hns.LoadBalancerID) error {
	return translate((&hcn.HostComputeLoadBalancer{Id: string(id)}).Delete())
}

// balancer returns a load balancer with the settings that kube-proxy uses.
func balancer(spec hns.LoadBalancer) *hcn.HostComputeLoadBalancer {
	lb := &hcn.HostComputeLoadBalancer{SchemaVersion: v2()}
	for _, id := range spec.Endpoints {
		lb.HostComputeEndpoints = append(lb.HostComputeEndpoints, string(id))
	}
	for _, vip := range spec.FrontendVIPs {
		lb.FrontendVIPs = append(lb.FrontendVIPs, vip.String())
	}
	for _, port := range spec.Ports {
		lb.PortMappings = append(lb.PortMappings, hcn.LoadBalancerPortMapping{
			Protocol: port.Protocol, InternalPort: port.InternalPort, ExternalPort: port.ExternalPort,
		})
	}
	return lb
}

// translate adds [hns.ErrNotFound] to HNS's error for a missing object.
func translate(err error) error {
	const networkNotFound = 0x803b0001
	if hcn.IsNotFoundError(err) || hcn.IsElementNotFoundError(err) || hcn.CheckErrorWithCode(err, networkNotFound) {
		return fmt.Errorf("%w: %w", err, hns.ErrNotFound)
	}
	return err
}
