// SPDX-License-Identifier: Apache-2.0

package hnstest_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

var addr = netip.MustParseAddr("10.240.0.11")

func newService(opts hnstest.Options) (*hnstest.HNS, hns.Network) {
	service := hnstest.New(opts)
	return service, service.CreateNetwork("azure", hns.NetworkL2Bridge)
}

func local(network hns.NetworkID) hnstest.EndpointSpec {
	return hnstest.EndpointSpec{Network: network, Name: "1234_eth0", Addresses: []netip.Addr{addr}}
}

func remote(network hns.NetworkID) hnstest.EndpointSpec {
	return hnstest.EndpointSpec{Network: network, Addresses: []netip.Addr{addr}, Flags: hns.FlagRemote}
}

func TestDuplicates(t *testing.T) {
	for _, tc := range []struct {
		name          string
		policy        hnstest.Duplicates
		first, second func(hns.NetworkID) hnstest.EndpointSpec
		refused       bool
	}{
		{"remote then local, allowed", hnstest.AllowDuplicates, remote, local, false},
		{"local then remote, allowed", hnstest.AllowDuplicates, local, remote, false},
		{"two remotes, allowed", hnstest.AllowDuplicates, remote, remote, false},
		{"two locals are never allowed", hnstest.AllowDuplicates, local, local, true},
		{"remote then local, refused", hnstest.RefuseDuplicates, remote, local, true},
		{"two remotes, refused", hnstest.RefuseDuplicates, remote, remote, true},
		{"remote then local, one remote", hnstest.OneRemote, remote, local, false},
		{"local then remote, one remote", hnstest.OneRemote, local, remote, false},
		{"two remotes, one remote", hnstest.OneRemote, remote, remote, true},
		{"two locals, one remote", hnstest.OneRemote, local, local, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := NewWithT(t)
			service, network := newService(hnstest.Options{Duplicates: tc.policy})
			_, err := service.CreateEndpoint(tc.first(network.ID))
			g.Expect(err).NotTo(HaveOccurred())
			_, err = service.CreateEndpoint(tc.second(network.ID))
			if tc.refused {
				g.Expect(err).To(MatchError(hnstest.ErrDuplicateAddress))
			} else {
				g.Expect(err).NotTo(HaveOccurred())
			}
			other := service.CreateNetwork("nat", hns.NetworkNAT)
			_, err = service.CreateEndpoint(tc.second(other.ID))
			g.Expect(err).NotTo(HaveOccurred(), "another network is another world")
		})
	}
}

func TestOrder(t *testing.T) {
	for _, tc := range []struct {
		order       hnstest.Order
		remoteFirst bool
	}{{hnstest.OldestFirst, true}, {hnstest.NewestFirst, false}} {
		g := NewWithT(t)
		service, network := newService(hnstest.Options{Order: tc.order})
		create(t, service, remote(network.ID))
		create(t, service, local(network.ID))
		ids, err := service.ListEndpointIDs(t.Context())
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(ids).To(HaveLen(2))
		g.Expect(service.Endpoint(t.Context(), ids[0])).To(HaveField("Remote()", tc.remoteFirst))
	}
}

// With a random order two lists of the same endpoints differ, so a program must not rely on the order.
func TestARandomOrderDiffersAtEveryList(t *testing.T) {
	g := NewWithT(t)
	service, network := newService(hnstest.Options{Order: hnstest.Random})
	create(t, service, remote(network.ID))
	create(t, service, local(network.ID))
	first := map[hns.EndpointID]bool{}
	const lists = 200
	for range lists {
		ids, err := service.ListEndpointIDs(t.Context())
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(ids).To(HaveLen(2))
		first[ids[0]] = true
	}
	g.Expect(first).To(HaveLen(2))
}

func TestAttachment(t *testing.T) {
	g := NewWithT(t)
	service, network := newService(hnstest.Options{})
	id, namespace := create(t, service, local(network.ID)), service.CreateNamespace()
	g.Expect(service.Attach(id, namespace)).To(Succeed())
	g.Expect(service.Attach(id, namespace)).To(MatchError(hnstest.ErrAlreadyAttached))
	g.Expect(service.State().Endpoints[0].Attached()).To(BeTrue())
	g.Expect(service.DeleteNamespace(namespace)).To(Succeed())
	g.Expect(service.State().Endpoints[0].Attached()).To(BeFalse(), "a leaked endpoint stays, attached to nothing")
	g.Expect(service.DeleteNamespace(namespace)).To(MatchError(hns.ErrNotFound))
	g.Expect(service.Attach(id, namespace)).To(MatchError(hns.ErrNotFound))
}

func TestLatencyIsPaidPerCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		service, network := newService(hnstest.Options{Latency: time.Millisecond})
		id := create(t, service, remote(network.ID))
		for range 5 {
			_, err := service.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{id}})
			g.Expect(err).NotTo(HaveOccurred())
		}
		start := time.Now()
		_, err := service.LoadBalancers(t.Context())
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(time.Since(start)).To(Equal(16*time.Millisecond), "one call, and three for each of five")
		g.Expect(service.Cost()).To(Equal(16))
		service.ResetCalls()
		_, err = service.Endpoint(t.Context(), id)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(service.Cost()).To(Equal(3))
		service.ResetCalls()
		_, err = service.ListEndpointIDs(t.Context())
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(service.Cost()).To(Equal(1))
	})
}

