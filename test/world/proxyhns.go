// SPDX-License-Identifier: Apache-2.0

package world

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/winkernel/wire"
)

// The error codes of HNS.
const (
	codeInvalid      = 0x57
	codeNotFound     = 0x490
	codeUnknown      = 0x6b5
	codeUnreachable  = 0x6ba
	codeNotAnswering = 0x6be
	codeNoEndpoint   = 0x803b0002
	codePortExists   = 0x803b0013
	codeInvalidIP    = 0x803b002f
)

// opWriteLoadBalancer stands for kube-proxy's operations that create, update and delete load balancers.
const opWriteLoadBalancer hns.Operation = "write_load_balancer"

// ProxyWrite is a write of kube-proxy to HNS.
type ProxyWrite struct {
	At time.Duration
	// What is the call, with its object.
	What string
}

// refused is the error of a call that HNS answered with a code.
type refused struct{ code uint32 }

func (r refused) Error() string { return fmt.Sprintf("HNS answers %#x", r.code) }

// proxyHNS is HNS for the kube-proxy of a node. Its calls take no time.
type proxyHNS struct{ node *Node }

// do makes a call like one of winkernel's HcnService.
func (p proxyHNS) do(c wire.Call) wire.Result {
	var r wire.Result
	var err error
	switch c.Op {
	case wire.GetNetwork:
		if err = p.fault(hns.OpNetworks); err == nil {
			r.Network = &wire.Network{ID: string(p.node.network.ID), Name: c.ID, Type: string(p.node.network.Type)}
		}
	case wire.ListEndpoints:
		r.Endpoints, err = wired(wiredEndpoint)(p.listEndpoints())
	case wire.GetEndpoint:
		r.Endpoints, err = wired(wiredEndpoint)(p.endpoint(hns.EndpointID(c.ID)))
	case wire.CreateEndpoint:
		var made hns.Endpoint
		if made, err = p.createEndpoint(netip.MustParseAddr(c.Endpoint.Addresses[0])); err == nil {
			r.Endpoints = []wire.Endpoint{wiredEndpoint(made)}
		}
	case wire.DeleteEndpoint:
		err = p.deleteEndpoint(hns.EndpointID(c.ID))
	case wire.ListLoadBalancers:
		r.LoadBalancers, err = wired(wiredBalancer)(p.listLoadBalancers())
	case wire.GetLoadBalancer:
		r.LoadBalancers, err = wired(wiredBalancer)(p.loadBalancer(hns.LoadBalancerID(c.ID)))
	case wire.CreateLoadBalancer, wire.UpdateLoadBalancer:
		var made hns.LoadBalancer
		if made, err = p.setLoadBalancer(balancerOf(*c.LoadBalancer)); err == nil {
			r.LoadBalancers = []wire.LoadBalancer{wiredBalancer(made)}
		}
	case wire.DeleteLoadBalancer:
		err = p.deleteLoadBalancer(hns.LoadBalancerID(c.ID))
	}
	if err != nil {
		var answered refused
		if !errors.As(err, &answered) {
			answered.code = codeInvalid
		}
		return wire.Result{Code: answered.code, Text: err.Error()}
	}
	return r
}

func (p proxyHNS) fault(ops ...hns.Operation) error {
	service := p.node.service
	for _, op := range ops {
		code := cmp.Or(service.code(op), service.once[op])
		delete(service.once, op)
		if code != 0 {
			return refused{code}
		}
	}
	return nil
}

// wrote records a write of kube-proxy, unless it failed.
func (p proxyHNS) wrote(err error, format string, args ...any) error {
	if n := p.node; err == nil && n.world.play.Writes {
		n.Written = append(n.Written, ProxyWrite{At: n.world.Elapsed(), What: fmt.Sprintf(format, args...)})
	}
	return err
}

// listEndpoints lists the endpoints of the network, in HNS's order. The library lists IDs and reads each endpoint; if
// one vanishes meanwhile, the list fails.
func (p proxyHNS) listEndpoints() ([]hns.Endpoint, error) {
	if err := p.fault(hns.OpListEndpointIDs, hns.OpEndpoint); err != nil {
		return nil, err
	}
	listed, _ := p.node.HNS.ListEndpointIDs(context.Background()) // faults come from service
	there := p.node.HNS.State().Endpoints
	if len(there) < len(listed) {
		return nil, refused{codeNoEndpoint}
	}
	return slices.DeleteFunc(there, func(e hns.Endpoint) bool { return e.Network != p.node.network.ID }), nil
}

// endpoint reads one endpoint, which may not exist.
func (p proxyHNS) endpoint(id hns.EndpointID) ([]hns.Endpoint, error) {
	if err := p.fault(hns.OpListEndpointIDs, hns.OpEndpoint); err != nil {
		return nil, err
	}
	if e, there := p.node.endpoint(id); there {
		return []hns.Endpoint{e}, nil
	}
	return nil, nil
}

