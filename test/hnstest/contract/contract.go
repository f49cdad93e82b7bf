// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Harness is one HNS with a network of its own to try a client on. It is what a CNI and kube-proxy do on a node.
type Harness interface {
	Client() hns.Client
	// Network is the network on which the other methods make their objects.
	Network() hns.Network
	// CreateRemoteEndpoint and CreateLocal make an endpoint; the local one is attached to nothing.
	CreateRemoteEndpoint(t *testing.T, addr netip.Addr, mac hns.MAC) hns.EndpointID
	CreateLocal(t *testing.T, addr netip.Addr) hns.EndpointID
	// CreateLoadBalancer makes a load balancer on the endpoints.
	CreateLoadBalancer(t *testing.T, vip netip.Addr, backends ...hns.EndpointID) hns.LoadBalancerID
	// DeleteLoadBalancer deletes one.
	DeleteLoadBalancer(id hns.LoadBalancerID) error
}

// Run runs the suite; each part has a harness of its own.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	t.Helper()
	for name, part := range map[string]func(t *testing.T, h Harness){
		"a network is listed with its name and type":               networkIsListed,
		"a remote endpoint keeps the identity it was made with":    remoteKeepsIdentity,
		"a local endpoint is neither remote nor attached":          localIsLocal,
		"every endpoint is in the list of IDs":                     idsAreListed,
		"an unknown endpoint is not found":                         unknownIsNotFound,
		"a deleted endpoint is gone from every list":               deletedIsGone,
		"deleting twice is not found the second time":              deletedTwice,
		"a delete takes one of two endpoints that share an IP":     deletesOneOfTwins,
		"a load balancer names its backends, the deleted ones too": balancerKeepsDangling,
		"load balancers that vanish do not fail the list":          balancersVanish,
		"calls may be made at the same time":                       concurrent,
	} {
		t.Run(name, func(t *testing.T) { part(t, newHarness(t)) })
	}
}

func address(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 240, 0, last}) }

