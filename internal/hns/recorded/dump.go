// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"strings"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Dump is what one or more recorded files say of HNS.
type Dump struct {
	// Networks are the networks that were recorded, and those that recorded endpoints name. Of the latter less is
	// known: an empty name or type and a missing subnet mean "not recorded".
	Networks []hns.Network

	// Endpoints are in the order of the files.
	Endpoints []hns.Endpoint
	// EndpointsRecorded is false when no file said anything about endpoints: unknown is not "none".
	EndpointsRecorded bool

	LoadBalancers []hns.LoadBalancer
	// LoadBalancersRecorded is false when no file said anything about load balancers: unknown is not "none".
	LoadBalancersRecorded bool

	// Gaps tells for each endpoint what its files do not say about it. An endpoint without gaps has no entry.
	Gaps map[hns.EndpointID]Gap
}

// Gap is a set of facts about an endpoint that a recorded file does not tell. The endpoint's fields then hold zero
// values that mean nothing: an endpoint of unknown kind has no remote flag, yet it may be remote. Whoever judges
// endpoints has to leave one with a gap undecided if the fact matters.
type Gap uint8

// The facts that a format may lack.
const (
	GapKind Gap = 1 << iota
	GapNetwork
	GapAddresses
	GapMAC
	GapAttachment
)

// gapAll is what an endpoint's bare ID leaves open.
const gapAll = GapKind | GapNetwork | GapAddresses | GapMAC | GapAttachment

// Has reports whether any of the given facts is missing.
func (g Gap) Has(facts Gap) bool { return g&facts != 0 }

// String lists the missing facts for people: "whether it is remote, its network".
func (g Gap) String() string {
	var missing []string
	for _, f := range facts() {
		if g.Has(f.gap) {
			missing = append(missing, f.name)
		}
	}
	return strings.Join(missing, ", ")
}
