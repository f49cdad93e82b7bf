// SPDX-License-Identifier: Apache-2.0

// Package hcn stands in for the package of that name. Its calls go to [Do].
package hcn

import (
	"encoding/json"
	"errors"
	"fmt"

	"winkernel/wire"
)

// Do makes a call.
var Do func(wire.Call) wire.Result

// CanUpdate says whether HNS can update load balancers.
var CanUpdate bool

type (
	EndpointFlags                uint32
	LoadBalancerFlags            uint32
	LoadBalancerPortMappingFlags uint32
	LoadBalancerDistribution     uint32
	EndpointPolicyType           string
	NetworkPolicyType            string
	NetworkType                  string
)

const (
	EndpointFlagsRemoteEndpoint EndpointFlags = 1

	LoadBalancerFlagsNone LoadBalancerFlags = 0
	LoadBalancerFlagsDSR  LoadBalancerFlags = 1

	LoadBalancerPortMappingFlagsNone           LoadBalancerPortMappingFlags = 0
	LoadBalancerPortMappingFlagsILB            LoadBalancerPortMappingFlags = 1
	LoadBalancerPortMappingFlagsLocalRoutedVIP LoadBalancerPortMappingFlags = 2
	LoadBalancerPortMappingFlagsUseMux         LoadBalancerPortMappingFlags = 4
	LoadBalancerPortMappingFlagsPreserveDIP    LoadBalancerPortMappingFlags = 8

	LoadBalancerDistributionNone     LoadBalancerDistribution = 0
	LoadBalancerDistributionSourceIP LoadBalancerDistribution = 2

	RemoteSubnetRoute      NetworkPolicyType  = "RemoteSubnetRoute"
	NetworkProviderAddress EndpointPolicyType = "ProviderAddress"
)

type SchemaVersion struct{ Major, Minor int }

type NetworkPolicy struct {
	Type     NetworkPolicyType
	Settings json.RawMessage
}

type RemoteSubnetRoutePolicySetting struct {
	DestinationPrefix           string
	IsolationId                 uint16
	ProviderAddress             string
	DistributedRouterMacAddress string
}

type ProviderAddressEndpointPolicySetting struct{ ProviderAddress string }

type EndpointPolicy struct {
	Type     EndpointPolicyType
	Settings json.RawMessage
}

type IpConfig struct {
	IpAddress    string
	PrefixLength uint8
}

type HostComputeNetwork struct {
	Id, Name string
	Type     NetworkType
	Policies []NetworkPolicy
}

type HostComputeEndpoint struct {
	Id, Name           string
	HostComputeNetwork string
	Policies           []EndpointPolicy
	IpConfigurations   []IpConfig
	MacAddress         string
	Flags              EndpointFlags
	SchemaVersion      SchemaVersion
}

type LoadBalancerPortMapping struct {
	Protocol                   uint32
	InternalPort, ExternalPort uint16
	DistributionType           LoadBalancerDistribution
	Flags                      LoadBalancerPortMappingFlags
}

type HostComputeLoadBalancer struct {
	Id                   string
	HostComputeEndpoints []string
	SourceVIP            string
	FrontendVIPs         []string
	PortMappings         []LoadBalancerPortMapping
	SchemaVersion        SchemaVersion
	Flags                LoadBalancerFlags
}

type ApiSupport struct{ V1, V2 bool }

type SupportedFeatures struct {
	Api                ApiSupport
	SessionAffinity    bool
	ModifyLoadbalancer bool
}

func GetSupportedFeatures() SupportedFeatures {
	return SupportedFeatures{Api: ApiSupport{V1: true, V2: true}, SessionAffinity: true, ModifyLoadbalancer: CanUpdate}
}

func DSRSupported() error           { return nil }
func IPv6DualStackSupported() error { return nil }
func RemoteSubnetSupported() error  { return nil }

// HcnError is what HNS answers with.
type HcnError struct {
	code uint32
	text string
}

func (e *HcnError) Error() string { return fmt.Sprintf("%s (0x%x)", e.text, e.code) }

func hasCode(err error, code uint32) bool {
	var answered *HcnError
	return errors.As(err, &answered) && answered.code == code
}

func IsElementNotFoundError(err error) bool   { return hasCode(err, 0x490) }
func IsPortAlreadyExistsError(err error) bool { return hasCode(err, 0x803b0013) }
func IsNotImplemented(err error) bool         { return hasCode(err, 0x80004001) }
func IsNetworkNotFoundError(err error) bool   { return hasCode(err, 0x803b0001) }
func IsInvalidIPError(err error) bool         { return hasCode(err, 0x803b001e) }

func IsNotFoundError(err error) bool {
	switch err.(type) {
	case NetworkNotFoundError, EndpointNotFoundError, LoadBalancerNotFoundError:
		return true
	}
	return IsElementNotFoundError(err)
}

// The errors of the library itself: a query found nothing.
type (
	NetworkNotFoundError      struct{ NetworkName string }
	EndpointNotFoundError     struct{ EndpointID string }
	LoadBalancerNotFoundError struct{ LoadBalancerId string }
)

func (e NetworkNotFoundError) Error() string  { return "network " + e.NetworkName + " not found" }
func (e EndpointNotFoundError) Error() string { return "endpoint " + e.EndpointID + " not found" }
func (e LoadBalancerNotFoundError) Error() string {
	return "load balancer " + e.LoadBalancerId + " not found"
}

func call(c wire.Call) (wire.Result, error) {
	r := Do(c)
	if r.Code != 0 {
		return r, &HcnError{code: r.Code, text: "hcn: " + string(c.Op) + ": " + r.Text}
	}
	return r, nil
}

