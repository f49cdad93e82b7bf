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

// translateError puts the sentinel behind whatever shape the error of hcn has. hcn tells its code to nobody, it only
// answers whether an error has a given one.
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

// translateAll translates a whole list, or none of it: every object that could not be translated is in the error.
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

func toEndpoint(in hcn.HostComputeEndpoint) (hns.Endpoint, error) {
	id, errID := hns.ParseID[hns.EndpointID](in.Id)
	network, errNetwork := hns.ParseOptionalID[hns.NetworkID](in.HostComputeNetwork)
	namespace, errNamespace := hns.ParseOptionalID[hns.NamespaceID](in.HostComputeNamespace)
	mac, errMAC := hns.ParseMAC(in.MacAddress)
	configured := make([]string, 0, len(in.IpConfigurations))
	for _, c := range in.IpConfigurations {
		configured = append(configured, c.IpAddress)
	}
	addresses, errAddresses := toAddresses(configured)
	shared, errShared := countContainers(in.Health.Extra.SharedContainers)
	if err := errors.Join(errID, errNetwork, errNamespace, errMAC, errAddresses, errShared); err != nil {
		return hns.Endpoint{}, fmt.Errorf("translating endpoint %q: %w", in.Id, err)
	}
	return hns.Endpoint{
		ID: id, Name: in.Name, Network: network, Namespace: namespace, Addresses: addresses, MAC: mac,
		Flags: hns.EndpointFlags(in.Flags), SharedContainers: shared,
	}, nil
}

func toNetwork(in hcn.HostComputeNetwork) (hns.Network, error) {
	id, err := hns.ParseID[hns.NetworkID](in.Id)
	errs := []error{err}
	var subnets []netip.Prefix
	for _, ipam := range in.Ipams {
		for _, subnet := range ipam.Subnets {
			if subnet.IpAddressPrefix == "" {
				continue
			}
			prefix, err := netip.ParsePrefix(subnet.IpAddressPrefix)
			subnets, errs = append(subnets, prefix), append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return hns.Network{}, fmt.Errorf("translating network %q (%s): %w", in.Name, in.Id, err)
	}
	return hns.Network{ID: id, Name: in.Name, Type: hns.NetworkType(in.Type), Subnets: subnets}, nil
}

func toLoadBalancer(in hcn.HostComputeLoadBalancer) (hns.LoadBalancer, error) {
	id, errID := hns.ParseID[hns.LoadBalancerID](in.Id)
	backends, errBackends := translateAll(in.HostComputeEndpoints, hns.ParseID[hns.EndpointID])
	vips, errVIPs := toAddresses(in.FrontendVIPs)
	if err := errors.Join(errID, errBackends, errVIPs); err != nil {
		return hns.LoadBalancer{}, fmt.Errorf("translating load balancer %q: %w", in.Id, err)
	}
	out := hns.LoadBalancer{ID: id, Endpoints: backends, FrontendVIPs: vips}
	for _, port := range in.PortMappings {
		out.Ports = append(out.Ports, hns.PortMapping{
			Protocol: port.Protocol, InternalPort: port.InternalPort, ExternalPort: port.ExternalPort,
		})
	}
	return out, nil
}

// toAddresses translates the addresses that are there: an endpoint that waits for DHCP has an empty one.
func toAddresses(in []string) ([]netip.Addr, error) {
	var out []netip.Addr
	var errs []error
	for _, s := range in {
		if s == "" {
			continue
		}
		addr, err := hns.ParseAddr(s)
		out, errs = append(out, addr), append(errs, err)
	}
	return out, errors.Join(errs...)
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
