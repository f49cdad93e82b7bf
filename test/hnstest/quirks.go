// SPDX-License-Identifier: Apache-2.0

package hnstest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Quirks are ways in which HNS may be otherwise than package contract assumes. Nothing is known of them (invariant 2).
type Quirks uint32

// The quirks. The duplicate policies and the orders are quirks too, which exclude each other.
const (
	// ListsLate leaves the newest endpoint out of lists.
	ListsLate Quirks = 1 << iota
	// KeepsDeleted lets deletions of endpoints succeed without effect.
	KeepsDeleted
	// UnknownCodes answers for an endpoint that is not there with a code that hnsguard does not know.
	UnknownCodes
	// OwnMACs gives endpoints other hardware addresses than were asked for.
	OwnMACs
	// MakesRemotes sets the flag of a remote endpoint on every one.
	MakesRemotes
	// ReusesIDs gives an endpoint the ID of the one that was deleted last.
	ReusesIDs
	// DeletesTwins deletes every endpoint with the address of the one that is to be deleted.
	DeletesTwins
	// RefusesBackends refuses to delete an endpoint that a load balancer refers to.
	RefusesBackends
	// ForgetsBackends takes the ID of a deleted endpoint out of load balancers.
	ForgetsBackends
	// ForgetsFrontends makes load balancers without frontends.
	ForgetsFrontends
	// RefusesFrontendTwice refuses a second load balancer with a frontend and port.
	RefusesFrontendTwice
	// IgnoresUpdates lets updates of load balancers succeed without effect.
	IgnoresUpdates
	// ListsFail fails lists of load balancers after one was deleted, until another one is made.
	ListsFail
	// HidesNamespaces shows no namespace of any endpoint.
	HidesNamespaces
	// KeepsNamespaces goes on showing a namespace that was deleted.
	KeepsNamespaces
	// RefusesOutside refuses endpoints outside of the subnets of their network, if it has any.
	RefusesOutside
	// HidesVersion and HidesTypes do not tell the version of HNS, and the types of networks.
	HidesVersion
	HidesTypes
	// OneAtATime fails a list of endpoints that is asked for while another one is made.
	OneAtATime
)

// The errors of quirks.
var (
	// ErrPortExists is what HNS answers with code 0x803b0013.
	ErrPortExists = errors.New("the specified port already exists (0x803b0013)")
	// ErrStillReferenced is what HNS answers with code 0x803b002c.
	ErrStillReferenced = errors.New("the endpoint still has references (0x803b002c)")
	// ErrNotInSubnet is what HNS answers with code 0x803b001e.
	ErrNotInSubnet = errors.New("the address is in no subnet of the network (0x803b001e)")

	errUnknown = errors.New("the object was not there (0x803b0099)")
	errBusy    = errors.New("the service is busy (0x800700aa)")
)

func (h *HNS) has(q Quirks) bool { return h.opts.Quirks&q != 0 }

// notFound is the error for an endpoint that is not there.
func (h *HNS) notFound() error {
	if h.has(UnknownCodes) {
		return errUnknown
	}
	return hns.ErrNotFound
}

// refusesAddress says why an endpoint may not have its address.
func (h *HNS) refusesAddress(e hns.Endpoint) error {
	if !h.has(RefusesOutside) {
		return nil
	}
	at := slices.IndexFunc(h.networks, func(n hns.Network) bool { return n.ID == e.Network })
	subnets := h.networks[at].Subnets
	for _, addr := range e.Addresses {
		if !slices.ContainsFunc(subnets, func(p netip.Prefix) bool { return p.Contains(addr) }) && len(subnets) > 0 {
			return fmt.Errorf("creating endpoint %s: %w", addr, ErrNotInSubnet)
		}
	}
	return nil
}

// hasFrontend reports whether a load balancer has a frontend and a port of another one.
func (h *HNS) hasFrontend(spec hns.LoadBalancer) bool {
	return slices.ContainsFunc(h.loadBalancers, func(other hns.LoadBalancer) bool {
		same := func(vip netip.Addr) bool { return slices.Contains(spec.FrontendVIPs, vip) }
		return slices.ContainsFunc(other.FrontendVIPs, same) && slices.Equal(other.Ports, spec.Ports)
	})
}

// delete deletes an endpoint that is there.
func (h *HNS) delete(e hns.Endpoint) error {
	if h.has(RefusesBackends) &&
		slices.ContainsFunc(h.loadBalancers, func(lb hns.LoadBalancer) bool { return lb.Refers(e.ID) }) {
		return fmt.Errorf("deleting endpoint %s: %w", e.ID, ErrStillReferenced)
	}
	if h.has(ForgetsBackends) {
		for i := range h.loadBalancers {
			lb := &h.loadBalancers[i]
			lb.Endpoints = slices.DeleteFunc(lb.Endpoints, func(id hns.EndpointID) bool { return id == e.ID })
		}
	}
	h.lastDeleted = e.ID
	h.endpoints = slices.DeleteFunc(h.endpoints, func(o hns.Endpoint) bool {
		return o.ID == e.ID || h.has(DeletesTwins) && o.Network == e.Network && slices.ContainsFunc(o.Addresses, e.Has)
	})
	return nil
}
