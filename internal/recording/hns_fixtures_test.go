// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
)

func readHNSFixture(t *testing.T, name string) (recording.HNS, error) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "hns", name))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return recording.ReadHNS(file(name, data))
}

// hnsFixture reads a fixture that holds JSON.
func hnsFixture(t *testing.T, name string) recording.HNS {
	t.Helper()
	dump, err := readHNSFixture(t, name)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return dump
}

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func mac(text string) hns.MAC {
	m, err := hns.ParseMAC(text)
	if err != nil {
		panic(err)
	}
	return m
}

// textFixtures are what people posted instead of JSON.
func textFixtures() []string {
	return []string{
		"wc-631-format-table.txt", "wc-563-nat-format-list.txt", "rke2-calico-format-list.txt", "rke2-calico-hnsdiag-all.txt",
		"k8s-100962-hnsdiag-endpoints.txt", "k8s-135802-hnsdiag-loadbalancers.txt", "sdn-kubecluster-hnsdiag-all.txt",
		"swt-168-hnsdiag-all.txt", "flannel-hnsdiag-loadbalancers.txt",
	}
}

// Each file in testdata is read or refused as text, and has its line in the README.
func TestEveryFixtureIsReadOrRefusedAndExplained(t *testing.T) {
	g := NewWithT(t)
	entries, err := os.ReadDir("testdata/hns")
	g.Expect(err).NotTo(HaveOccurred())
	readme, err := os.ReadFile(filepath.Join("testdata", "hns", "README.md"))
	g.Expect(err).NotTo(HaveOccurred())
	refused := 0
	for _, entry := range entries {
		if entry.IsDir() || entry.Name() == "README.md" {
			continue // fuzz holds the inputs that the fuzzer kept
		}
		g.Expect(strings.Count(string(readme), "| `"+entry.Name()+"` |")).To(Equal(1), entry.Name())
		if slices.Contains(textFixtures(), entry.Name()) {
			refused++
			dump, err := readHNSFixture(t, entry.Name())
			g.Expect(dump).To(BeZero())
			g.Expect(err).To(MatchError(And(
				HavePrefix("%s:1:1: found no HNS object in JSON", entry.Name()),
				ContainSubstring("\n  Get-HnsEndpoint | ConvertTo-Json -Depth 10 > endpoints.json\n"),
			)))
			continue
		}
		hnsFixture(t, entry.Name())
	}
	g.Expect(refused).To(Equal(len(textFixtures())))
}

func TestAKS1367L2BridgeRemotes(t *testing.T) {
	NewWithT(t).Expect(hnsFixture(t, "aks-1367-l2bridge-remotes.json")).To(Equal(aks1367()))
}

func aks1367() recording.HNS {
	const azure hns.NetworkID = "1b2c3d4e-5f60-4718-8a9b-0c1d2e3f4a5b"
	return recording.HNS{
		Networks: []hns.Network{{ID: azure, Name: "azure"}},
		Endpoints: []hns.Endpoint{
			{
				ID:        "2462b2d1-c402-4024-9c86-5a6903af7759",
				Name:      "Ethernet",
				Network:   azure,
				Addresses: addrs("10.240.0.11"),
				MAC:       mac("02-11-0a-f0-00-0b"),
				Flags:     hns.FlagRemote,
			},
			{
				ID:        "806b31aa-1c20-494b-9c18-170e59276b55",
				Name:      "Ethernet",
				Network:   azure,
				Addresses: addrs("10.240.0.10"),
				MAC:       mac("02-11-0a-f0-00-0a"),
				Flags:     hns.FlagRemote,
			},
		},
		EndpointsRecorded: true,
		Incomplete:        map[hns.EndpointID]string{},
	}
}

// The hybrid of collectlogs, in UTF-16 with CRLF, says what the JSON in it says.
func TestCollectlogsEndpointFile(t *testing.T) {
	NewWithT(t).Expect(hnsFixture(t, "collectlogs-endpoint.txt")).To(Equal(aks1367()))
}

func TestCollectlogsFilesTogether(t *testing.T) {
	g := NewWithT(t)
	var files []recording.File
	for _, name := range []string{"collectlogs-endpoint.txt", "collectlogs-policy.txt", "collectlogs-network.txt"} {
		data, err := os.ReadFile(filepath.Join("testdata", "hns", name))
		g.Expect(err).NotTo(HaveOccurred())
		files = append(files, file(name, data))
	}
	dump, err := recording.ReadHNS(files...)
	g.Expect(err).NotTo(HaveOccurred())

	want := aks1367()
	want.Networks[0].Type = hns.NetworkL2Bridge
	want.LoadBalancersRecorded = true
	want.LoadBalancers = []hns.LoadBalancer{{
		ID:        "91c4e7ab-6d20-4f13-a8b9-0e5d3c7f2a64",
		Endpoints: []hns.EndpointID{want.Endpoints[0].ID, want.Endpoints[1].ID}, FrontendVIPs: addrs("10.0.0.10"),
		Ports: []hns.PortMapping{{Protocol: 17, InternalPort: 53, ExternalPort: 53}},
	}}
	g.Expect(dump).To(Equal(want))
}

