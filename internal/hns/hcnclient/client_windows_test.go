// SPDX-License-Identifier: Apache-2.0

package hcnclient_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/Microsoft/hcsshim/hcn"
	. "github.com/onsi/gomega"
	"golang.org/x/sys/windows"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/hcnclient"
)

// Invariants 1 and 2, for calls of the DLL itself.
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

// Invariant 1, for calls through hcsshim.
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

// hcn's types decode HNS's answer; the JSON combines a recorded V1 endpoint with hcn's schema.
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

const (
	guid  = "2462b2d1-c402-4024-9c86-5a6903af7759"
	guid2 = "e4f3b8c2-0d6a-4c49-9d8e-0b1f0e8b7c11"
)

// Invariant 3: an endpoint that cannot be translated must not make the whole node unknown.
func TestWhatCannotBeTranslatedOfAnEndpointIsLeftOutAndNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*hcn.HostComputeEndpoint)
		left   func(*hns.Endpoint)
		named  string
	}{
		"an address": {
			func(e *hcn.HostComputeEndpoint) {
				e.IpConfigurations = append(e.IpConfigurations, hcn.IpConfig{IpAddress: "10.240.0.311"})
			},
			func(e *hns.Endpoint) { e.Addresses = nil }, "10.240.0.311", // not the others without it: it would be another endpoint
		},
		"the hardware address": {
			func(e *hcn.HostComputeEndpoint) { e.MacAddress = "zz" }, func(e *hns.Endpoint) { e.MAC = hns.MAC{} }, "zz",
		},
		"the network": {
			func(e *hcn.HostComputeEndpoint) { e.HostComputeNetwork = "azure" },
			func(e *hns.Endpoint) { e.Network = "" }, "azure",
		},
		"the namespace": {
			func(e *hcn.HostComputeEndpoint) { e.HostComputeNamespace = "host" },
			func(e *hns.Endpoint) { e.Namespace = "" }, "host",
		},
		"the containers": {
			func(e *hcn.HostComputeEndpoint) { e.Health.Extra.SharedContainers = json.RawMessage(`{"a": 1}`) },
			func(e *hns.Endpoint) { e.SharedContainers = 0 }, "SharedContainers",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in := hcn.HostComputeEndpoint{
				Id: guid, Name: "eth0", HostComputeNetwork: guid2, HostComputeNamespace: guid2, MacAddress: "02-11-0A-F0-00-0B",
				Flags: 1, IpConfigurations: []hcn.IpConfig{{IpAddress: "10.240.0.11"}},
				Health: hcn.Health{Extra: hcn.ExtraParams{SharedContainers: json.RawMessage(`["a"]`)}},
			}
			want, err := hcnclient.ToEndpoint(in)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(want.Untranslated).To(BeEmpty())
			tc.change(&in)
			got, err := hcnclient.ToEndpoint(in)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(got.Untranslated).To(ContainSubstring(tc.named))
			tc.left(&want)
			want.Untranslated = got.Untranslated
			g.Expect(got).To(Equal(want))
		})
	}
}

func TestWhatHasToBeRight(t *testing.T) {
	g := NewWithT(t)
	_, err := hcnclient.ToEndpoint(hcn.HostComputeEndpoint{Id: "e1"})
	g.Expect(err).To(MatchError(And(ContainSubstring(`endpoint "e1"`), ContainSubstring("GUID"))))
	_, err = hcnclient.ToNetwork(hcn.HostComputeNetwork{Id: "n1", Name: "azure"})
	g.Expect(err).To(MatchError(And(ContainSubstring(`network "azure"`), ContainSubstring("n1"))))
	_, err = hcnclient.ToLoadBalancer(hcn.HostComputeLoadBalancer{Id: "l1", HostComputeEndpoints: []string{"x"}})
	g.Expect(err).To(MatchError(And(ContainSubstring(`load balancer "l1"`), ContainSubstring(`"x"`))))
}

func TestDecodeEndpoint(t *testing.T) {
	g := NewWithT(t)
	g.Expect(hcnclient.DecodeEndpoint(guid, []byte(`{"ID": "`+strings.ToUpper(guid)+`", "Flags": 1}`))).To(
		Equal(hns.Endpoint{ID: guid, Flags: hns.FlagRemote}))
	odd, err := hcnclient.DecodeEndpoint(guid, []byte(`{"ID": "`+guid+`", "MacAddress": 7, "Flags": 1}`))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(odd.Untranslated).To(ContainSubstring("MacAddress"))
	g.Expect(odd).To(Equal(hns.Endpoint{ID: guid, Untranslated: odd.Untranslated}), "nothing else is known of it")

	for _, text := range []string{"", "{", "no JSON", `{"ID": "` + guid2 + `"}`, `{"ID": ""}`} {
		_, err := hcnclient.DecodeEndpoint(guid, []byte(text))
		g.Expect(err).To(HaveOccurred(), text)
	}
}

