// SPDX-License-Identifier: Apache-2.0

package hnstest_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/observe"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/hnstest/contract"
)

// harness lets the contract suite try the simulation (invariant 1).
type harness struct {
	service *hnstest.HNS
	client  hns.Client
	network hns.Network
}

func (h harness) Client() hns.Client   { return h.client }
func (h harness) Network() hns.Network { return h.network }

func (h harness) CreateRemoteEndpoint(t *testing.T, addr netip.Addr, mac hns.MAC) hns.EndpointID {
	t.Helper()
	return create(t, h.service, hnstest.EndpointSpec{
		Network: h.network.ID, Addresses: []netip.Addr{addr}, MAC: mac, Flags: hns.FlagRemote,
	})
}

func (h harness) CreateLocal(t *testing.T, addr netip.Addr) hns.EndpointID {
	t.Helper()
	return create(t, h.service, hnstest.EndpointSpec{Network: h.network.ID, Addresses: []netip.Addr{addr}})
}

func (h harness) CreateLoadBalancer(t *testing.T, vip netip.Addr, backends ...hns.EndpointID) hns.LoadBalancerID {
	t.Helper()
	made, err := h.service.CreateLoadBalancer(hns.LoadBalancer{
		Endpoints: backends, FrontendVIPs: []netip.Addr{vip}, Ports: []hns.PortMapping{{Protocol: 6, ExternalPort: 53}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

func (h harness) DeleteLoadBalancer(id hns.LoadBalancerID) error {
	return h.service.DeleteLoadBalancer(id)
}

func create(t *testing.T, service *hnstest.HNS, spec hnstest.EndpointSpec) hns.EndpointID {
	t.Helper()
	made, err := service.CreateEndpoint(spec)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

func TestContract(t *testing.T) {
	for name, order := range map[string]hnstest.Order{
		"oldest first": hnstest.OldestFirst, "newest first": hnstest.NewestFirst,
	} {
		t.Run(name, func(t *testing.T) {
			contract.Run(t, func(*testing.T) contract.Harness {
				service := hnstest.New(hnstest.Options{Order: order})
				return harness{service, service, service.CreateNetwork("azure", hns.NetworkL2Bridge)}
			})
		})
	}
}

// The decorators change nothing that the contract promises.
func TestContractOfDecorators(t *testing.T) {
	contract.Run(t, func(*testing.T) contract.Harness {
		service := hnstest.New(hnstest.Options{})
		client := observe.WithMetrics(
			hns.WithDeadline(service, hns.DeadlineOptions{
				Call: time.Minute, List: time.Minute, MaxHung: 1, Clock: clock.RealClock{},
			}),
			observe.NewMetrics(prometheus.NewRegistry()), clock.RealClock{})
		return harness{service, client, service.CreateNetwork("azure", hns.NetworkL2Bridge)}
	})
}
