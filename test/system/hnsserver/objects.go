// SPDX-License-Identifier: Apache-2.0

package hnsserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// HNS has separate not-found codes for some kinds of objects.
var (
	errNetworkNotFound  = fmt.Errorf("the network was not found: %w", hns.ErrNotFound)
	errEndpointNotFound = fmt.Errorf("the endpoint was not found: %w", hns.ErrNotFound)
)

// handle handles one call.
func (s *Server) handle(ctx context.Context, r request) (string, error) {
	if strings.HasPrefix(r.kind, "/") {
		return s.v1(ctx, r)
	}
	serve, known := map[string]func(context.Context, request) (string, error){
		"network": s.network, "endpoint": s.endpoint, "loadbalancer": s.loadBalancer, "namespace": s.namespace,
	}[r.kind]
	switch {
	case r.operation == "enumerate":
		return s.enumerate(ctx, r)
	case known:
		return serve(ctx, r)
	default:
		return "", cannot(r)
	}
}

func cannot(r request) error {
	return fmt.Errorf("the simulated HNS cannot %s %s", r.operation, r.kind)
}

func (s *Server) network(ctx context.Context, r request) (string, error) {
	switch r.operation {
	case "open", "query":
		return s.find(ctx, r, s.networks, errNetworkNotFound)
	case "create":
		return s.createNetwork(r)
	case "delete":
		return "", s.service.DeleteNetwork(hns.NetworkID(r.guid))
	default:
		return "", cannot(r)
	}
}

func (s *Server) endpoint(ctx context.Context, r request) (string, error) {
	switch r.operation {
	case "open", "query":
		return s.readEndpoint(ctx, r)
	case "create":
		return s.createEndpoint(ctx, r)
	case "delete":
		err := s.service.DeleteEndpoint(ctx, hns.EndpointID(r.guid))
		if errors.Is(err, hns.ErrNotFound) {
			return "", errEndpointNotFound
		}
		return "", err
	default:
		return "", cannot(r)
	}
}

func (s *Server) loadBalancer(ctx context.Context, r request) (string, error) {
	switch r.operation {
	case "open", "query":
		return s.find(ctx, r, s.loadBalancers, hns.ErrNotFound)
	case "create":
		return s.createLoadBalancer(ctx, r)
	case "modify":
		return "", s.modifyLoadBalancer(ctx, r)
	case "delete":
		return "", s.service.DeleteLoadBalancer(hns.LoadBalancerID(r.guid))
	default:
		return "", cannot(r)
	}
}

func (s *Server) namespace(ctx context.Context, r request) (string, error) {
	switch r.operation {
	case "open", "query":
		return s.find(ctx, r, s.namespaces, hns.ErrNotFound)
	case "create":
		return s.createNamespace(r)
	case "modify":
		return "", s.attach(r)
	case "delete":
		return "", s.service.DeleteNamespace(hns.NamespaceID(r.guid))
	default:
		return "", cannot(r)
	}
}

// document is an object in HCN's format.
type document map[string]any

func (d document) id() string { return d["ID"].(string) } //nolint:forcetypeassert // every document has one

// enumerate returns the IDs of the objects that match the filter.
func (s *Server) enumerate(ctx context.Context, r request) (string, error) {
	if r.kind == "route" {
		return "[]", nil
	}
	list, known := map[string]func(context.Context) ([]document, error){
		"network": s.networks, "endpoint": s.endpoints, "loadbalancer": s.loadBalancers, "namespace": s.namespaces,
	}[r.kind]
	if !known {
		return "", cannot(r)
	}
	all, err := list(ctx)
	if err != nil {
		return "", err
	}
	wanted, err := filter(r.argument)
	if err != nil {
		return "", err
	}
	ids := []string{}
	for _, d := range all {
		if wanted(d) {
			ids = append(ids, d.id())
		}
	}
	return encode(ids)
}

