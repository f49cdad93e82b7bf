// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"net/netip"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Endpoint is an endpoint of a snapshot.
type Endpoint struct {
	hns.Endpoint
	// Appeared is set when the endpoint was first seen between two complete snapshots that lay close together: it was
	// made while hnsguard watched. It is not set for what was there at the start, or after a time in which HNS could not
	// be read.
	Appeared bool
}

// Snapshot is the complete state of HNS as far as it matters, at one moment. There is no partial one.
type Snapshot struct {
	Taken time.Time
	// Network is the pod network.
	Network hns.Network
	// Endpoints are all endpoints of all networks, in HNS's order.
	Endpoints []Endpoint
	// LoadBalancers are all load balancers, if they were read for this snapshot.
	LoadBalancers      []hns.LoadBalancer
	LoadBalancersKnown bool
}

// Addresses returns every address that an endpoint of the pod network has; some more than once.
func (s Snapshot) Addresses() []netip.Addr {
	addresses := make([]netip.Addr, 0, len(s.Endpoints))
	for _, e := range s.Endpoints {
		if e.Network == s.Network.ID {
			addresses = append(addresses, e.Addresses...)
		}
	}
	return addresses
}
