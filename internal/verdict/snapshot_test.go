// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Invariant 4.
func TestASnapshotSpeaksOfThePodNetworkOnly(t *testing.T) {
	g := NewWithT(t)
	on := func(id hns.EndpointID, network hns.NetworkID, addr string) verdict.Endpoint {
		return verdict.Endpoint{Endpoint: hns.Endpoint{ID: id, Network: network, Addresses: []netip.Addr{netip.MustParseAddr(addr)}}}
	}
	s := verdict.Snapshot{Network: hns.Network{ID: podNet}}
	s = s.WithEndpoints([]verdict.Endpoint{
		on("a", podNet, "10.240.0.11"), on("b", podNet, "10.240.0.11"), on("c", natNet, "10.240.0.11"),
		on("d", podNet, "10.240.0.12"), on("e", natNet, "10.240.0.12"), on("f", natNet, "10.240.0.13"),
	})
	g.Expect(s.Addresses()).To(Equal([]netip.Addr{
		netip.MustParseAddr("10.240.0.11"), netip.MustParseAddr("10.240.0.11"), netip.MustParseAddr("10.240.0.12"),
	}))
	g.Expect(s.WithEndpoints(nil).Endpoints).To(BeEmpty())
}
