// SPDX-License-Identifier: Apache-2.0

package hns_test

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
)

const guid = "2462b2d1-c402-4024-9c86-5a6903af7759"

// Invariant 3: every spelling parses to one ID.
func TestParseID(t *testing.T) {
	for _, in := range []string{guid, "2462B2D1-C402-4024-9C86-5A6903AF7759", "{2462B2D1-c402-4024-9C86-5A6903AF7759}"} {
		g := NewWithT(t)
		g.Expect(hns.ParseID[hns.EndpointID](in)).To(Equal(hns.EndpointID(guid)), in)
	}
	for _, in := range []string{"", "Ethernet", guid[1:]} {
		g := NewWithT(t)
		_, err := hns.ParseID[hns.EndpointID](in)
		g.Expect(err).To(MatchError(ContainSubstring("as a GUID")), in)
	}
}

func TestParseOptionalID(t *testing.T) {
	g := NewWithT(t)
	for _, none := range []string{"", "00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}"} {
		g.Expect(hns.ParseOptionalID[hns.NamespaceID](none)).To(BeEmpty(), none)
	}
	g.Expect(hns.ParseOptionalID[hns.NamespaceID](guid)).To(Equal(hns.NamespaceID(guid)))
	_, err := hns.ParseOptionalID[hns.NamespaceID]("x")
	g.Expect(err).To(HaveOccurred())
}

func TestParseMAC(t *testing.T) {
	g := NewWithT(t)
	want := hns.MAC{0x02, 0x11, 0x0a, 0xf0, 0, 0x0b}
	for _, in := range []string{"02-11-0a-f0-00-0b", "02-11-0A-F0-00-0B", "02:11:0a:f0:00:0b"} {
		g.Expect(hns.ParseMAC(in)).To(Equal(want), in)
	}
	g.Expect(want.String()).To(Equal("02-11-0a-f0-00-0b"))
	g.Expect(hns.ParseMAC("")).To(Equal(hns.MAC{}))
	for _, in := range []string{"02-11-0a-f0-00", "02-11-0a-f0-00-0b-00-01", "zz"} {
		_, err := hns.ParseMAC(in)
		g.Expect(err).To(HaveOccurred(), in)
	}
}

// Invariant 4: one address has one value.
func TestParseAddr(t *testing.T) {
	g := NewWithT(t)
	g.Expect(hns.ParseAddr("::ffff:10.0.0.1")).To(Equal(netip.MustParseAddr("10.0.0.1")))
	g.Expect(hns.ParseAddr("fe80::1%eth0")).To(Equal(netip.MustParseAddr("fe80::1")))
	_, err := hns.ParseAddr("10.0.0.256")
	g.Expect(err).To(HaveOccurred())
}

func TestRemoteIsABit(t *testing.T) {
	for flags, remote := range map[hns.EndpointFlags]bool{0: false, 1: true, 33: true, 17: true, 32: false, 2: false} {
		NewWithT(t).Expect(hns.Endpoint{Flags: flags}.Remote()).To(Equal(remote), "flags %d", flags)
	}
}

func TestAttached(t *testing.T) {
	g := NewWithT(t)
	g.Expect(hns.Endpoint{}.Attached()).To(BeFalse())
	g.Expect(hns.Endpoint{Namespace: guid}.Attached()).To(BeTrue())
	g.Expect(hns.Endpoint{SharedContainers: 1}.Attached()).To(BeTrue())
}

func TestSameIdentity(t *testing.T) {
	base := hns.Endpoint{ID: guid, Network: "n", MAC: hns.MAC{1}, Flags: 1, Addresses: []netip.Addr{netip.IPv4Unspecified()}}
	moved := base
	moved.Namespace, moved.Name, moved.SharedContainers = "ns", "other", 3
	NewWithT(t).Expect(base.SameIdentity(moved)).To(BeTrue(), "attachment and name are no identity")
	for name, change := range map[string]func(*hns.Endpoint){
		"id":        func(e *hns.Endpoint) { e.ID = "x" },
		"network":   func(e *hns.Endpoint) { e.Network = "x" },
		"mac":       func(e *hns.Endpoint) { e.MAC = hns.MAC{2} },
		"flags":     func(e *hns.Endpoint) { e.Flags = 0 },
		"addresses": func(e *hns.Endpoint) { e.Addresses = nil },
	} {
		other := base
		change(&other)
		NewWithT(t).Expect(base.SameIdentity(other)).To(BeFalse(), name)
	}
}