func TestIDsCanBeChosen(t *testing.T) {
	g := NewWithT(t)
	var made []string
	service, network := newService(hnstest.Options{NewID: func(of string) string {
		made = append(made, of)
		return fmt.Sprintf("00000000-0000-0000-0000-%012d", len(made))
	}})
	create(t, service, remote(network.ID))
	id := create(t, service, local(network.ID))
	g.Expect(id).To(BeEquivalentTo("00000000-0000-0000-0000-000000000003"))
	g.Expect(made).To(HaveExactElements("network", HaveSuffix(" remote"), HaveSuffix(" local")))
}

func TestDownIsUnavailableAndKeepsState(t *testing.T) {
	g := NewWithT(t)
	service, network := newService(hnstest.Options{})
	id := create(t, service, remote(network.ID))
	service.SetDown(true)
	_, err := service.ListEndpointIDs(t.Context())
	g.Expect(err).To(MatchError(hns.ErrUnavailable))
	g.Expect(service.DeleteEndpoint(t.Context(), id)).To(MatchError(hns.ErrUnavailable))
	service.SetDown(false)
	g.Expect(service.ListEndpointIDs(t.Context())).To(ConsistOf(id))
}

func TestRestartPurges(t *testing.T) {
	g := NewWithT(t)
	service, network := newService(hnstest.Options{})
	id := create(t, service, remote(network.ID))
	_, err := service.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{id}})
	g.Expect(err).NotTo(HaveOccurred())
	service.Restart()
	state := service.State()
	g.Expect(state.Endpoints).To(BeEmpty())
	g.Expect(state.LoadBalancers).To(BeEmpty())
	g.Expect(state.Networks).To(ConsistOf(And(HaveField("Name", "azure"), HaveField("ID", Not(Equal(network.ID))))))
}

func TestFaults(t *testing.T) {
	g := NewWithT(t)
	service, network := newService(hnstest.Options{})
	boom := errors.New("boom")

	service.FailNext(hns.OpListEndpointIDs, boom)
	_, err := service.ListEndpointIDs(t.Context())
	g.Expect(err).To(MatchError(boom))
	_, err = service.ListEndpointIDs(t.Context())
	g.Expect(err).NotTo(HaveOccurred(), "one shot")

	service.Fail(hns.OpLoadBalancers, boom)
	for range 2 {
		_, err = service.LoadBalancers(t.Context())
		g.Expect(err).To(MatchError(boom))
	}
	service.Heal()
	_, err = service.LoadBalancers(t.Context())
	g.Expect(err).NotTo(HaveOccurred())

	stays, goes := create(t, service, remote(network.ID)), create(t, service, remote(network.ID))
	service.VanishMidList(goes)
	g.Expect(service.ListEndpointIDs(t.Context())).To(ConsistOf(stays, goes))
	_, err = service.Endpoint(t.Context(), goes)
	g.Expect(err).To(MatchError(hns.ErrNotFound))
	g.Expect(service.ListEndpointIDs(t.Context())).To(ConsistOf(stays))

	keeps, err := service.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{stays}})
	g.Expect(err).NotTo(HaveOccurred())
	vanishes, err := service.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{stays}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(service.LoadBalancers(t.Context())).To(HaveLen(2))
	service.VanishLoadBalancerMidList(vanishes.ID)
	g.Expect(service.LoadBalancers(t.Context())).To(ConsistOf(HaveField("ID", keeps.ID)))
	g.Expect(service.DeleteLoadBalancer(vanishes.ID)).To(MatchError(hns.ErrNotFound))

	service.MakeUndeletable(stays)
	g.Expect(service.DeleteEndpoint(t.Context(), stays)).To(Succeed())
	g.Expect(service.ListEndpointIDs(t.Context())).To(ConsistOf(stays))

	service.Before(hns.OpEndpoint, func() { service.Heal(); g.Expect(service.DeleteEndpoint(t.Context(), stays)).To(Succeed()) })
	_, err = service.Endpoint(t.Context(), stays)
	g.Expect(err).To(MatchError(hns.ErrNotFound))
	g.Expect(service.Deleted()).To(Equal([]hns.EndpointID{stays, stays}))
}

func TestHangTakesEffectLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		service, network := newService(hnstest.Options{})
		id := create(t, service, remote(network.ID))
		release := service.Hang(hns.OpDeleteEndpoint)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- service.DeleteEndpoint(ctx, id) }()
		cancel()
		synctest.Wait()
		g.Expect(done).NotTo(Receive(), "no context ends an HNS call")
		g.Expect(service.State().Endpoints).To(HaveLen(1))
		release()
		g.Expect(<-done).To(Succeed())
		g.Expect(service.State().Endpoints).To(BeEmpty())
	})
}

func TestDeleteNetworkTakesItsEndpoints(t *testing.T) {
	g := NewWithT(t)
	service, network := newService(hnstest.Options{})
	create(t, service, remote(network.ID))
	g.Expect(service.DeleteNetwork(network.ID)).To(Succeed())
	g.Expect(service.State().Endpoints).To(BeEmpty())
	g.Expect(service.DeleteNetwork(network.ID)).To(MatchError(hns.ErrNotFound))
	_, err := service.CreateEndpoint(remote(network.ID))
	g.Expect(err).To(MatchError(hns.ErrNotFound))
}
