// SPDX-License-Identifier: Apache-2.0

package hcnclient_test

import (
	"net/netip"
	"os"
	"testing"

	"github.com/Microsoft/hcsshim/hcn"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/hcnclient"
	"github.com/hnsguard/hnsguard/test/hnstest/contract"
)

// harness lets the contract suite try the real service, through hcsshim. What it makes it deletes.
type harness struct {
	client  hns.Client
	network *hcn.HostComputeNetwork
}

// TestContract needs a Host Networking Service, and on it an L2Bridge network of 10.240.0.0/16 on which nothing
// depends.
func TestContract(t *testing.T) {
	name := os.Getenv("HNSGUARD_CONTRACT_NETWORK")
	if name == "" {
		t.Skip("HNSGUARD_CONTRACT_NETWORK does not name a network to make and delete endpoints on")
	}
	contract.Run(t, func(t *testing.T) contract.Harness {
		t.Helper()
		client, err := hcnclient.New()
		must(t, err)
		network, err := hcn.GetNetworkByName(name)
		must(t, err)
		return harness{client, network}
	})
}

func (h harness) Client() hns.Client { return h.client }

func (h harness) Network() hns.Network {
	return hns.Network{ID: hns.NetworkID(h.network.Id), Name: h.network.Name, Type: hns.NetworkType(h.network.Type)}
}

func (h harness) CreateRemoteEndpoint(t *testing.T, addr netip.Addr, mac hns.MAC) hns.EndpointID {
	t.Helper()
	if mac == (hns.MAC{}) {
		b := addr.As4()
		mac = hns.MAC{0x02, 0x11, b[0], b[1], b[2], b[3]}
	}
	return h.create(t, &hcn.HostComputeEndpoint{
		Flags: hcn.EndpointFlagsRemoteEndpoint, MacAddress: mac.String(),
		IpConfigurations: []hcn.IpConfig{{IpAddress: addr.String()}},
	})
}

func (h harness) CreateLocal(t *testing.T, addr netip.Addr) hns.EndpointID {
	t.Helper()
	return h.create(t, &hcn.HostComputeEndpoint{
		Name: "hnsguard-contract", IpConfigurations: []hcn.IpConfig{{IpAddress: addr.String()}},
	})
}

func (h harness) create(t *testing.T, endpoint *hcn.HostComputeEndpoint) hns.EndpointID {
	t.Helper()
	endpoint.SchemaVersion = hcn.SchemaVersion{Major: 2}
	made, err := h.network.CreateEndpoint(endpoint)
	must(t, err)
	t.Cleanup(func() { _ = made.Delete() }) // most are gone by then
	id, err := hns.ParseID[hns.EndpointID](made.Id)
	must(t, err)
	return id
}

func (h harness) CreateLoadBalancer(t *testing.T, vip netip.Addr, backends ...hns.EndpointID) hns.LoadBalancerID {
	t.Helper()
	spec := &hcn.HostComputeLoadBalancer{
		FrontendVIPs: []string{vip.String()}, SchemaVersion: hcn.SchemaVersion{Major: 2},
		PortMappings: []hcn.LoadBalancerPortMapping{{Protocol: 6, ExternalPort: 53, InternalPort: 53}},
	}
	for _, id := range backends {
		spec.HostComputeEndpoints = append(spec.HostComputeEndpoints, string(id))
	}
	made, err := spec.Create()
	must(t, err)
	t.Cleanup(func() { _ = made.Delete() }) // some are gone by then
	id, err := hns.ParseID[hns.LoadBalancerID](made.Id)
	must(t, err)
	return id
}

func (h harness) DeleteLoadBalancer(id hns.LoadBalancerID) error {
	return (&hcn.HostComputeLoadBalancer{Id: string(id)}).Delete()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
