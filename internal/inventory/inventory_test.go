// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// node is an HNS with its inventory, and a clock that the test steps.
type node struct {
	*inventory.Inventory
	t       *testing.T
	service *hnstest.HNS
	network hns.Network
	clock   *testingclock.FakePassiveClock
	// last is when the last snapshot was taken.
	last time.Time
}

func newNode(t *testing.T) *node {
	t.Helper()
	service := hnstest.New(hnstest.Options{})
	clk := testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
	return &node{
		Inventory: inventory.New(service, inventory.Options{
			RereadEvery: 5 * time.Minute, NetworksEvery: 5 * time.Second, MaxGap: 20 * time.Second, Clock: clk,
		}),
		t: t, service: service, network: service.CreateNetwork("azure", hns.NetworkL2Bridge), clock: clk,
	}
}

func (n *node) pass(d time.Duration) { n.clock.SetTime(n.clock.Now().Add(d)) }

func (n *node) create(last byte, flags hns.EndpointFlags) hns.EndpointID {
	n.t.Helper()
	addr := netip.AddrFrom4([4]byte{10, 240, 0, last})
	made, err := n.service.CreateEndpoint(hnstest.EndpointSpec{
		Network: n.network.ID, Addresses: []netip.Addr{addr}, MAC: kubeproxy.RemoteMAC(addr), Flags: flags,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return made.ID
}

func (n *node) attach(id hns.EndpointID) {
	n.t.Helper()
	if err := n.service.Attach(id, n.service.CreateNamespace()); err != nil {
		n.t.Fatal(err)
	}
}

// observe expects a snapshot and returns its endpoints by ID.
func (n *node) observe() map[hns.EndpointID]verdict.Endpoint {
	n.t.Helper()
	snapshot, err := n.Observe(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	n.last = snapshot.Taken
	byID := map[hns.EndpointID]verdict.Endpoint{}
	for _, e := range snapshot.Endpoints {
		byID[e.ID] = e
	}
	return byID
}

func TestOnlyNewEndpointsAreRead(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	for last := range byte(50) {
		n.create(last+1, hns.FlagRemote)
	}
	g.Expect(n.observe()).To(HaveLen(50))
	n.service.ResetCalls()
	g.Expect(n.observe()).To(HaveLen(50))
	g.Expect(n.service.Cost()).To(Equal(1), "one list of IDs")

	n.service.ResetCalls()
	n.create(100, hns.FlagRemote)
	g.Expect(n.observe()).To(HaveLen(51))
	g.Expect(n.service.Cost()).To(Equal(1 + 3))
}

func TestWhatHasGoneIsForgotten(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	id := n.create(1, hns.FlagRemote)
	g.Expect(n.observe()).To(HaveKey(id))
	g.Expect(n.service.DeleteEndpoint(t.Context(), id)).To(Succeed())
	g.Expect(n.observe()).To(BeEmpty())
}

// Invariant 1.
func TestAFailureIsNoSnapshot(t *testing.T) {
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		fails   hns.Operation
		prepare func(*node)
	}{
		"the list of endpoints":    {hns.OpListEndpointIDs, func(*node) {}},
		"a new endpoint":           {hns.OpEndpoint, func(n *node) { n.create(2, hns.FlagRemote) }},
		"one that is read again":   {hns.OpEndpoint, func(n *node) { n.create(2, 0); n.observe(); n.pass(5 * time.Minute) }},
		"one that may be attached": {hns.OpEndpoint, func(n *node) { n.create(1, 0); n.observe() }},
		"the networks":             {hns.OpNetworks, func(n *node) { n.pass(5 * time.Minute) }},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			n.create(1, hns.FlagRemote)
			n.observe()
			tc.prepare(n)
			n.service.FailNext(tc.fails, boom)
			snapshot, err := n.Observe(t.Context())
			g.Expect(err).To(MatchError(boom))
			g.Expect(snapshot).To(BeZero())
			n.observe()
		})
	}
}

func TestDownIsUnknownNotEmpty(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.create(1, hns.FlagRemote)
	n.service.SetDown(true)
	_, err := n.Observe(t.Context())
	g.Expect(err).To(MatchError(hns.ErrUnavailable))
}

// Invariant 2.
func TestAnEndpointThatVanishesMidListIsAbsent(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	stays, goes := n.create(1, hns.FlagRemote), n.create(2, hns.FlagRemote)
	n.service.VanishMidList(goes)
	g.Expect(n.observe()).To(And(HaveKey(stays), HaveLen(1)))
	twin := n.create(1, 0)
	n.observe()
	n.service.VanishMidList(twin)
	g.Expect(n.observe()).To(And(HaveKey(stays), HaveLen(1)), "one that was there before")
}

