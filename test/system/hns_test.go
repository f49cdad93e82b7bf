// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"

	"github.com/google/uuid"

	"github.com/hnsguard/hnsguard/cmd/hnsguard-verify/node"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/hnstest/contract"
	"github.com/hnsguard/hnsguard/test/system/hnsserver"
)

// hostNetwork is HNS for the CNI and the test: the simulated one, which the Windows programs call through our DLLs, or
// that of this Windows.
type hostNetwork interface {
	State() hnstest.State
	CreateEndpoint(spec hnstest.EndpointSpec) (hns.Endpoint, error)
	CreateNamespace() hns.NamespaceID
	Attach(endpoint hns.EndpointID, namespace hns.NamespaceID) error
}

// realHNS returns the type of the network that the test creates in the HNS of this Windows, such as Private. By default
// it is empty, and HNS is simulated. $HNSGUARD_ADAPTER names the network adapter for types that need one.
func realHNS() string { return os.Getenv("HNSGUARD_REAL_HNS") }

// podSubnet returns the subnet of all pods.
func podSubnet() netip.Prefix { return netip.MustParsePrefix("10.244.0.0/16") }

// simulate gives the node a simulated HNS and its server.
func (s *windowsNode) simulate(o nodeOptions) {
	s.t.Helper()
	if o.layout.Pods.Name == "" {
		o.layout.Pods = hnstest.LayoutNetwork{Name: "azure", Type: cmp.Or(o.network, hns.NetworkL2Bridge)}
	}
	s.simulated = hnstest.New(hnstest.Options{Duplicates: o.duplicates, Order: o.order})
	s.service = s.simulated
	s.network, s.byVariable = s.simulated.Build(o.layout, podSubnet()), o.layout.Name != ""
	var err error
	s.server, err = hnsserver.Start(s.ctx, s.simulated, cmp.Or(o.version, hnsserver.WindowsServer2022))
	must(s.t, err)
	s.t.Cleanup(func() {
		s.simulated.Heal()
		must(s.t, s.server.Close())
	})
}

// journal returns the changes that the simulated HNS was requested to make, and by whom. The real one does not report
// them.
func (s *windowsNode) journal() []hnsserver.Entry {
	if s.server == nil {
		return nil
	}
	return s.server.Journal()
}

// windowsHNS is the HNS of this Windows, with a network that is deleted after the test.
//
// Not verified: no real HNS was available.
type windowsHNS struct {
	t       *testing.T
	service contract.Service
	network hns.Network
}

func openHNS(t *testing.T, kind string) windowsHNS {
	t.Helper()
	service, err := node.Open(os.Getenv("HNSGUARD_ADAPTER"))
	must(t, err)
	network, err := service.CreateNetwork(t.Context(), "hnsguard-system-test", hns.NetworkType(kind), podSubnet())
	must(t, err)
	t.Cleanup(func() { must(t, service.DeleteNetwork(context.Background(), network.ID)) }) // and its endpoints with it
	return windowsHNS{t, service, network}
}

// State reads the network's endpoints, in the order in which HNS lists them, and all load balancers.
func (w windowsHNS) State() (state hnstest.State) {
	w.t.Helper()
	ids, err := w.service.ListEndpointIDs(w.t.Context())
	must(w.t, err)
	for _, id := range ids {
		endpoint, err := w.service.Endpoint(w.t.Context(), id)
		if errors.Is(err, hns.ErrNotFound) {
			continue
		}
		must(w.t, err)
		if endpoint.Network == w.network.ID && len(endpoint.Addresses) > 0 {
			state.Endpoints = append(state.Endpoints, endpoint)
		}
	}
	state.LoadBalancers, err = w.service.LoadBalancers(w.t.Context())
	must(w.t, err)
	return state
}

// CreateEndpoint creates an endpoint with one address.
func (w windowsHNS) CreateEndpoint(spec hnstest.EndpointSpec) (hns.Endpoint, error) {
	id, err := w.service.CreateEndpoint(w.t.Context(), w.network, contract.EndpointSpec{
		Name: spec.Name, Address: spec.Addresses[0], MAC: spec.MAC, Remote: spec.Flags&hns.FlagRemote != 0,
	})
	if err != nil {
		return hns.Endpoint{}, err
	}
	return w.service.Endpoint(w.t.Context(), id)
}

func (w windowsHNS) CreateNamespace() hns.NamespaceID {
	w.t.Helper()
	id, err := w.service.CreateNamespace(w.t.Context(), hns.NamespaceID(uuid.NewString()))
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, w.service.DeleteNamespace(context.Background(), id)) })
	return id
}

func (w windowsHNS) Attach(endpoint hns.EndpointID, namespace hns.NamespaceID) error {
	return w.service.Attach(w.t.Context(), endpoint, namespace)
}

// describeHNS describes the HNS for the results; empty for a simulated one.
func describeHNS(t *testing.T) string {
	t.Helper()
	if realHNS() == "" {
		return ""
	}
	service, err := node.Open("")
	must(t, err)
	version, err := service.Version(t.Context())
	must(t, err)
	machine, err := node.Read()
	must(t, err)
	return realHNS() + " network of HNS " + version + " on Windows " + machine.Windows
}
