// SPDX-License-Identifier: Apache-2.0

package hnstest

import (
	"context"
	"net/netip"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest/contract"
)

// Service makes the simulated HNS a [contract.Service].
type Service struct{ *HNS }

var _ contract.Service = Service{}

// CreateNetwork implements [contract.Service].
func (s Service) CreateNetwork(
	_ context.Context, name string, kind hns.NetworkType, subnet netip.Prefix,
) (hns.Network, error) {
	return s.HNS.CreateNetwork(name, kind, subnet), nil
}

// DeleteNetwork implements [contract.Service].
func (s Service) DeleteNetwork(_ context.Context, id hns.NetworkID) error {
	return s.HNS.DeleteNetwork(id)
}

// CreateEndpoint implements [contract.Service].
func (s Service) CreateEndpoint(
	_ context.Context, on hns.Network, spec contract.EndpointSpec,
) (hns.EndpointID, error) {
	full := EndpointSpec{Network: on.ID, Name: spec.Name, Addresses: []netip.Addr{spec.Address}, MAC: spec.MAC}
	if spec.Remote {
		full.Flags = hns.FlagRemote
	}
	made, err := s.HNS.CreateEndpoint(full)
	return made.ID, err
}

// CreateNamespace implements [contract.Service].
func (s Service) CreateNamespace(_ context.Context, id hns.NamespaceID) (hns.NamespaceID, error) {
	s.AddNamespace(id)
	return id, nil
}

// Namespaces implements [contract.Service].
func (s Service) Namespaces(context.Context) ([]hns.NamespaceID, error) {
	return s.State().Namespaces, nil
}

// DeleteNamespace implements [contract.Service].
func (s Service) DeleteNamespace(_ context.Context, id hns.NamespaceID) error {
	return s.HNS.DeleteNamespace(id)
}

// Attach implements [contract.Service].
func (s Service) Attach(_ context.Context, endpoint hns.EndpointID, namespace hns.NamespaceID) error {
	return s.HNS.Attach(endpoint, namespace)
}

// CreateLoadBalancer implements [contract.Service].
func (s Service) CreateLoadBalancer(_ context.Context, spec hns.LoadBalancer) (hns.LoadBalancerID, error) {
	made, err := s.HNS.CreateLoadBalancer(spec)
	return made.ID, err
}

// UpdateLoadBalancer implements [contract.Service].
func (s Service) UpdateLoadBalancer(_ context.Context, spec hns.LoadBalancer) error {
	return s.HNS.UpdateLoadBalancer(spec)
}

// DeleteLoadBalancer implements [contract.Service].
func (s Service) DeleteLoadBalancer(_ context.Context, id hns.LoadBalancerID) error {
	return s.HNS.DeleteLoadBalancer(id)
}