// filter parses the filter of an HCN query, which is JSON within JSON: property and value.
func filter(query string) (func(document) bool, error) {
	var q struct{ Filter string }
	if query != "" {
		if err := json.Unmarshal([]byte(query), &q); err != nil {
			return nil, fmt.Errorf("reading the query: %w", err)
		}
	}
	conditions := map[string]any{}
	if q.Filter != "" {
		if err := json.Unmarshal([]byte(q.Filter), &conditions); err != nil {
			return nil, fmt.Errorf("reading the filter: %w", err)
		}
	}
	return func(d document) bool {
		for property, value := range conditions {
			if property == "VirtualNetwork" { // its name in the older interface
				property = "HostComputeNetwork"
			}
			if !strings.EqualFold(fmt.Sprint(d[property]), fmt.Sprint(value)) {
				return false
			}
		}
		return true
	}, nil
}

// find returns one object of a list, which is short.
func (s *Server) find(ctx context.Context, r request, list func(context.Context) ([]document, error), missing error,
) (string, error) {
	all, err := list(ctx)
	if err != nil {
		return "", err
	}
	for _, d := range all {
		if strings.EqualFold(d.id(), r.guid) {
			if r.operation == "open" {
				return "", nil
			}
			return encode(d)
		}
	}
	return "", fmt.Errorf("%s %s: %w", r.operation, r.guid, missing)
}

func (s *Server) networks(ctx context.Context) ([]document, error) {
	// This checks whether the service is up. Its state has the types as their creators wrote them.
	listed, err := s.service.Networks(ctx)
	if err != nil {
		return nil, err
	}
	hidden := !slices.ContainsFunc(listed, func(n hns.Network) bool { return n.Type != "" })
	var all []document
	for _, n := range s.service.State().Networks {
		if hidden {
			n.Type = ""
		}
		var subnets []document
		for _, prefix := range n.Subnets {
			subnets = append(subnets, document{"IpAddressPrefix": prefix.String()})
		}
		all = append(all, s.merge(string(n.ID), document{
			"ID": string(n.ID), "Name": n.Name, "Type": string(n.Type),
			"Ipams": []document{{"Type": "Static", "Subnets": subnets}}, "SchemaVersion": schemaVersion(),
		}))
	}
	return all, nil
}

func (s *Server) endpoints(ctx context.Context) ([]document, error) {
	before := map[hns.EndpointID]hns.Endpoint{}
	for _, e := range s.service.State().Endpoints {
		before[e.ID] = e
	}
	// State ignores faults; this list has them, and checks whether the service is up.
	ids, err := s.service.ListEndpointIDs(ctx)
	if err != nil {
		return nil, err
	}
	var all []document
	for _, id := range ids {
		if e, there := before[id]; there {
			all = append(all, s.endpointDocument(e))
		}
	}
	return all, nil
}

func (s *Server) readEndpoint(ctx context.Context, r request) (string, error) {
	e, err := s.service.Endpoint(ctx, hns.EndpointID(strings.ToLower(r.guid)))
	if errors.Is(err, hns.ErrNotFound) {
		return "", errEndpointNotFound
	}
	if err != nil || r.operation == "open" {
		return "", err
	}
	return encode(s.endpointDocument(e))
}

func (s *Server) endpointDocument(e hns.Endpoint) document {
	var configurations []document
	for _, addr := range e.Addresses {
		configurations = append(configurations, document{"IpAddress": addr.String(), "PrefixLength": 16})
	}
	return s.merge(string(e.ID), document{
		"ID": string(e.ID), "Name": e.Name, "HostComputeNetwork": string(e.Network),
		"HostComputeNamespace": string(e.Namespace), "IpConfigurations": configurations,
		"MacAddress": e.MAC.String(), "Flags": uint32(e.Flags), "SchemaVersion": schemaVersion(),
	})
}