func TestDecodeNetwork(t *testing.T) {
	g := NewWithT(t)
	g.Expect(hcnclient.DecodeNetwork([]byte(`{"ID": "`+guid+`", "Name": "azure", "Type": "l2bridge", "Flags": "odd"}`))).To(
		Equal(hns.Network{ID: guid, Name: "azure", Type: hns.NetworkL2Bridge}), "no decision depends on flags")
	for _, text := range []string{"", "{", `{"ID": "` + guid + `", "Type": 1}`, `{"ID": 1, "Type": "NAT"}`} {
		_, err := hcnclient.DecodeNetwork([]byte(text))
		g.Expect(err).To(HaveOccurred(), text)
	}
}

func TestDecodeLoadBalancer(t *testing.T) {
	g := NewWithT(t)
	g.Expect(hcnclient.DecodeLoadBalancer([]byte(`{"ID": "` + guid + `", "HostComputeEndpoints": ["` + guid2 + `"]}`))).To(
		Equal(hns.LoadBalancer{ID: guid, Endpoints: []hns.EndpointID{guid2}}))
	for _, text := range []string{"", "{", `{"ID": "` + guid + `", "HostComputeEndpoints": "` + guid2 + `"}`} {
		_, err := hcnclient.DecodeLoadBalancer([]byte(text))
		g.Expect(err).To(HaveOccurred(), "backends keep orphans: "+text)
	}
}

// An object that is gone is omitted from a list. Every other failure fails the whole list: unknown is not absent.
func TestReadAll(t *testing.T) {
	both := []string{guid, guid2}
	objects := map[string]string{
		guid: `{"ID": "` + guid + `", "Type": "NAT"}`, guid2: `{"ID": "` + guid2 + `", "Type": "NAT"}`,
	}
	boom := errors.New("HcnOpenNetwork failed in Win32: boom (0x803b0099)")
	for name, tc := range map[string]struct {
		source hcnclient.FakeSource
		read   []hns.NetworkID
		err    error
	}{
		"all are there":      {hcnclient.FakeSource{Lists: [][]string{both}}, []hns.NetworkID{guid, guid2}, nil},
		"there are none":     {hcnclient.FakeSource{Lists: [][]string{nil}}, []hns.NetworkID{}, nil},
		"one is not found":   {hcnclient.FakeSource{Lists: [][]string{both}, Errors: map[string]error{guid2: fmt.Errorf("%w", hns.ErrNotFound)}}, []hns.NetworkID{guid}, nil},
		"one fails":          {hcnclient.FakeSource{Lists: [][]string{both}, Errors: map[string]error{guid: boom}}, nil, boom},
		"one fails and went": {hcnclient.FakeSource{Lists: [][]string{both, {guid2}}, Errors: map[string]error{guid: boom}}, []hns.NetworkID{guid2}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			tc.source.Objects = objects
			networks, err := hcnclient.ReadNetworks(&tc.source)
			if tc.err != nil {
				g.Expect(err).To(MatchError(tc.err))
				g.Expect(networks).To(BeNil())
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			ids := make([]hns.NetworkID, 0, len(networks))
			for _, n := range networks {
				ids = append(ids, n.ID)
			}
			g.Expect(ids).To(Equal(tc.read))
		})
	}
}

func TestToNetworkAndLoadBalancer(t *testing.T) {
	g := NewWithT(t)
	const id = guid
	g.Expect(hcnclient.ToNetwork(hcn.HostComputeNetwork{
		Id: id, Name: "azure", Type: hcn.L2Bridge,
		Ipams: []hcn.Ipam{{Subnets: []hcn.Subnet{{IpAddressPrefix: "10.240.0.0/16"}, {}, {IpAddressPrefix: "10.0.0.0/99"}}}},
	})).To(Equal(hns.Network{
		ID: id, Name: "azure", Type: hns.NetworkL2Bridge, Subnets: []netip.Prefix{netip.MustParsePrefix("10.240.0.0/16")},
	}))
	g.Expect(hcnclient.ToLoadBalancer(hcn.HostComputeLoadBalancer{
		Id: id, HostComputeEndpoints: []string{id}, FrontendVIPs: []string{"10.0.0.10", "", "10.0.0.311"},
		PortMappings: []hcn.LoadBalancerPortMapping{{Protocol: 6, InternalPort: 8080, ExternalPort: 80}},
	})).To(Equal(hns.LoadBalancer{
		ID: id, Endpoints: []hns.EndpointID{id}, FrontendVIPs: []netip.Addr{netip.MustParseAddr("10.0.0.10")},
		Ports: []hns.PortMapping{{Protocol: 6, InternalPort: 8080, ExternalPort: 80}},
	}))
}
