// SPDX-License-Identifier: Apache-2.0

package hcnclient_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"

	"github.com/Microsoft/hcsshim/hcn"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/windows"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/hcnclient"
)

// Invariants 1 and 2, for the calls that go to the DLL itself.
func TestAnswer(t *testing.T) {
	for hr, want := range map[uintptr]error{
		0x80070490: hns.ErrNotFound, 0x803b0001: hns.ErrNotFound, 0x803b0002: hns.ErrNotFound,
		0x800706b5: hns.ErrUnavailable, 0x800706ba: hns.ErrUnavailable, 0x800706be: hns.ErrUnavailable,
		0x800706bf: hns.ErrUnavailable, 0x80070426: hns.ErrUnavailable, 0x803b0020: hns.ErrUnavailable,
	} {
		_, err := hcnclient.Answer("HcnOpenEndpoint", hr, nil, nil)
		NewWithT(t).Expect(err).To(MatchError(want), "%#x", hr)
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring("HcnOpenEndpoint failed in Win32")))
	}
	g := NewWithT(t)
	_, err := hcnclient.Answer("HcnOpenEndpoint", 0x803b0007, nil, nil)
	g.Expect(err).To(HaveOccurred())
	g.Expect(hns.ClassOf(err)).To(Equal(hns.ClassOther), "a switch port that is missing is no missing endpoint")
	g.Expect(hcnclient.Answer("HcnCloseEndpoint", 0, nil, nil)).To(BeEmpty())
}

// Invariant 1, for the calls that go through hcsshim.
func TestTranslateError(t *testing.T) {
	for _, err := range []error{
		hcn.EndpointNotFoundError{EndpointID: "x"},
		hcn.NetworkNotFoundError{NetworkName: "x"},
		hcn.LoadBalancerNotFoundError{LoadBalancerId: "x"},
		fmt.Errorf("wrapped: %w", hcn.EndpointNotFoundError{}),
	} {
		NewWithT(t).Expect(hcnclient.TranslateError(err)).To(And(MatchError(hns.ErrNotFound), MatchError(err)))
	}
	NewWithT(t).Expect(hcnclient.TranslateError(windows.ERROR_ACCESS_DENIED)).To(Equal(windows.ERROR_ACCESS_DENIED))
}

// hcn's types decode what HNS answers; the text is made from a recorded V1 endpoint and hcn's schema.
func TestToEndpoint(t *testing.T) {
	g := NewWithT(t)
	var in hcn.HostComputeEndpoint
	g.Expect(json.Unmarshal([]byte(`{
		"ID": "2462B2D1-C402-4024-9C86-5A6903AF7759", "Name": "Ethernet",
		"HostComputeNetwork": "E4F3B8C2-0D6A-4C49-9D8E-0B1F0E8B7C11",
		"HostComputeNamespace": "00000000-0000-0000-0000-000000000000",
		"IpConfigurations": [{"IpAddress": "10.240.0.11", "PrefixLength": 16}, {"IpAddress": ""}],
		"MacAddress": "02-11-0A-F0-00-0B", "Flags": 33,
		"Health": {"Extra": {"SharedContainers": ["a", "b"]}}, "SchemaVersion": {"Major": 2, "Minor": 0}
	}`), &in)).To(Succeed())
	g.Expect(hcnclient.ToEndpoint(in)).To(Equal(hns.Endpoint{
		ID: "2462b2d1-c402-4024-9c86-5a6903af7759", Name: "Ethernet", Network: "e4f3b8c2-0d6a-4c49-9d8e-0b1f0e8b7c11",
		Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")}, MAC: hns.MAC{2, 0x11, 10, 240, 0, 11}, Flags: 33,
		SharedContainers: 2,
	}))
}

// Invariant 3.
func TestWhatCannotBeTranslatedIsNamed(t *testing.T) {
	g := NewWithT(t)
	_, err := hcnclient.ToEndpoint(hcn.HostComputeEndpoint{
		Id: "e1", MacAddress: "zz", IpConfigurations: []hcn.IpConfig{{IpAddress: "10.240.0.311"}},
	})
	g.Expect(err).To(MatchError(And(ContainSubstring(`endpoint "e1"`), ContainSubstring("GUID"), ContainSubstring("zz"),
		ContainSubstring("10.240.0.311"))))
	_, err = hcnclient.ToNetwork(hcn.HostComputeNetwork{
		Id: "n1", Name: "azure", Ipams: []hcn.Ipam{{Subnets: []hcn.Subnet{{IpAddressPrefix: "10.0.0.0/99"}}}},
	})
	g.Expect(err).To(MatchError(And(ContainSubstring(`network "azure"`), ContainSubstring("/99"))))
	_, err = hcnclient.ToLoadBalancer(hcn.HostComputeLoadBalancer{Id: "l1", HostComputeEndpoints: []string{"x"}})
	g.Expect(err).To(MatchError(And(ContainSubstring(`load balancer "l1"`), ContainSubstring(`"x"`))))
}

func TestToNetworkAndLoadBalancer(t *testing.T) {
	g := NewWithT(t)
	const id = "2462b2d1-c402-4024-9c86-5a6903af7759"
	g.Expect(hcnclient.ToNetwork(hcn.HostComputeNetwork{
		Id: id, Name: "azure", Type: hcn.L2Bridge,
		Ipams: []hcn.Ipam{{Subnets: []hcn.Subnet{{IpAddressPrefix: "10.240.0.0/16"}, {}}}},
	})).To(Equal(hns.Network{
		ID: id, Name: "azure", Type: hns.NetworkL2Bridge, Subnets: []netip.Prefix{netip.MustParsePrefix("10.240.0.0/16")},
	}))
	g.Expect(hcnclient.ToLoadBalancer(hcn.HostComputeLoadBalancer{
		Id: id, HostComputeEndpoints: []string{id}, FrontendVIPs: []string{"10.0.0.10"},
		PortMappings: []hcn.LoadBalancerPortMapping{{Protocol: 6, InternalPort: 8080, ExternalPort: 80}},
	})).To(Equal(hns.LoadBalancer{
		ID: id, Endpoints: []hns.EndpointID{id}, FrontendVIPs: []netip.Addr{netip.MustParseAddr("10.0.0.10")},
		Ports: []hns.PortMapping{{Protocol: 6, InternalPort: 8080, ExternalPort: 80}},
	}))
}