func (s *Server) loadBalancers(ctx context.Context) ([]document, error) {
	balancers, err := s.service.LoadBalancers(ctx)
	if err != nil {
		return nil, err
	}
	var all []document
	for _, lb := range balancers {
		backends := []string{}
		for _, id := range lb.Endpoints {
			backends = append(backends, string(id))
		}
		frontends := []string{}
		for _, vip := range lb.FrontendVIPs {
			frontends = append(frontends, vip.String())
		}
		all = append(all, s.merge(string(lb.ID), document{
			"ID": string(lb.ID), "HostComputeEndpoints": backends, "FrontendVIPs": frontends,
		}))
	}
	return all, nil
}

func (s *Server) namespaces(context.Context) ([]document, error) {
	var all []document
	for _, id := range s.service.State().Namespaces {
		all = append(all, document{"ID": string(id), "Type": "Host", "SchemaVersion": schemaVersion()})
	}
	return all, nil
}

func (s *Server) createNetwork(r request) (string, error) {
	var d struct {
		Name, Type string
		Ipams      []struct {
			Subnets []struct {
				Prefix netip.Prefix `json:"IpAddressPrefix"`
			}
		}
	}
	if err := json.Unmarshal([]byte(r.argument), &d); err != nil {
		return "", fmt.Errorf("reading the network: %w", err)
	}
	var subnets []netip.Prefix
	for _, ipam := range d.Ipams {
		for _, subnet := range ipam.Subnets {
			subnets = append(subnets, subnet.Prefix)
		}
	}
	made := s.service.CreateNetwork(d.Name, hns.NetworkType(d.Type), subnets...)
	s.keep(string(made.ID), r.argument)
	return string(made.ID), nil
}

// createNamespace creates a namespace, with the caller's ID if there is one.
func (s *Server) createNamespace(r request) (string, error) {
	id, err := hns.ParseOptionalID[hns.NamespaceID](r.guid)
	if err != nil {
		return "", err
	}
	if id == "" {
		return string(s.service.CreateNamespace()), nil
	}
	s.service.AddNamespace(id)
	return string(id), nil
}

// attach adds an endpoint to a namespace.
func (s *Server) attach(r request) error {
	var d struct {
		ResourceType, RequestType string
		Settings                  struct {
			Endpoint string `json:"EndpointId"`
		}
	}
	if err := json.Unmarshal([]byte(r.argument), &d); err != nil {
		return fmt.Errorf("reading what to do with the namespace: %w", err)
	}
	id, err := hns.ParseID[hns.EndpointID](d.Settings.Endpoint)
	if err != nil {
		return err
	}
	if d.ResourceType != "Endpoint" || d.RequestType != "Add" {
		return fmt.Errorf("the simulated HNS cannot %s %s of a namespace", d.RequestType, d.ResourceType)
	}
	return s.service.Attach(id, hns.NamespaceID(strings.ToLower(r.guid)))
}

func (s *Server) createEndpoint(ctx context.Context, r request) (string, error) {
	if _, err := s.service.ListEndpointIDs(ctx); err != nil {
		return "", err
	}
	var d struct {
		Name, MacAddress string
		IpConfigurations []struct{ IpAddress string } //nolint:revive // HCN's name
		Flags            uint32
	}
	if err := json.Unmarshal([]byte(r.argument), &d); err != nil {
		return "", fmt.Errorf("reading the endpoint: %w", err)
	}
	spec := hnstest.EndpointSpec{
		Network: hns.NetworkID(strings.ToLower(r.guid)), Name: d.Name, Flags: hns.EndpointFlags(d.Flags),
	}
	var err error
	if spec.MAC, err = hns.ParseMAC(d.MacAddress); err != nil {
		return "", err
	}
	for _, c := range d.IpConfigurations {
		addr, err := netip.ParseAddr(c.IpAddress)
		if err != nil {
			return "", err
		}
		spec.Addresses = append(spec.Addresses, addr)
	}
	made, err := s.service.CreateEndpoint(spec)
	if err != nil {
		return "", err
	}
	s.keep(string(made.ID), r.argument)
	return string(made.ID), nil
}

