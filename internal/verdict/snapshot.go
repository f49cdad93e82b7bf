// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"net/netip"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Endpoint is an endpoint of a snapshot.
type Endpoint struct {
	hns.Endpoint
	// Seen is when the endpoint was first seen.
	Seen time.Time
	// Appeared is when the last snapshot without the endpoint was taken, if the endpoint was created while hnsguard
	// watched. It is zero for an endpoint of the first snapshot, or of the first one after HNS could not be read.
	Appeared time.Time
}

// Snapshot is the complete relevant state of HNS at one moment. There is no partial snapshot. Snapshots share what has
// not changed between them: nothing in a snapshot may be changed.
type Snapshot struct {
	Taken time.Time
	// Network is the pod network.
	Network hns.Network
	// Endpoints are all endpoints of all networks, in HNS's order.
	Endpoints []Endpoint
	// LoadBalancers are all load balancers, if they are known, as they were at LoadBalancersRead.
	LoadBalancers      []hns.LoadBalancer
	LoadBalancersKnown bool
	// LoadBalancersRead is when the reading began.
	LoadBalancersRead time.Time
}

// Addresses returns the addresses of all endpoints of the pod network; it may return an address more than once.
func (s Snapshot) Addresses() []netip.Addr {
	addresses := make([]netip.Addr, 0, len(s.Endpoints))
	for i := range s.Endpoints {
		if s.Endpoints[i].Network == s.Network.ID {
			addresses = append(addresses, s.Endpoints[i].Addresses...)
		}
	}
	return addresses
}

// WithEndpoints returns the snapshot with other endpoints in place of its own.
func (s Snapshot) WithEndpoints(endpoints []Endpoint) Snapshot {
	s.Endpoints = endpoints
	return s
}
