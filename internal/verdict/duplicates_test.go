// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

func TestDuplicates(t *testing.T) {
	g := NewWithT(t)
	addr := netip.MustParseAddr
	endpoint := func(id hns.EndpointID, network hns.NetworkID, flags hns.EndpointFlags, addresses ...string) verdict.Endpoint {
		e := verdict.Endpoint{Endpoint: hns.Endpoint{ID: id, Network: network, Flags: flags}}
		for _, a := range addresses {
			e.Addresses = append(e.Addresses, addr(a))
		}
		return e
	}
	s := verdict.Snapshot{
		Network: hns.Network{ID: "pods"},
		Endpoints: []verdict.Endpoint{
			endpoint("l1", "pods", 0, "10.0.0.3", "fd00::1"),
			endpoint("r1", "pods", hns.FlagRemote, "10.0.0.3"),
			endpoint("l2", "pods", 0, "10.0.0.2"),
			endpoint("l3", "pods", 0, "10.0.0.2"),
			endpoint("r2", "pods", hns.FlagRemote, "10.0.0.2"),
			endpoint("r3", "pods", hns.FlagRemote, "10.0.0.1"),
			endpoint("r4", "pods", hns.FlagRemote, "10.0.0.1"),
			endpoint("l4", "pods", 0, "10.0.0.4", "10.0.0.4"), // one endpoint is no duplicate of itself
			endpoint("n1", "nat", 0, "10.0.0.5"),              // the same address on another network is another one
			endpoint("l5", "pods", 0, "10.0.0.5"),
			endpoint("none", "pods", 0),
		},
	}
	found := s.Duplicates()
	g.Expect(found).To(Equal([]verdict.Duplicate{
		{Address: addr("10.0.0.1"), Remotes: []hns.EndpointID{"r3", "r4"}},
		{Address: addr("10.0.0.2"), Locals: []hns.EndpointID{"l2", "l3"}, Remotes: []hns.EndpointID{"r2"}},
		{Address: addr("10.0.0.3"), Locals: []hns.EndpointID{"l1"}, Remotes: []hns.EndpointID{"r1"}},
	}))
	var kinds []verdict.DuplicateKind
	for _, d := range found {
		kinds = append(kinds, d.Kind())
	}
	g.Expect(kinds).To(Equal([]verdict.DuplicateKind{
		verdict.RemoteAndRemote, verdict.LocalAndLocal, verdict.LocalAndRemote,
	}))
	g.Expect(verdict.DuplicateKinds()).To(ConsistOf(kinds))
	g.Expect(verdict.Snapshot{}.Duplicates()).To(BeEmpty())
}
