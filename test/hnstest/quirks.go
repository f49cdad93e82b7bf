// SPDX-License-Identifier: Apache-2.0

package hnstest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Quirks are possible differences of HNS from the assumptions of package contract. None of them is known to exist
// (invariant 2).
type Quirks uint32

// The quirks. The duplicate policies and the orders are quirks too, but exclude each other.
const (
	// ListsLate omits the newest endpoint from lists.
	ListsLate Quirks = 1 << iota
	// KeepsDeleted makes deletes of endpoints succeed without effect.
	KeepsDeleted
	// UnknownCodes returns a code that hnsguard does not know for an endpoint that does not exist.
	UnknownCodes
	// OwnMACs gives endpoints other hardware addresses than requested.
	OwnMACs
	// MakesRemotes sets the flag of a remote endpoint on every endpoint.
	MakesRemotes
	// ReusesIDs gives an endpoint the ID of the last deleted one.
	ReusesIDs
	// DeletesTwins deletes every endpoint with the address of the deleted one.
	DeletesTwins
	// RefusesBackends refuses to delete an endpoint that a load balancer refers to.
	RefusesBackends
	// ForgetsBackends removes the ID of a deleted endpoint from load balancers.
	ForgetsBackends
	// ForgetsFrontends creates load balancers without frontends.
	ForgetsFrontends
	// RefusesFrontendTwice refuses a second load balancer with a frontend and port.
	RefusesFrontendTwice
	// IgnoresUpdates makes updates of load balancers succeed without effect.
	IgnoresUpdates
	// ListsFail fails lists of load balancers after one was deleted, until another one is created.
	ListsFail
	// HidesNamespaces shows no namespaces of endpoints.
	HidesNamespaces
	// KeepsNamespaces still shows a namespace after it was deleted.
	KeepsNamespaces
	// RefusesOutside refuses endpoints outside of the subnets of their network, if it has any.
	RefusesOutside
	// HidesVersion and HidesTypes hide the version of HNS, and the types of networks.
	HidesVersion
	HidesTypes
	// OneAtATime fails a list of endpoints during another list.
	OneAtATime
)

// The errors of quirks.
var (
	// ErrPortExists is HNS's error 0x803b0013.
	ErrPortExists = errors.New("the specified port already exists (0x803b0013)")
	// ErrStillReferenced is HNS's error 0x803b002c.
	ErrStillReferenced = errors.New("the endpoint still has references (0x803b002c)")
	// ErrNotInSubnet is HNS's error 0x803b001e.
	ErrNotInSubnet = errors.New("the address is in no subnet of the network (0x803b001e)")

	errUnknown = errors.New("the object was not there (0x803b0099)")
	errBusy    = errors.New("the service is busy (0x800700aa)")
)

func (h *HNS) has(q Quirks) bool { return h.opts.Quirks&q != 0 }

// notFound returns the error for an endpoint that does not exist.
func (h *HNS) notFound() error {
	if h.has(UnknownCodes) {
		return errUnknown
	}
	return hns.ErrNotFound
}

// refusesAddress returns why an endpoint may not have its address.
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

// hasFrontend reports whether a load balancer has the frontend and port of another one.
func (h *HNS) hasFrontend(spec hns.LoadBalancer) bool {
	return slices.ContainsFunc(h.loadBalancers, func(other hns.LoadBalancer) bool {
		same := func(vip netip.Addr) bool { return slices.Contains(spec.FrontendVIPs, vip) }
		return slices.ContainsFunc(other.FrontendVIPs, same) && slices.Equal(other.Ports, spec.Ports)
	})
}

// delete deletes an existing endpoint.
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
