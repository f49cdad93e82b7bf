// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// duplicate is an address that several local endpoints have, including the node's own ones.
type duplicate struct {
	Address   netip.Addr
	Endpoints []hns.EndpointID
	// Unused are the endpoints that no pod uses.
	Unused []hns.EndpointID
}

// duplicatesOf returns the addresses that several endpoints have, without those of kube-proxy.
func duplicatesOf(all []Endpoint) []duplicate {
	found := map[netip.Addr]duplicate{}
	for _, e := range all {
		if e.Reason != verdict.ReasonOfNode && (e.Verdict != verdict.Local || e.Reason == verdict.ReasonOtherNetwork) {
			continue
		}
		for _, addr := range e.Addresses {
			d := found[addr]
			if slices.Contains(d.Endpoints, e.ID) { // an endpoint may list its address twice
				continue
			}
			d.Address, d.Endpoints = addr, append(d.Endpoints, e.ID)
			if e.Reason != verdict.ReasonLocalPod {
				d.Unused = append(d.Unused, e.ID)
			}
			found[addr] = d
		}
	}
	maps.DeleteFunc(found, func(_ netip.Addr, d duplicate) bool { return len(d.Endpoints) < 2 })
	return slices.SortedFunc(maps.Values(found), func(a, b duplicate) int { return a.Address.Compare(b.Address) })
}

// The kinds of addresses on the pod network that several endpoints have.
const (
	localLocal   = "local_local"
	localRemote  = "local_remote"
	remoteRemote = "remote_remote"
)

// sharedAddresses counts the addresses on the pod network that several endpoints have, by kind.
func (r Report) sharedAddresses() map[string]int {
	type holders struct{ locals, remotes int }
	held := map[netip.Addr]holders{}
	for _, e := range r.Endpoints {
		for i, addr := range e.Addresses {
			h := held[addr]
			switch {
			case e.Network != r.Network.ID, slices.Index(e.Addresses, addr) != i: // an endpoint may list its address twice
				continue
			case e.Kind == "remote":
				h.remotes++
			default:
				h.locals++
			}
			held[addr] = h
		}
	}
	counts := map[string]int{localLocal: 0, localRemote: 0, remoteRemote: 0}
	for _, h := range held {
		switch {
		case h.locals > 1:
			counts[localLocal]++
		case h.locals > 0 && h.remotes > 0:
			counts[localRemote]++
		case h.remotes > 1:
			counts[remoteRemote]++
		}
	}
	return counts
}

// answer says which endpoints share the address.
func (d duplicate) answer() Answer {
	a := Answer{
		Because: fmt.Sprintf("The endpoints %s all have the address %s, and packets to it may reach the wrong one",
			join(d.Endpoints, ", "), d.Address),
		Next: "hnsguard reports it. Local endpoints are never removed.",
		Do:   "Explain the address, and remove the endpoint that is left behind.",
	}
	switch len(d.Unused) {
	case 0:
		a.Because += "; which of them its pod uses is unknown."
	case len(d.Endpoints):
		a.Because += "; no pod uses any of them."
	default:
		a.Because += "; no pod uses " + join(d.Unused, ", ") + "."
	}
	return a
}
