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
	// Seen is when the endpoint was first seen. It existed by then.
	Seen time.Time
	// Appeared is a moment at which the endpoint was not there yet, if it was made while hnsguard watched: that of the
	// snapshot before the one that first had it. It is zero for what was there at the start, or after a time in which HNS
	// could not be read.
	Appeared time.Time
}

// Snapshot is the complete state of HNS as far as it matters, at one moment. There is no partial one. Snapshots share
// what has not changed between them: nothing in it may be changed.
type Snapshot struct {
	Taken time.Time
	// Network is the pod network.
	Network hns.Network
	// Endpoints are all endpoints of all networks, in HNS's order.
	Endpoints []Endpoint
	// LoadBalancers are all load balancers, as they were at LoadBalancersRead, if they are known.
	LoadBalancers      []hns.LoadBalancer
	LoadBalancersKnown bool
	// LoadBalancersRead is when the reading began.
	LoadBalancersRead time.Time
}

// Addresses returns every address that an endpoint of the pod network has; some more than once.
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