func (s *Server) createLoadBalancer(ctx context.Context, r request) (string, error) {
	if _, err := s.service.ListEndpointIDs(ctx); err != nil {
		return "", err
	}
	lb, err := parseLoadBalancer(r.argument)
	if err != nil {
		return "", err
	}
	made, err := s.service.CreateLoadBalancer(lb)
	if err != nil {
		return "", err
	}
	s.keep(string(made.ID), r.argument)
	return string(made.ID), nil
}

// modifyLoadBalancer replaces a load balancer's settings, if the version supports it.
func (s *Server) modifyLoadBalancer(ctx context.Context, r request) error {
	if _, err := s.service.ListEndpointIDs(ctx); err != nil {
		return err
	}
	lb, err := parseLoadBalancer(r.argument)
	if err != nil {
		return err
	}
	lb.ID = hns.LoadBalancerID(strings.ToLower(r.guid))
	switch s.version {
	case WindowsServer2022:
		return errors.New("this version cannot update a load balancer")
	case IgnoresUpdates:
		return nil
	case Updates:
	}
	if err := s.service.UpdateLoadBalancer(lb); err != nil {
		return err
	}
	s.keep(string(lb.ID), r.argument)
	return nil
}

func parseLoadBalancer(argument string) (hns.LoadBalancer, error) {
	var d struct {
		HostComputeEndpoints, FrontendVIPs []string
		PortMappings                       []struct {
			Protocol                   uint32
			InternalPort, ExternalPort uint16
		}
	}
	if err := json.Unmarshal([]byte(argument), &d); err != nil {
		return hns.LoadBalancer{}, fmt.Errorf("reading the load balancer: %w", err)
	}
	var lb hns.LoadBalancer
	for _, id := range d.HostComputeEndpoints {
		parsed, err := hns.ParseID[hns.EndpointID](id)
		if err != nil {
			return hns.LoadBalancer{}, err
		}
		lb.Endpoints = append(lb.Endpoints, parsed)
	}
	for _, vip := range d.FrontendVIPs {
		addr, err := netip.ParseAddr(vip)
		if err != nil {
			return hns.LoadBalancer{}, err
		}
		lb.FrontendVIPs = append(lb.FrontendVIPs, addr)
	}
	for _, p := range d.PortMappings {
		lb.Ports = append(lb.Ports, hns.PortMapping(p))
	}
	return lb, nil
}

// keep stores the settings of a caller.
func (s *Server) keep(id, settings string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.documents[id] = json.RawMessage(settings)
}

// SetDocument sets properties of an object that no caller has set, such as the policies of a network.
func (s *Server) SetDocument(id, settings string) { s.keep(id, settings) }

// merge overrides a caller's settings with the properties that the simulation has.
func (s *Server) merge(id string, known document) document {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := document{}
	if raw, ok := s.documents[id]; ok {
		_ = json.Unmarshal(raw, &all) // it was read before
	}
	for property, value := range known {
		all[property] = value
	}
	return all
}

func schemaVersion() document { return document{"Major": 2, "Minor": 0} }

func encode(v any) (string, error) {
	text, err := json.Marshal(v)
	return string(text), err
}

// v1 handles the calls that programs still make to the older interface: the version, and load balancers under their old
// name.
func (s *Server) v1(ctx context.Context, r request) (string, error) {
	switch path := r.kind; {
	case r.operation == "GET" && path == "/globals/version":
		if _, err := s.service.Version(ctx); err != nil {
			return "", err
		}
		return s.version.globals()
	case r.operation == "GET" && path == "/policylists/":
		balancers, err := s.service.LoadBalancers(ctx)
		if err != nil {
			return "", err
		}
		lists := []document{}
		for _, lb := range balancers {
			lists = append(lists, document{"ID": string(lb.ID)})
		}
		return encode(document{"Success": true, "Output": lists})
	case r.operation == "DELETE" && strings.HasPrefix(path, "/policylists/"):
		err := s.service.DeleteLoadBalancer(hns.LoadBalancerID(strings.TrimPrefix(path, "/policylists/")))
		if err != nil {
			return "", err
		}
		return encode(document{"Success": true, "Output": document{}})
	default:
		return "", cannot(r)
	}
}