// createEndpoint creates a remote endpoint.
func (p proxyHNS) createEndpoint(addr netip.Addr) (hns.Endpoint, error) {
	made, err := hns.Endpoint{}, p.fault(hns.OpNetworks, opCreateRemoteEndpoint)
	if err == nil {
		made, err = p.node.createRemote(addr, ActorKubeProxy)
	}
	if errors.Is(err, hnstest.ErrDuplicateAddress) {
		err = refused{codeInvalidIP}
	}
	return made, p.wrote(err, "make a remote endpoint of %s", addr)
}

// deleteEndpoint deletes an endpoint by ID, whatever it is.
func (p proxyHNS) deleteEndpoint(id hns.EndpointID) error {
	n := p.node
	endpoint, there := n.endpoint(id)
	err := p.fault(hns.OpDeleteEndpoint)
	if err != nil || !there {
		return cmp.Or[error](err, refused{codeNotFound})
	}
	if !endpoint.Remote() {
		n.missed(endpoint.Addresses[0], id, n.KubeProxy.enumerated)
	}
	err = n.delete(id, ActorKubeProxy)
	return p.wrote(err, "delete endpoint %s of %s", id, endpoint.Addresses[0])
}

// listLoadBalancers lists load balancers; it fails like listEndpoints.
func (p proxyHNS) listLoadBalancers() ([]hns.LoadBalancer, error) {
	if err := p.fault(hns.OpLoadBalancers); err != nil {
		return nil, err
	}
	listed := len(p.node.HNS.State().LoadBalancers)
	there, _ := p.node.HNS.LoadBalancers(context.Background()) // faults come from service
	if len(there) < listed {
		return nil, refused{codeNotFound}
	}
	return there, nil
}

// loadBalancer reads one load balancer, which may not exist.
func (p proxyHNS) loadBalancer(id hns.LoadBalancerID) ([]hns.LoadBalancer, error) {
	if err := p.fault(hns.OpLoadBalancers); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(p.node.HNS.State().LoadBalancers, func(lb hns.LoadBalancer) bool { return lb.ID != id }), nil
}

// setLoadBalancer creates a load balancer or, if it has an ID, updates it.
func (p proxyHNS) setLoadBalancer(spec hns.LoadBalancer) (hns.LoadBalancer, error) {
	err, did := p.fault(opWriteLoadBalancer), "change"
	switch {
	case err != nil:
	case spec.ID == "":
		did = "make"
		spec, err = p.node.HNS.CreateLoadBalancer(spec)
	default:
		err = p.node.HNS.UpdateLoadBalancer(spec)
	}
	if errors.Is(err, hns.ErrNotFound) {
		err = refused{codeNoEndpoint}
	}
	return spec, p.wrote(err, "%s a load balancer: %s", did, balancerKey(spec))
}

// deleteLoadBalancer deletes a load balancer.
func (p proxyHNS) deleteLoadBalancer(id hns.LoadBalancerID) error {
	all := p.node.HNS.State().LoadBalancers
	at := slices.IndexFunc(all, func(lb hns.LoadBalancer) bool { return lb.ID == id })
	err := p.fault(opWriteLoadBalancer)
	if err != nil || at < 0 {
		return cmp.Or[error](err, refused{codeNotFound})
	}
	err = p.node.HNS.DeleteLoadBalancer(id)
	return p.wrote(err, "delete a load balancer: %s", balancerKey(all[at]))
}

// wired converts objects to the wire format.
func wired[O, W any](object func(O) W) func([]O, error) ([]W, error) {
	return func(all []O, err error) ([]W, error) {
		words := make([]W, 0, len(all))
		for _, o := range all {
			words = append(words, object(o))
		}
		return words, err
	}
}

func wiredEndpoint(e hns.Endpoint) wire.Endpoint {
	wired := wire.Endpoint{ID: string(e.ID), Network: string(e.Network), MAC: e.MAC.String(), Remote: e.Remote()}
	for _, a := range e.Addresses {
		wired.Addresses = append(wired.Addresses, a.String())
	}
	return wired
}

func wiredBalancer(lb hns.LoadBalancer) wire.LoadBalancer {
	wired := wire.LoadBalancer{ID: string(lb.ID)}
	for _, id := range lb.Endpoints {
		wired.Endpoints = append(wired.Endpoints, string(id))
	}
	for _, vip := range lb.FrontendVIPs {
		wired.FrontendVIPs = append(wired.FrontendVIPs, vip.String())
	}
	for _, port := range lb.Ports {
		wired.Protocol, wired.InternalPort, wired.ExternalPort = port.Protocol, port.InternalPort, port.ExternalPort
	}
	return wired
}

func balancerOf(wired wire.LoadBalancer) hns.LoadBalancer {
	lb := hns.LoadBalancer{ID: hns.LoadBalancerID(wired.ID), Ports: []hns.PortMapping{{
		Protocol: wired.Protocol, InternalPort: wired.InternalPort, ExternalPort: wired.ExternalPort,
	}}}
	for _, id := range wired.Endpoints {
		lb.Endpoints = append(lb.Endpoints, hns.EndpointID(id))
	}
	for _, vip := range wired.FrontendVIPs {
		lb.FrontendVIPs = append(lb.FrontendVIPs, netip.MustParseAddr(vip))
	}
	return lb
}