func TestCalico4682SingleObjectWithoutRemoteFlagIsLocal(t *testing.T) {
	g := NewWithT(t)
	dump := hnsFixture(t, "calico-4682-overlay-local.json")
	g.Expect(dump.Endpoints).To(HaveLen(1))
	e := dump.Endpoints[0]
	g.Expect(e.ID).To(Equal(hns.EndpointID("89958f54-aee8-4050-b1e1-cb12a86ce8bc")))
	g.Expect(e.Remote()).To(BeFalse())
	g.Expect(e.Attached()).To(BeTrue())
	g.Expect(e.Addresses).To(Equal(addrs("10.1.18.67")))
	g.Expect(dump.Incomplete).To(BeEmpty())
}

func TestFlannel922OverlayRemote(t *testing.T) {
	g := NewWithT(t)
	dump := hnsFixture(t, "flannel-922-overlay-remote.json")
	g.Expect(dump.Networks).To(Equal([]hns.Network{
		{ID: "9d59c0df-b1e2-4eee-9fde-b7ea829fc6a1", Name: "vxlan0", Type: hns.NetworkOverlay},
	}))
	g.Expect(dump.Endpoints).To(HaveLen(1))
	g.Expect(dump.Endpoints[0].Remote()).To(BeTrue())
	g.Expect(dump.Endpoints[0].Attached()).To(BeFalse())
	g.Expect(dump.Endpoints[0].Name).To(Equal("remote_10.244.2.141"))
	g.Expect(dump.Incomplete).To(BeEmpty())
}

// A log of kube-proxy holds less than HNS, but all that a verdict on a remote endpoint needs.
func TestSDN227HardwareAddressWithColons(t *testing.T) {
	g := NewWithT(t)
	dump := hnsFixture(t, "sdn-227-l2bridge-remote.json")
	g.Expect(dump.Endpoints).To(HaveLen(1))
	g.Expect(dump.Endpoints[0].MAC).To(Equal(mac("00-11-22-33-44-55")))
	g.Expect(dump.Endpoints[0].Remote()).To(BeTrue())
	g.Expect(dump.Incomplete).To(BeEmpty())
}

func TestLoadBalancers(t *testing.T) {
	g := NewWithT(t)
	v2 := hnsFixture(t, "calico-7305-loadbalancer.json")
	g.Expect(v2.LoadBalancers).To(Equal([]hns.LoadBalancer{{
		ID:        "0be07c06-353c-4fbf-8ebc-5531f877e68a",
		Endpoints: []hns.EndpointID{"fd6bec0f-7b88-4b61-b5af-70897ab0960b"},
		Ports:     []hns.PortMapping{{Protocol: 6, InternalPort: 80, ExternalPort: 31416}}, // a node port
	}}))

	// It names its network as an endpoint of hcn does, and is none.
	v1 := hnsFixture(t, "calico-8465-policylist.json")
	g.Expect(v1.LoadBalancers).To(Equal([]hns.LoadBalancer{{
		ID:        "d680d0e7-185b-46a7-b097-37a8b439f588",
		Endpoints: []hns.EndpointID{"c55b2c86-bd06-400e-bca7-8fb7de11e635"}, FrontendVIPs: addrs("10.96.55.68"),
		Ports: []hns.PortMapping{{Protocol: 6, InternalPort: 55680, ExternalPort: 55680}},
	}}))
	g.Expect(v1.EndpointsRecorded).To(BeFalse())
}

func TestWSL4901Network(t *testing.T) {
	NewWithT(t).Expect(hnsFixture(t, "wsl-4901-hnsdiag-network.json").Networks).To(Equal([]hns.Network{{
		ID:   "b95d0c5e-57d4-412b-b571-18a81a16e005",
		Name: "WSL",
		Type: hns.NetworkICS,
	}}))
}

// Two endpoints with one address, one remote and one attached: the fault that hnsguard removes.
func TestDerivedV2Duplicate(t *testing.T) {
	g := NewWithT(t)
	dump := hnsFixture(t, "derived-v2-duplicate.json")
	g.Expect(dump.Endpoints).To(HaveLen(4))
	stale, pod, leaked := dump.Endpoints[0], dump.Endpoints[2], dump.Endpoints[3]
	g.Expect(stale.Remote()).To(BeTrue())
	g.Expect(stale.Attached()).To(BeFalse(), "the zero GUID is no namespace")
	g.Expect(pod.Remote()).To(BeFalse())
	g.Expect(pod.Attached()).To(BeTrue())
	g.Expect(pod.Addresses).To(Equal(stale.Addresses))
	g.Expect(pod.Network).To(Equal(stale.Network), "GUIDs are compared without case")
	g.Expect(leaked.Attached()).To(BeFalse())
	g.Expect(dump.Incomplete).To(BeEmpty())
}
