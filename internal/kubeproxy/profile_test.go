// SPDX-License-Identifier: Apache-2.0

package kubeproxy_test

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

func TestProfileOf(t *testing.T) {
	for _, tc := range []struct {
		version                       string
		stale, leak, duplicate, known bool
		givenUp, loses                bool
	}{
		{"v1.30.14", false, false, true, true, false, false},
		{"v1.31.0", true, true, true, true, false, false},
		{"v1.31.8", true, true, true, true, false, false},
		{"v1.31.9", false, true, true, true, false, false},
		{"v1.31.14", false, true, true, true, false, false},
		{"v1.32.4", true, true, true, true, false, false},
		{"v1.32.5", false, true, true, true, false, false},
		{"v1.32.9", false, true, true, true, false, false},
		{"v1.32.10", false, false, true, true, true, false},
		{"v1.32.13", false, false, true, true, true, false},
		{"v1.33.0", true, true, true, true, false, false},
		{"v1.33.1", false, true, true, true, false, false},
		{"v1.33.6", false, false, true, true, true, false},
		{"v1.34.0", false, true, true, true, false, false},
		{"v1.34.2", false, false, true, true, true, false},
		{"v1.34.8", false, false, false, true, true, false},
		{"v1.35.0", false, false, true, true, true, false},
		{"v1.35.4", false, false, true, true, true, false},
		{"v1.35.5", false, false, false, true, true, false},
		{"v1.36.0", false, false, true, true, true, false},
		{"v1.36.1", false, false, false, true, true, false},
		{"v1.37.0", false, false, false, true, true, true},
		{"v1.38.0", false, false, false, true, true, true},
		// Invariant 3: suffixes change nothing.
		{"v1.31.7-eks-abcdef", true, true, true, true, false, false},
		{"v1.32.5+k3s1", false, true, true, true, false, false},
		{"1.33.0-hotfix.20260101", true, true, true, true, false, false},
		// Invariant 1: an unknown version has every fault.
		{"", true, true, true, false, true, true},
		{"latest", true, true, true, false, true, true},
		{"v2.0.0", true, true, true, false, true, true},
		{"v0.0.0-master+$Format:%H$", true, true, true, false, true, true},
	} {
		t.Run(tc.version, func(t *testing.T) {
			NewWithT(t).Expect(kubeproxy.ProfileOf(tc.version)).To(Equal(kubeproxy.Profile{
				Version: tc.version, Known: tc.known, StaleRecord: tc.stale, BatchLeak: tc.leak, Duplicates: tc.duplicate,
				GivenUpLeak: tc.givenUp, LosesLoadBalancers: tc.loses,
			}))
		})
	}
}

func TestMade(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.240.0.11"), netip.MustParseAddr("fd00::a:b")
	for name, tc := range map[string]struct {
		endpoint hns.Endpoint
		made     bool
	}{
		"its IPv4 endpoint": {
			hns.Endpoint{Flags: 1, MAC: hns.MAC{2, 0x11, 0x0a, 0xf0, 0, 0x0b}, Addresses: []netip.Addr{v4}}, true,
		},
		"its IPv6 endpoint, the last bytes reversed": {
			hns.Endpoint{Flags: 1, MAC: hns.MAC{2, 0x11, 0x0b, 0, 0x0a, 0}, Addresses: []netip.Addr{v6}}, true,
		},
		"other flags are set too": {
			hns.Endpoint{Flags: 33, MAC: kubeproxy.RemoteMAC(v4), Addresses: []netip.Addr{v4}}, true,
		},
		"a local endpoint": {
			hns.Endpoint{MAC: kubeproxy.RemoteMAC(v4), Addresses: []netip.Addr{v4}}, false,
		},
		"Calico's or flannel's mark": {
			hns.Endpoint{Flags: 1, MAC: hns.MAC{0x0e, 0x2a, 10, 240, 0, 11}, Addresses: []netip.Addr{v4}}, false,
		},
		"the mark of another address": {
			hns.Endpoint{Flags: 1, MAC: hns.MAC{2, 0x11, 10, 240, 0, 12}, Addresses: []netip.Addr{v4}}, false,
		},
		"Microsoft's health probe": {
			hns.Endpoint{Flags: 1, MAC: hns.MAC{2, 0x11, 0xab, 0xaa, 0xaa, 0xaa}, Addresses: []netip.Addr{v4}}, false,
		},
		"no address": {hns.Endpoint{Flags: 1, MAC: hns.MAC{2, 0x11}}, false},
		"two addresses": {
			hns.Endpoint{Flags: 1, MAC: kubeproxy.RemoteMAC(v4), Addresses: []netip.Addr{v4, v6}}, false,
		},
	} {
		NewWithT(t).Expect(kubeproxy.Owns(tc.endpoint)).To(Equal(tc.made), name)
	}
}

func TestCheckVersion(t *testing.T) {
	g := NewWithT(t)
	for _, v := range []string{"v1.31.0", "1.32.3", "v1.31.7-eks-abcdef", "v1.37.0-rc.1", "v1.33.1+k3s1"} {
		g.Expect(kubeproxy.CheckVersion(v)).To(Succeed(), v)
		g.Expect(kubeproxy.ProfileOf(v).Known).To(BeTrue(), v)
	}
	for _, v := range []string{"", "banana", "v1", "v1.31", "v2.0.0", "latest", "v1.x.0"} {
		g.Expect(kubeproxy.CheckVersion(v)).To(MatchError(ContainSubstring(`such as "v1.32.3"`)), v)
	}
}

func TestLosesUnchanged(t *testing.T) {
	for v, want := range map[string][2]bool{ // for Services with other policies, and with Local
		"v1.30.14": {true, true}, "v1.31.13": {false, true}, "v1.31.14": {false, false}, "v1.32.9": {false, true},
		"v1.32.10": {false, false}, "v1.33.5": {false, true}, "v1.33.6-eks-1": {false, false}, "v1.34.1": {false, true},
		"v1.34.2": {false, false}, "v1.35.0": {false, false}, "v1.37.2": {false, false}, "": {true, true}, "latest": {true, true},
	} {
		profile := kubeproxy.ProfileOf(v)
		NewWithT(t).Expect([2]bool{profile.LosesUnchanged(false), profile.LosesUnchanged(true)}).To(Equal(want), v)
	}
}

func TestMayUpdateLoadBalancers(t *testing.T) {
	for _, tc := range []struct {
		kubeProxy, hns string
		may            bool
	}{
		{"v1.31.0", "13.3", false},
		{"v1.37.2", "15.3", false},
		{"v1.30.0", "15.4", false},
		{"v1.31.14", "15.4", true},
		{"v1.32.5", "15.4", true},
		{"v1.32.6", "15.4", false},
		{"v1.33.1-eks-1", "15.4", true},
		{"v1.33.2", "15.4", false},
		{"v1.37.2", "15.4", false},
		{"v1.37.2", "15.5", true},
		{"v1.37.2", "16.0", true},
		{"v1.37.2", "", true},
		{"v1.37.2", "newest", true},
		{"", "15.4", true},
		{"", "13.3", false},
	} {
		profile := kubeproxy.ProfileOf(tc.kubeProxy)
		NewWithT(t).Expect(profile.MayUpdateLoadBalancers(tc.hns)).To(Equal(tc.may), "%s on %s", tc.kubeProxy, tc.hns)
	}
}