// An endpoint that appeared and vanished does not hide that another one is gone.
func TestOneVanishesMidListAndAnotherHasGone(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	goes, twin := n.create(1, 0), n.create(1, hns.FlagRemote)
	n.observe()
	g.Expect(n.service.DeleteEndpoint(t.Context(), goes)).To(Succeed())
	n.service.VanishMidList(n.create(2, hns.FlagRemote))
	g.Expect(n.observe()).To(And(HaveKey(twin), HaveLen(1)))
	n.service.ResetCalls()
	n.observe()
	g.Expect(n.service.Cost()).To(Equal(1), "and it is not read again for its attachment")
}

// A snapshot does not change when the inventory does.
func TestASnapshotStaysWhatItIs(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.create(1, hns.FlagRemote)
	local := n.create(1, 0)
	before, err := n.Observe(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	same, err := n.Observe(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(&same.Endpoints[0]).To(BeIdenticalTo(&before.Endpoints[0]), "what has not changed is shared")
	n.attach(local)
	n.create(2, hns.FlagRemote)
	after, err := n.Observe(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(before.Endpoints).To(HaveLen(2))
	g.Expect(before.Endpoints[1].Attached()).To(BeFalse())
	g.Expect(before.Addresses()).To(HaveLen(2))
	g.Expect(after.Endpoints).To(HaveLen(3))
	g.Expect(after.Endpoints[1].Attached()).To(BeTrue())
	g.Expect(after.Addresses()).To(HaveLen(3))
	g.Expect(after.WithEndpoints(after.Endpoints[:1]).Addresses()).To(HaveLen(1))
}

// Invariant 3.
func TestAppeared(t *testing.T) {
	for name, tc := range map[string]struct {
		before   func(*node)
		appeared bool
	}{
		"between two snapshots":                  {func(n *node) { n.observe(); n.pass(time.Second) }, true},
		"at the start":                           {func(*node) {}, false},
		"after a long gap":                       {func(n *node) { n.observe(); n.pass(21 * time.Second) }, false},
		"after HNS was down":                     {func(n *node) { n.observe(); n.fail() }, false},
		"after HNS was down and two good passes": {func(n *node) { n.fail(); n.observe(); n.observe() }, true},
		"the network came back as another one": {func(n *node) {
			n.observe()
			n.service.Restart()
			n.network = n.service.State().Networks[0]
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			tc.before(n)
			id := n.create(1, 0)
			before, made := n.last, n.clock.Now()
			seen := n.observe()[id]
			NewWithT(t).Expect(seen.Seen).To(Equal(made))
			if tc.appeared {
				NewWithT(t).Expect(seen.Appeared).To(Equal(before), "it was not there in the snapshot before")
			} else {
				NewWithT(t).Expect(seen.Appeared).To(BeZero())
			}
			n.pass(time.Second)
			NewWithT(t).Expect(n.observe()[id]).To(Equal(seen), "it stays what it was")
		})
	}
}

func (n *node) fail() {
	n.t.Helper()
	n.service.SetDown(true)
	if _, err := n.Observe(n.t.Context()); err == nil {
		n.t.Fatal("HNS is down")
	}
	n.service.SetDown(false)
}

func TestAttachmentIsReadAgainWhereItMatters(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.create(1, hns.FlagRemote)
	twin, alone := n.create(1, 0), n.create(2, 0)
	g.Expect(n.observe()[twin].Attached()).To(BeFalse())
	n.attach(twin)
	n.attach(alone)
	seen := n.observe()
	g.Expect(seen[twin].Attached()).To(BeTrue())
	g.Expect(seen[alone].Attached()).To(BeFalse(), "nothing depends on it yet")
	n.create(2, hns.FlagRemote)
	g.Expect(n.observe()[alone].Attached()).To(BeTrue())
}

// Invariant 4.
func TestEverythingIsReadAfreshInTime(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	for last := range byte(200) {
		n.create(last+1, 0)
	}
	n.observe()
	for id := range n.observe() {
		n.attach(id)
	}
	passes := 0
	for stale := 200; stale > 0; passes++ {
		g.Expect(passes).To(BeNumerically("<", 200))
		n.pass(5 * time.Second)
		n.service.ResetCalls()
		stale = 0
		for _, e := range n.observe() {
			if !e.Attached() {
				stale++
			}
		}
		g.Expect(n.service.Cost()).To(BeNumerically("<=", 1+4+3*10), "a few at a time, and the networks")
	}
	g.Expect(time.Duration(passes) * 5 * time.Second).To(BeNumerically("<=", 2*5*time.Minute))
}

func TestNetworksAreListedAgain(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.observe()
	n.service.Restart()
	n.network = n.service.State().Networks[0]
	id := n.create(1, hns.FlagRemote)
	snapshot, err := n.Observe(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(snapshot.Network.ID).To(Equal(n.network.ID), "an endpoint on an unknown network needs it")
	g.Expect(snapshot.Endpoints).To(ConsistOf(HaveField("ID", id)))

	g.Expect(n.service.DeleteNetwork(n.network.ID)).To(Succeed())
	n.pass(5 * time.Second)
	_, err = n.Observe(t.Context())
	g.Expect(err).To(MatchError(inventory.ErrNoPodNetwork))
}

func TestPodNetwork(t *testing.T) {
	network := func(name string, kind hns.NetworkType) hns.Network {
		return hns.Network{ID: hns.NetworkID("id of " + name), Name: name, Type: kind}
	}
	addr := netip.MustParseAddr("10.240.0.11")
	proxied := func(id hns.NetworkID) verdict.Endpoint {
		return verdict.Endpoint{Endpoint: hns.Endpoint{
			Network: id, Flags: hns.FlagRemote, Addresses: []netip.Addr{addr}, MAC: kubeproxy.RemoteMAC(addr),
		}}
	}
	azure, vpc := network("azure", hns.NetworkL2Bridge), network("vpcbr06684cbed472", hns.NetworkL2Bridge)
	for name, tc := range map[string]struct {
		name      string
		networks  []hns.Network
		endpoints []verdict.Endpoint
		want      string
		complaint string
	}{
		"by name":                   {"azure", []hns.Network{azure, vpc}, nil, "azure", ""},
		"by name, in any case":      {"Azure", []hns.Network{azure, vpc}, nil, "azure", ""},
		"by ID":                     {"ID of azure", []hns.Network{azure, vpc}, nil, "azure", ""},
		"the name is a NAT network": {"nat", []hns.Network{network("nat", hns.NetworkNAT)}, nil, "nat", ""},
		"by type beside NAT":        {"", []hns.Network{network("nat", hns.NetworkNAT), vpc}, nil, vpc.Name, ""},
		"overlay beside External":   {"", []hns.Network{network("External", hns.NetworkOverlay), network("vxlan0", hns.NetworkOverlay)}, nil, "vxlan0", ""},
		"beside Azure's APIPA":      {"", []hns.Network{network("HostNCApipaNetwork", hns.NetworkL2Bridge), azure}, nil, "azure", ""},
		"by pattern":                {"VPCBR*", []hns.Network{azure, vpc}, nil, vpc.Name, ""},
		"AKS's ext":                 {"", []hns.Network{network("ext", hns.NetworkL2Bridge), azure}, nil, "azure", ""},
		"OpenShift's base": {"", []hns.Network{
			network("BaseOVNKubernetesHybridOverlayNetwork", hns.NetworkOverlay),
			network("OVNKubernetesHybridOverlayNetwork", hns.NetworkOverlay),
		}, nil, "OVNKubernetesHybridOverlayNetwork", ""},
		"a known name beside another": {"", []hns.Network{network("mine", hns.NetworkL2Bridge), vpc}, nil, vpc.Name, ""},
		"Antrea's":                    {"", []hns.Network{network("antrea-hnsnetwork", hns.NetworkTransparent)}, nil, "", "no network is of a type"},
		"several, kube-proxy decides": {"", []hns.Network{azure, vpc}, []verdict.Endpoint{proxied(vpc.ID)}, vpc.Name, ""},
		"several, kube-proxy unknown": {"", []hns.Network{azure, vpc}, nil, "", "name it with --network"},
		"several, kube-proxy on both": {"", []hns.Network{azure, vpc}, []verdict.Endpoint{proxied(vpc.ID), proxied(azure.ID)}, "", "name it with --network"},
		"no such name":                {"cbr0", []hns.Network{azure}, nil, "", `no network is named "cbr0"; HNS has "azure" (L2Bridge, id of azure)`},
		"two of the name":             {"azure", []hns.Network{azure, azure}, nil, "", `2 networks are named "azure"`},
		"nothing at all":              {"", nil, nil, "", "no networks at all"},
		"only others":                 {"", []hns.Network{network("nat", hns.NetworkNAT)}, nil, "", `HNS has "nat" (NAT, id of nat)`},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got, err := inventory.PodNetwork(tc.name, tc.networks, tc.endpoints)
			if tc.complaint != "" {
				g.Expect(err).To(Or(MatchError(inventory.ErrNoPodNetwork), MatchError(inventory.ErrAmbiguousPodNetwork)))
				g.Expect(err).To(MatchError(ContainSubstring(tc.complaint)))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(got.Name).To(Equal(tc.want))
		})
	}
}