func networkIsListed(t *testing.T, h Harness) {
	t.Helper()
	g := NewWithT(t)
	networks, err := h.Client().Networks(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(networks).To(ContainElement(And(
		HaveField("ID", h.Network().ID), HaveField("Name", h.Network().Name), HaveField("Type", h.Network().Type))))
}

func remoteKeepsIdentity(t *testing.T, h Harness) {
	t.Helper()
	g := NewWithT(t)
	mac := hns.MAC{0x02, 0x11, 10, 240, 0, 11}
	id := h.CreateRemoteEndpoint(t, address(11), mac)
	got, err := h.Client().Endpoint(t.Context(), id)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(got.ID).To(Equal(id))
	g.Expect(got.Network).To(Equal(h.Network().ID))
	g.Expect(got.Addresses).To(Equal([]netip.Addr{address(11)}))
	g.Expect(got.MAC).To(Equal(mac))
	g.Expect(got.Remote()).To(BeTrue())
	g.Expect(got.Attached()).To(BeFalse())
}

func localIsLocal(t *testing.T, h Harness) {
	t.Helper()
	g := NewWithT(t)
	got, err := h.Client().Endpoint(t.Context(), h.CreateLocal(t, address(12)))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(got.Remote()).To(BeFalse())
	g.Expect(got.Attached()).To(BeFalse())
	g.Expect(got.Has(address(12))).To(BeTrue())
}

func idsAreListed(t *testing.T, h Harness) {
	t.Helper()
	g := NewWithT(t)
	remote, local := h.CreateRemoteEndpoint(t, address(13), hns.MAC{}), h.CreateLocal(t, address(14))
	ids, err := h.Client().ListEndpointIDs(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(ids).To(ContainElements(remote, local))
}

func unknownIsNotFound(t *testing.T, h Harness) {
	t.Helper()
	g := NewWithT(t)
	unknown := hns.EndpointID(uuid.NewString())
	_, err := h.Client().Endpoint(t.Context(), unknown)
	g.Expect(err).To(MatchError(hns.ErrNotFound))
	g.Expect(h.Client().DeleteEndpoint(t.Context(), unknown)).To(MatchError(hns.ErrNotFound))
}

func deletedIsGone(t *testing.T, h Harness) {
	t.Helper()
	g := NewWithT(t)
	id := h.CreateRemoteEndpoint(t, address(15), hns.MAC{})
	g.Expect(h.Client().DeleteEndpoint(t.Context(), id)).To(Succeed())
	_, err := h.Client().Endpoint(t.Context(), id)
	g.Expect(err).To(MatchError(hns.ErrNotFound))
	ids, err := h.Client().ListEndpointIDs(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(ids).NotTo(ContainElement(id))
}

func deletedTwice(t *testing.T, h Harness) {
	t.Helper()
	g := NewWithT(t)
	id := h.CreateRemoteEndpoint(t, address(16), hns.MAC{})
	g.Expect(h.Client().DeleteEndpoint(t.Context(), id)).To(Succeed())
	g.Expect(h.Client().DeleteEndpoint(t.Context(), id)).To(MatchError(hns.ErrNotFound))
}

func deletesOneOfTwins(t *testing.T, h Harness) {
	t.Helper()
	g := NewWithT(t)
	remote := h.CreateRemoteEndpoint(t, address(17), hns.MAC{})
	local := h.CreateLocal(t, address(17))
	g.Expect(h.Client().DeleteEndpoint(t.Context(), remote)).To(Succeed())
	twin, err := h.Client().Endpoint(t.Context(), local)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(twin.Has(address(17))).To(BeTrue())
}

func balancerKeepsDangling(t *testing.T, h Harness) {
	t.Helper()
	g := NewWithT(t)
	stays, goes := h.CreateRemoteEndpoint(t, address(18), hns.MAC{}), h.CreateRemoteEndpoint(t, address(19), hns.MAC{})
	id := h.CreateLoadBalancer(t, netip.AddrFrom4([4]byte{10, 0, 0, 10}), stays, goes)
	g.Expect(h.Client().DeleteEndpoint(t.Context(), goes)).To(Succeed())
	balancers, err := h.Client().LoadBalancers(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(balancers).To(ContainElement(And(
		HaveField("ID", id), HaveField("Endpoints", ConsistOf(stays, goes)),
		HaveField("FrontendVIPs", ConsistOf(netip.AddrFrom4([4]byte{10, 0, 0, 10}))))))
}

func balancersVanish(t *testing.T, h Harness) {
	t.Helper()
	g := NewWithT(t)
	backend := h.CreateRemoteEndpoint(t, address(31), hns.MAC{})
	stays := h.CreateLoadBalancer(t, netip.AddrFrom4([4]byte{10, 0, 1, 0}), backend)
	const many = 20
	vanish := make([]hns.LoadBalancerID, 0, many)
	for i := range byte(many) {
		vanish = append(vanish, h.CreateLoadBalancer(t, netip.AddrFrom4([4]byte{10, 0, 1, 1 + i}), backend))
	}
	deleted := make(chan error, 1)
	go func() {
		var errs []error
		for _, id := range vanish {
			errs = append(errs, h.DeleteLoadBalancer(id))
		}
		deleted <- errors.Join(errs...)
	}()
	for left := many; left > 0; {
		balancers, err := h.Client().LoadBalancers(t.Context())
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(balancers).To(ContainElement(HaveField("ID", stays)), "the others are listed")
		left = 0
		for _, lb := range balancers {
			if slices.Contains(vanish, lb.ID) {
				left++
			}
		}
	}
	g.Expect(<-deleted).To(Succeed())
}

func concurrent(t *testing.T, h Harness) {
	t.Helper()
	g := NewWithT(t)
	ids := make([]hns.EndpointID, 0, 8)
	for i := range byte(8) {
		ids = append(ids, h.CreateRemoteEndpoint(t, address(20+i), hns.MAC{}))
	}
	errs := make([]error, len(ids))
	var done sync.WaitGroup
	for i, id := range ids {
		done.Go(func() {
			if _, errs[i] = h.Client().ListEndpointIDs(t.Context()); errs[i] == nil {
				errs[i] = h.Client().DeleteEndpoint(t.Context(), id)
			}
		})
	}
	done.Wait()
	g.Expect(errs).To(HaveEach(BeNil()))
	left, err := h.Client().ListEndpointIDs(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	for _, id := range ids {
		g.Expect(left).NotTo(ContainElement(id))
	}
}
