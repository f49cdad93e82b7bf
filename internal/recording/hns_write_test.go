// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"bytes"
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
)

// What is written is read as it was.
func TestWhatIsWrittenIsRead(t *testing.T) {
	g := NewWithT(t)
	want := recording.HNS{
		Networks: []hns.Network{{ID: net, Name: "azure", Type: hns.NetworkL2Bridge}},
		Endpoints: []hns.Endpoint{
			{
				ID: idA, Name: "Ethernet", Network: net, Flags: hns.FlagRemote | 4, MAC: hns.MAC{2, 0x11, 10, 0, 0, 1},
				Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
			},
			{
				ID: idB, Name: "0123", Network: net, Namespace: idC, MAC: hns.MAC{1, 2, 3, 4, 5, 6}, SharedContainers: 2,
				Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")},
			},
			{ID: idC, Network: net, Untranslated: `"x" is no address`},
		},
		LoadBalancers: []hns.LoadBalancer{
			{
				ID: idA, Endpoints: []hns.EndpointID{idA, idB}, FrontendVIPs: []netip.Addr{netip.MustParseAddr("10.0.0.10")},
				Ports: []hns.PortMapping{{Protocol: 17, InternalPort: 5353, ExternalPort: 53}},
			},
			{ID: idB},
		},
		EndpointsRecorded: true, LoadBalancersRecorded: true, Whole: true, Incomplete: map[hns.EndpointID]string{},
	}
	var out bytes.Buffer
	_, err := recording.Bundle{HNS: want}.Write(&out)
	g.Expect(err).NotTo(HaveOccurred())
	b, err := recording.ReadBundle(file("b", out.Bytes()))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(b.HNS).To(Equal(want))
}
