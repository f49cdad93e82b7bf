// SPDX-License-Identifier: Apache-2.0

package recorded_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/recorded"
)

func readFixture(t *testing.T, name string) recorded.Dump {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	g := NewWithT(t)
	g.Expect(err).NotTo(HaveOccurred())
	dump, err := recorded.Read(name, data)
	g.Expect(err).NotTo(HaveOccurred())
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

// Each fixture is read, and each file in testdata is a fixture with its line in the README.
func TestFixturesAreAllReadAndExplained(t *testing.T) {
	g := NewWithT(t)
	entries, err := os.ReadDir("testdata")
	g.Expect(err).NotTo(HaveOccurred())
	readme, err := os.ReadFile(filepath.Join("testdata", "README.md"))
	g.Expect(err).NotTo(HaveOccurred())
	for _, entry := range entries {
		if entry.IsDir() || entry.Name() == "README.md" {
			continue // fuzz holds the inputs that the fuzzer kept
		}
		readFixture(t, entry.Name())
		g.Expect(strings.Count(string(readme), "| `"+entry.Name()+"` |")).To(Equal(1), entry.Name())
	}
}

func TestAKS1367L2BridgeRemotes(t *testing.T) {
	g := NewWithT(t)
	dump := readFixture(t, "aks-1367-l2bridge-remotes.json")
	g.Expect(dump).To(Equal(aks1367()))
}

func aks1367() recorded.Dump {
	const azure hns.NetworkID = "1b2c3d4e-5f60-4718-8a9b-0c1d2e3f4a5b"
	return recorded.Dump{
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
		Gaps:              map[hns.EndpointID]recorded.Gap{},
	}
}

// The hybrid of collectlogs, in UTF-16 with CRLF, tells what the JSON in it tells and nothing else.
func TestCollectlogsEndpointFile(t *testing.T) {
	g := NewWithT(t)
	g.Expect(readFixture(t, "collectlogs-endpoint.txt")).To(Equal(aks1367()))
}

func TestCollectlogsFilesTogether(t *testing.T) {
	g := NewWithT(t)
	dump, err := recorded.Merge(
		readFixture(t, "collectlogs-endpoint.txt"),
		readFixture(t, "collectlogs-policy.txt"),
		readFixture(t, "collectlogs-network.txt"),
	)
	g.Expect(err).NotTo(HaveOccurred())

	want := aks1367()
	want.Networks[0].Type = hns.NetworkL2Bridge
	want.Networks[0].Subnets = []netip.Prefix{netip.MustParsePrefix("10.240.0.0/16")}
	want.LoadBalancersRecorded = true
	want.LoadBalancers = []hns.LoadBalancer{{
		ID:           "91c4e7ab-6d20-4f13-a8b9-0e5d3c7f2a64",
		Endpoints:    []hns.EndpointID{want.Endpoints[0].ID, want.Endpoints[1].ID},
		FrontendVIPs: addrs("10.0.0.10"),
		Ports:        []hns.PortMapping{{Protocol: 17, InternalPort: 53, ExternalPort: 53}},
	}}
	g.Expect(dump).To(Equal(want))
}

func TestCalico4682SingleObjectWithoutRemoteFlagIsLocal(t *testing.T) {
	g := NewWithT(t)
	dump := readFixture(t, "calico-4682-overlay-local.json")
	g.Expect(dump.Endpoints).To(HaveLen(1))
	e := dump.Endpoints[0]
	g.Expect(e.ID).To(Equal(hns.EndpointID("89958f54-aee8-4050-b1e1-cb12a86ce8bc")))
	g.Expect(e.Remote()).To(BeFalse())
	g.Expect(e.Attached()).To(BeTrue())
	g.Expect(e.Addresses).To(Equal(addrs("10.1.18.67")))
	g.Expect(dump.Gaps).To(BeEmpty())
}

func TestFlannel922OverlayRemote(t *testing.T) {
	g := NewWithT(t)
	dump := readFixture(t, "flannel-922-overlay-remote.json")
	g.Expect(dump.Networks).To(Equal([]hns.Network{
		{ID: "9d59c0df-b1e2-4eee-9fde-b7ea829fc6a1", Name: "vxlan0", Type: hns.NetworkOverlay},
	}))
	g.Expect(dump.Endpoints).To(HaveLen(1))
	g.Expect(dump.Endpoints[0].Remote()).To(BeTrue())
	g.Expect(dump.Endpoints[0].Attached()).To(BeFalse())
	g.Expect(dump.Endpoints[0].Name).To(Equal("remote_10.244.2.141"))
	g.Expect(dump.Gaps).To(BeEmpty())
}

func TestSDN227HardwareAddressWithColons(t *testing.T) {
	g := NewWithT(t)
	dump := readFixture(t, "sdn-227-l2bridge-remote.json")
	g.Expect(dump.Endpoints).To(HaveLen(1))
	g.Expect(dump.Endpoints[0].MAC).To(Equal(mac("00-11-22-33-44-55")))
	g.Expect(dump.Endpoints[0].Remote()).To(BeTrue())
}

// The report of the stale endpoints themselves: the table tells that they are remote, but neither their network nor
// their hardware address, so that nobody can say who made them.
func TestWC631FormatTable(t *testing.T) {
	g := NewWithT(t)
	dump := readFixture(t, "wc-631-format-table.txt")
	g.Expect(dump.Endpoints).To(HaveLen(8))
	for _, e := range dump.Endpoints {
		g.Expect(e.Remote()).To(BeTrue())
		g.Expect(e.Name).To(Equal("Ethernet"))
		g.Expect(dump.Gaps[e.ID]).To(Equal(recorded.GapNetwork | recorded.GapMAC))
	}
	g.Expect(dump.Endpoints[1]).To(Equal(hns.Endpoint{
		ID:        "ba5b0702-d05a-4fec-869f-4352d33f1891",
		Name:      "Ethernet",
		Addresses: addrs("172.0.32.0"),
		Flags:     hns.FlagRemote,
	}))
	g.Expect(dump.Networks).To(BeEmpty())
	g.Expect(dump.LoadBalancersRecorded).To(BeFalse())
}

func TestWC563FormatListInANamespaceThoughNotAttached(t *testing.T) {
	g := NewWithT(t)
	dump := readFixture(t, "wc-563-nat-format-list.txt")
	g.Expect(dump.Endpoints).To(Equal([]hns.Endpoint{{
		ID:        "5e6298c2-4638-494e-be6b-ff6fef942c06",
		Name:      "default-test_nat",
		Network:   "76177bd4-a2b5-43a6-9cb8-a37d9d903123",
		Namespace: "2c094b9e-af3a-4dc1-97d8-821b68603d23",
		Addresses: addrs("172.27.148.101"),
		MAC:       mac("00-15-5d-cd-be-47"),
	}}))
	g.Expect(dump.Gaps).To(BeEmpty())
}

// What hnsdiag leaves open, Get-HnsEndpoint of the same endpoint tells.
func TestRKE2ListAndHnsdiagOfOneEndpoint(t *testing.T) {
	g := NewWithT(t)
	list := readFixture(t, "rke2-calico-format-list.txt")
	g.Expect(list.Endpoints).To(HaveLen(1))
	g.Expect(list.Endpoints[0].SharedContainers).To(Equal(2))
	g.Expect(list.Endpoints[0].Namespace).To(Equal(hns.NamespaceID("4ea04396-a6e5-478f-915e-909b8c80b2ef")))
	g.Expect(list.Gaps).To(BeEmpty())

	diag := readFixture(t, "rke2-calico-hnsdiag-all.txt")
	const all = recorded.GapKind | recorded.GapNetwork | recorded.GapMAC | recorded.GapAttachment
	g.Expect(diag.Endpoints).To(HaveLen(1))
	g.Expect(diag.Gaps).To(HaveKeyWithValue(diag.Endpoints[0].ID, all))
	g.Expect(diag.LoadBalancersRecorded).To(BeFalse())

	for _, order := range [][]recorded.Dump{{list, diag}, {diag, list}} {
		both, err := recorded.Merge(order...)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(both).To(Equal(list))
	}
}

func TestK8s100962HnsdiagDoesNotTellLocalFromRemote(t *testing.T) {
	g := NewWithT(t)
	dump := readFixture(t, "k8s-100962-hnsdiag-endpoints.txt")
	g.Expect(dump.Endpoints).To(HaveLen(4))
	g.Expect(dump.Endpoints[0].Name).To(Equal("Ethernet"))
	g.Expect(dump.Endpoints[3].Addresses).To(Equal(addrs("10.112.6.47")))
	for _, e := range dump.Endpoints {
		g.Expect(dump.Gaps[e.ID].Has(recorded.GapKind)).To(BeTrue())
		g.Expect(dump.Gaps[e.ID].Has(recorded.GapAddresses)).To(BeFalse())
	}
}

func TestKubeclusterHnsdiagTables(t *testing.T) {
	g := NewWithT(t)
	dump := readFixture(t, "sdn-kubecluster-hnsdiag-all.txt")
	g.Expect(dump.Networks).To(HaveLen(3))
	g.Expect(dump.Endpoints).To(HaveLen(6))
	for _, e := range dump.Endpoints {
		g.Expect(e.Network).To(Equal(hns.NetworkID("705b6b4d-e2f2-421a-b31b-e3c5e8831944")))
		g.Expect(dump.Gaps[e.ID]).To(
			Equal(recorded.GapKind | recorded.GapAddresses | recorded.GapMAC | recorded.GapAttachment))
	}
	g.Expect(dump.LoadBalancersRecorded).To(BeTrue())
	g.Expect(dump.LoadBalancers).To(HaveLen(4))
	g.Expect(dump.LoadBalancers[1]).To(Equal(hns.LoadBalancer{
		ID: "af826f8b-9f78-41ea-bc9e-6e433f8784df",
		Endpoints: []hns.EndpointID{
			"fc0bbb8f-52a6-486f-bff8-10ab92859006", "07f382ab-8884-40ba-8adf-efe4c92e8608",
		},
		FrontendVIPs: addrs("10.96.0.10"),
	}))
}

// This one has a blank line amid the table, and no load balancers after it.
func TestSWT168HnsdiagTables(t *testing.T) {
	g := NewWithT(t)
	dump := readFixture(t, "swt-168-hnsdiag-all.txt")
	g.Expect(dump.Endpoints).To(HaveLen(11))
	g.Expect(dump.Endpoints[9].ID).To(Equal(hns.EndpointID("391799da-1903-461b-9fb7-8562ab235445")))
	g.Expect(dump.Endpoints[9].Name).To(HavePrefix("cid-69c0f0e2"))
	g.Expect(dump.EndpointsRecorded).To(BeTrue())
	g.Expect(dump.LoadBalancersRecorded).To(BeFalse())
}

func TestHnsdiagLoadBalancers(t *testing.T) {
	g := NewWithT(t)
	table := readFixture(t, "flannel-hnsdiag-loadbalancers.txt")
	g.Expect(table.LoadBalancers).To(HaveLen(8))
	g.Expect(table.LoadBalancers[0].FrontendVIPs).To(BeEmpty(), "a node port")
	g.Expect(table.LoadBalancers[0].Endpoints).To(HaveLen(1))
	g.Expect(table.LoadBalancersRecorded).To(BeTrue())
	g.Expect(table.EndpointsRecorded).To(BeFalse())

	block := readFixture(t, "k8s-135802-hnsdiag-loadbalancers.txt")
	g.Expect(block.LoadBalancers).To(Equal([]hns.LoadBalancer{{
		ID:           "3599612c-54b4-4b9d-9258-4fc5e2100549",
		Endpoints:    []hns.EndpointID{"78c19c4d-7edf-43bd-ab2a-5ccf97f214fe"},
		FrontendVIPs: addrs("172.30.0.1"),
	}}))
}

func TestLoadBalancersAsJSON(t *testing.T) {
	g := NewWithT(t)
	v2 := readFixture(t, "calico-7305-loadbalancer.json")
	g.Expect(v2.LoadBalancers).To(Equal([]hns.LoadBalancer{{
		ID:        "0be07c06-353c-4fbf-8ebc-5531f877e68a",
		Endpoints: []hns.EndpointID{"fd6bec0f-7b88-4b61-b5af-70897ab0960b"},
		Ports:     []hns.PortMapping{{Protocol: 6, InternalPort: 80, ExternalPort: 31416}},
	}}))

	// It names its network as an endpoint of hcn does, and is none.
	v1 := readFixture(t, "calico-8465-policylist.json")
	g.Expect(v1.LoadBalancers).To(Equal([]hns.LoadBalancer{{
		ID:           "d680d0e7-185b-46a7-b097-37a8b439f588",
		Endpoints:    []hns.EndpointID{"c55b2c86-bd06-400e-bca7-8fb7de11e635"},
		FrontendVIPs: addrs("10.96.55.68"),
		Ports:        []hns.PortMapping{{Protocol: 6, InternalPort: 55680, ExternalPort: 55680}},
	}}))
	g.Expect(v1.EndpointsRecorded).To(BeFalse())
}

func TestWSL4901Network(t *testing.T) {
	g := NewWithT(t)
	g.Expect(readFixture(t, "wsl-4901-hnsdiag-network.json").Networks).To(Equal([]hns.Network{{
		ID:      "b95d0c5e-57d4-412b-b571-18a81a16e005",
		Name:    "WSL",
		Type:    hns.NetworkICS,
		Subnets: []netip.Prefix{netip.MustParsePrefix("172.24.176.0/20")},
	}}))
}

// Two endpoints with one address, one remote and one attached: the fault that this program is about.
func TestDerivedV2Duplicate(t *testing.T) {
	g := NewWithT(t)
	dump := readFixture(t, "derived-v2-duplicate.json")
	g.Expect(dump.Endpoints).To(HaveLen(4))
	stale, pod, leaked := dump.Endpoints[0], dump.Endpoints[2], dump.Endpoints[3]
	g.Expect(stale.Remote()).To(BeTrue())
	g.Expect(stale.Attached()).To(BeFalse(), "the zero GUID is no namespace")
	g.Expect(pod.Remote()).To(BeFalse())
	g.Expect(pod.Attached()).To(BeTrue())
	g.Expect(pod.Addresses).To(Equal(stale.Addresses))
	g.Expect(pod.Network).To(Equal(stale.Network), "GUIDs are compared without case")
	g.Expect(leaked.Attached()).To(BeFalse())
	g.Expect(dump.Gaps).To(BeEmpty())
}