func GetNetworkByName(name string) (*HostComputeNetwork, error) {
	r, err := call(wire.Call{Op: wire.GetNetwork, ID: name})
	switch {
	case err != nil:
		return nil, err
	case r.Network == nil:
		return nil, NetworkNotFoundError{name}
	}
	return &HostComputeNetwork{Id: r.Network.ID, Name: r.Network.Name, Type: NetworkType(r.Network.Type)}, nil
}

func GetNetworkByID(id string) (*HostComputeNetwork, error) {
	panic("kube-proxy never called GetNetworkByID")
}

func endpointOf(e wire.Endpoint) HostComputeEndpoint {
	made := HostComputeEndpoint{Id: e.ID, HostComputeNetwork: e.Network, MacAddress: e.MAC}
	for _, a := range e.Addresses {
		made.IpConfigurations = append(made.IpConfigurations, IpConfig{IpAddress: a})
	}
	if e.Remote {
		made.Flags |= EndpointFlagsRemoteEndpoint
	}
	return made
}

func endpoints(c wire.Call) ([]HostComputeEndpoint, error) {
	r, err := call(c)
	if err != nil {
		return nil, err
	}
	var all []HostComputeEndpoint
	for _, e := range r.Endpoints {
		all = append(all, endpointOf(e))
	}
	return all, nil
}

func ListEndpoints() ([]HostComputeEndpoint, error) {
	return endpoints(wire.Call{Op: wire.ListEndpoints})
}

func ListEndpointsOfNetwork(id string) ([]HostComputeEndpoint, error) {
	return endpoints(wire.Call{Op: wire.ListEndpoints, ID: id})
}

func one(all []HostComputeEndpoint, err error, id string) (*HostComputeEndpoint, error) {
	switch {
	case err != nil:
		return nil, err
	case len(all) == 0:
		return nil, EndpointNotFoundError{id}
	}
	return &all[0], nil
}

func GetEndpointByID(id string) (*HostComputeEndpoint, error) {
	all, err := endpoints(wire.Call{Op: wire.GetEndpoint, ID: id})
	return one(all, err, id)
}

func GetEndpointByName(name string) (*HostComputeEndpoint, error) {
	return nil, EndpointNotFoundError{name}
}

func (n *HostComputeNetwork) CreateEndpoint(e *HostComputeEndpoint) (*HostComputeEndpoint, error) {
	made := wire.Endpoint{Network: n.Id, MAC: e.MacAddress, Remote: e.Flags&EndpointFlagsRemoteEndpoint != 0}
	for _, c := range e.IpConfigurations {
		made.Addresses = append(made.Addresses, c.IpAddress)
	}
	all, err := endpoints(wire.Call{Op: wire.CreateEndpoint, Endpoint: &made})
	return one(all, err, "")
}

func (n *HostComputeNetwork) CreateRemoteEndpoint(e *HostComputeEndpoint) (*HostComputeEndpoint, error) {
	e.Flags |= EndpointFlagsRemoteEndpoint
	return n.CreateEndpoint(e)
}

func (e *HostComputeEndpoint) Delete() error {
	_, err := call(wire.Call{Op: wire.DeleteEndpoint, ID: e.Id})
	return err
}

func balancers(c wire.Call) ([]HostComputeLoadBalancer, error) {
	r, err := call(c)
	if err != nil {
		return nil, err
	}
	var all []HostComputeLoadBalancer
	for _, lb := range r.LoadBalancers {
		all = append(all, HostComputeLoadBalancer{
			Id: lb.ID, HostComputeEndpoints: lb.Endpoints, FrontendVIPs: lb.FrontendVIPs,
			PortMappings: []LoadBalancerPortMapping{{
				Protocol: lb.Protocol, InternalPort: lb.InternalPort, ExternalPort: lb.ExternalPort,
			}},
		})
	}
	return all, nil
}

func oneBalancer(all []HostComputeLoadBalancer, err error, id string) (*HostComputeLoadBalancer, error) {
	switch {
	case err != nil:
		return nil, err
	case len(all) == 0:
		return nil, LoadBalancerNotFoundError{id}
	}
	return &all[0], nil
}

func ListLoadBalancers() ([]HostComputeLoadBalancer, error) {
	return balancers(wire.Call{Op: wire.ListLoadBalancers})
}

func GetLoadBalancerByID(id string) (*HostComputeLoadBalancer, error) {
	all, err := balancers(wire.Call{Op: wire.GetLoadBalancer, ID: id})
	return oneBalancer(all, err, id)
}

func (lb *HostComputeLoadBalancer) said(op wire.Op, id string) (*HostComputeLoadBalancer, error) {
	spec := wire.LoadBalancer{ID: id, Endpoints: lb.HostComputeEndpoints, FrontendVIPs: lb.FrontendVIPs}
	for _, p := range lb.PortMappings {
		spec.Protocol, spec.InternalPort, spec.ExternalPort = p.Protocol, p.InternalPort, p.ExternalPort
	}
	all, err := balancers(wire.Call{Op: op, ID: id, LoadBalancer: &spec})
	return oneBalancer(all, err, id)
}

func (lb *HostComputeLoadBalancer) Create() (*HostComputeLoadBalancer, error) {
	return lb.said(wire.CreateLoadBalancer, "")
}

func (lb *HostComputeLoadBalancer) Update(id string) (*HostComputeLoadBalancer, error) {
	return lb.said(wire.UpdateLoadBalancer, id)
}

func (lb *HostComputeLoadBalancer) Delete() error {
	_, err := call(wire.Call{Op: wire.DeleteLoadBalancer, ID: lb.Id})
	return err
}
