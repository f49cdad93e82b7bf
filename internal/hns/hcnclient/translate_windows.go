// SPDX-License-Identifier: Apache-2.0

package hcnclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/Microsoft/hcsshim/hcn"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// translateError adds the sentinel to an error of hcn. hcn does not export the code of an error, only whether it has a
// given one.
func translateError(err error) error {
	if hcn.IsNotFoundError(err) {
		return fmt.Errorf("%w: %w", err, hns.ErrNotFound)
	}
	for code, sentinel := range sentinels() {
		if hcn.CheckErrorWithCode(err, hcn.ErrorCode(code)) {
			return fmt.Errorf("%w: %w", err, sentinel)
		}
	}
	return err
}

// translateAll translates the whole list or fails: the error has every object that could not be translated.
func translateAll[From, To any](list []From, translate func(From) (To, error)) ([]To, error) {
	out := make([]To, 0, len(list))
	var errs []error
	for _, from := range list {
		to, err := translate(from)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, to)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

// decodeEndpoint decodes the properties of an endpoint. An answer that is not JSON is an error; if a property has an
// unexpected type, nothing but the ID of the endpoint is known.
func decodeEndpoint(id hns.EndpointID, properties []byte) (hns.Endpoint, error) {
	var in hcn.HostComputeEndpoint
	err := json.Unmarshal(properties, &in)
	if odd := (*json.UnmarshalTypeError)(nil); errors.As(err, &odd) {
		return hns.Endpoint{ID: id, Untranslated: odd.Error()}, nil
	}
	if err != nil {
		return hns.Endpoint{}, fmt.Errorf("decoding the properties of endpoint %s: %w", id, err)
	}
	endpoint, err := toEndpoint(in)
	if err == nil && endpoint.ID != id {
		err = fmt.Errorf("reading endpoint %s: HNS answered with %s", id, endpoint.ID)
	}
	if err != nil {
		return hns.Endpoint{}, err
	}
	return endpoint, nil
}

// toEndpoint translates an endpoint. Only its ID must be valid; other properties that cannot be translated are omitted
// and named in Untranslated (invariant 3).
func toEndpoint(in hcn.HostComputeEndpoint) (hns.Endpoint, error) {
	id, err := hns.ParseID[hns.EndpointID](in.Id)
	if err != nil {
		return hns.Endpoint{}, fmt.Errorf("translating endpoint %q: %w", in.Id, err)
	}
	network, errNetwork := hns.ParseOptionalID[hns.NetworkID](in.HostComputeNetwork)
	namespace, errNamespace := hns.ParseOptionalID[hns.NamespaceID](in.HostComputeNamespace)
	mac, errMAC := hns.ParseMAC(in.MacAddress)
	configured := make([]string, 0, len(in.IpConfigurations))
	for _, c := range in.IpConfigurations {
		configured = append(configured, c.IpAddress)
	}
	addresses, errAddresses := toAddresses(configured)
	shared, errShared := countContainers(in.Health.Extra.SharedContainers)
	out := hns.Endpoint{
		ID: id, Name: in.Name, Network: network, Namespace: namespace, Addresses: addresses, MAC: mac,
		Flags: hns.EndpointFlags(in.Flags), SharedContainers: shared,
	}
	if err := errors.Join(errNetwork, errNamespace, errMAC, errAddresses, errShared); err != nil {
		out.Untranslated = err.Error()
	}
	return out, nil
}

// decodeNetwork decodes the properties of a network. Properties that no decision depends on may have any type.
func decodeNetwork(properties []byte) (hns.Network, error) {
	var in hcn.HostComputeNetwork
	err := json.Unmarshal(properties, &in)
	if odd := (*json.UnmarshalTypeError)(nil); errors.As(err, &odd) && in.Id != "" && in.Type != "" {
		err = nil
	}
	if err != nil {
		return hns.Network{}, fmt.Errorf("decoding the properties of network %q (%s): %w", in.Name, in.Id, err)
	}
	return toNetwork(in)
}

// toNetwork translates a network. A subnet that cannot be parsed is omitted: no decision depends on subnets.
func toNetwork(in hcn.HostComputeNetwork) (hns.Network, error) {
	id, err := hns.ParseID[hns.NetworkID](in.Id)
	if err != nil {
		return hns.Network{}, fmt.Errorf("translating network %q (%s): %w", in.Name, in.Id, err)
	}
	out := hns.Network{ID: id, Name: in.Name, Type: hns.ParseNetworkType(string(in.Type))}
	for _, ipam := range in.Ipams {
		for _, subnet := range ipam.Subnets {
			if prefix, err := netip.ParsePrefix(subnet.IpAddressPrefix); err == nil {
				out.Subnets = append(out.Subnets, prefix)
			}
		}
	}
	return out, nil
}

// decodeLoadBalancer decodes the properties of a load balancer.
func decodeLoadBalancer(properties []byte) (hns.LoadBalancer, error) {
	var in hcn.HostComputeLoadBalancer
	if err := json.Unmarshal(properties, &in); err != nil {
		return hns.LoadBalancer{}, fmt.Errorf("decoding the properties of load balancer %q: %w", in.Id, err)
	}
	return toLoadBalancer(in)
}

// toLoadBalancer translates a load balancer. Its backends must be valid, because they keep orphans. An address that
// cannot be parsed is omitted: it is only used to find the Service.
func toLoadBalancer(in hcn.HostComputeLoadBalancer) (hns.LoadBalancer, error) {
	id, errID := hns.ParseID[hns.LoadBalancerID](in.Id)
	backends, errBackends := translateAll(in.HostComputeEndpoints, hns.ParseID[hns.EndpointID])
	if err := errors.Join(errID, errBackends); err != nil {
		return hns.LoadBalancer{}, fmt.Errorf("translating load balancer %q: %w", in.Id, err)
	}
	out := hns.LoadBalancer{ID: id, Endpoints: backends}
	for _, s := range in.FrontendVIPs {
		if vip, err := hns.ParseAddr(s); err == nil {
			out.FrontendVIPs = append(out.FrontendVIPs, vip)
		}
	}
	for _, port := range in.PortMappings {
		out.Ports = append(out.Ports, hns.PortMapping{
			Protocol: port.Protocol, InternalPort: port.InternalPort, ExternalPort: port.ExternalPort,
		})
	}
	return out, nil
}

// toAddresses translates the non-empty addresses: an endpoint that waits for DHCP has an empty one. It returns all of
// them or none.
func toAddresses(in []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, s := range in {
		if s == "" {
			continue
		}
		addr, err := hns.ParseAddr(s)
		if err != nil {
			return nil, err
		}
		out = append(out, addr)
	}
	return out, nil
}

func countContainers(raw json.RawMessage) (int, error) {
	if len(raw) == 0 {
		return 0, nil
	}
	var containers []json.RawMessage
	if err := json.Unmarshal(raw, &containers); err != nil {
		return 0, fmt.Errorf("reading SharedContainers: %w", err)
	}
	return len(containers), nil
}
