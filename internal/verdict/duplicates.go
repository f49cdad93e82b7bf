// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"net/netip"
	"slices"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Duplicate is an address of the pod network that several endpoints have. Packets to it may reach the wrong one.
type Duplicate struct {
	Address netip.Addr
	// Locals and Remotes are the endpoints that have it, in HNS's order.
	Locals, Remotes []hns.EndpointID
}

// DuplicateKind is the closed set of what shares an address.
type DuplicateKind string

// The kinds of duplicates.
const (
	// LocalAndLocal: two pods on the node, or one and what a CNI left behind.
	LocalAndLocal DuplicateKind = "local_local"
	// LocalAndRemote: a pod on the node, or what a CNI left behind, and an endpoint on another node.
	LocalAndRemote DuplicateKind = "local_remote"
	// RemoteAndRemote: several remote endpoints and no local one.
	RemoteAndRemote DuplicateKind = "remote_remote"
)

// DuplicateKinds lists every kind.
func DuplicateKinds() []DuplicateKind {
	return []DuplicateKind{LocalAndLocal, LocalAndRemote, RemoteAndRemote}
}

// Kind returns the kind of a duplicate. Two local endpoints are the worst, whatever else has the address.
func (d Duplicate) Kind() DuplicateKind {
	switch {
	case len(d.Locals) > 1:
		return LocalAndLocal
	case len(d.Locals) == 1:
		return LocalAndRemote
	default:
		return RemoteAndRemote
	}
}

// Duplicates returns the addresses of the pod network that several endpoints have, in the order of the addresses.
func (s Snapshot) Duplicates() []Duplicate {
	seen := make(map[netip.Addr]hns.EndpointID, len(s.Endpoints))
	duplicates := map[netip.Addr]bool{}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if e.Network != s.Network.ID {
			continue
		}
		for _, addr := range e.Addresses {
			if other, known := seen[addr]; known && other != e.ID {
				duplicates[addr] = true
			}
			seen[addr] = e.ID
		}
	}
	var all []Duplicate
	for addr := range duplicates {
		all = append(all, s.holders(addr))
	}
	slices.SortFunc(all, func(a, b Duplicate) int { return a.Address.Compare(b.Address) })
	return all
}

// holders returns the endpoints of the pod network that have an address.
func (s Snapshot) holders(addr netip.Addr) Duplicate {
	d := Duplicate{Address: addr}
	for i := range s.Endpoints {
		switch e := &s.Endpoints[i]; {
		case e.Network != s.Network.ID || !e.Has(addr):
		case e.Remote():
			d.Remotes = append(d.Remotes, e.ID)
		default:
			d.Locals = append(d.Locals, e.ID)
		}
	}
	return d
}
