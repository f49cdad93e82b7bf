// SPDX-License-Identifier: Apache-2.0

package recorded_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/recorded"
)

func TestMergeOfNothing(t *testing.T) {
	g := NewWithT(t)
	dump, err := recorded.Merge()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(dump.EndpointsRecorded).To(BeFalse())
	g.Expect(dump.LoadBalancersRecorded).To(BeFalse())
}

func TestMergeFillsGapsAndLeavesItsArgumentsAlone(t *testing.T) {
	g := NewWithT(t)
	table := read(t, "Name ID Virtual Network Name\nEthernet "+idA+" azure\n")
	block := read(t, "Endpoint : "+idA+"\n  IP Address : 10.0.0.5\n")
	whole := read(t, v1(`"IPAddress":"10.0.0.5"`, `"IsRemoteEndpoint":true`, `"Flags":33`))

	some, err := recorded.Merge(table, block)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(some.Endpoints).To(Equal([]hns.Endpoint{{ID: idA, Name: "Ethernet", Addresses: addrs("10.0.0.5")}}))
	g.Expect(some.Gaps[idA]).To(Equal(all &^ recorded.GapAddresses))
	g.Expect(table.Endpoints[0].Addresses).To(BeEmpty())
	g.Expect(table.Gaps[idA]).To(Equal(all))

	for _, order := range [][]recorded.Dump{{some, whole}, {whole, some}, {table, whole, block}} {
		every, err := recorded.Merge(order...)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(every.Gaps).To(BeEmpty())
		g.Expect(every.Endpoints).To(HaveLen(1))
		g.Expect(every.Endpoints[0].Flags).To(Equal(hns.EndpointFlags(33)))
		g.Expect(every.Endpoints[0].Network).To(Equal(hns.NetworkID(net)))
		g.Expect(every.Endpoints[0].Name).To(Equal("Ethernet"))
	}
}

// The two interfaces of HNS show different signs of use. Any of them counts.
func TestMergeAddsUpSignsOfUse(t *testing.T) {
	g := NewWithT(t)
	older := read(t, v1(`"State":3`))
	newer := read(t, v2(`"HostComputeNamespace":"`+idB+`"`))
	for _, order := range [][]recorded.Dump{{older, newer}, {newer, older}} {
		dump, err := recorded.Merge(order...)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(dump.Endpoints[0].Namespace).To(Equal(hns.NamespaceID(idB)))
		g.Expect(dump.Endpoints[0].SharedContainers).To(Equal(1))
	}
}

func TestMergeOfLoadBalancers(t *testing.T) {
	g := NewWithT(t)
	diag := read(t, "Load Balancer : "+idC+"\n  Virtual IPs : 10.96.0.1\n  Direct IP IDs : "+idB+" "+idA+"\n")
	json := read(t, `{"ID":"`+idC+`","HostComputeEndpoints":["`+idA+`","`+idB+`"],"PortMappings":[{"Protocol":6}]}`)
	for _, order := range [][]recorded.Dump{{diag, json}, {json, diag}} {
		dump, err := recorded.Merge(order...)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(dump.LoadBalancers).To(HaveLen(1))
		g.Expect(dump.LoadBalancers[0].FrontendVIPs).To(Equal(addrs("10.96.0.1")))
		g.Expect(dump.LoadBalancers[0].Ports).To(Equal([]hns.PortMapping{{Protocol: 6}}))
	}
}

// Invariant 3: dumps of two moments are not taken for one.
func TestMergeOfContradictions(t *testing.T) {
	network := func(properties string) string {
		return `{"ID":"` + net + `","CurrentEndpointCount":1,` + properties + `}`
	}
	for want, pair := range map[string][2]string{
		"differ in whether it is remote": {v1(`"IsRemoteEndpoint":true`), v1()},
		"differ in its addresses":        {v1(`"IPAddress":"10.0.0.5"`), v1(`"IPAddress":"10.0.0.6"`)},
		"differ in its network":          {v1(), v2(`"HostComputeNetwork":"` + idB + `"`)},
		"differ in its hardware address": {v1(), v1(`"MacAddress":"00-15-5d-00-00-02"`)},
		"differ in whether a container uses it": {
			v2(`"HostComputeNamespace":"` + idB + `"`),
			v2(`"HostComputeNamespace":"` + idC + `"`),
		},
		"is called both":                       {network(`"Name":"a"`), network(`"Name":"b"`)},
		"is both of type L2Bridge and Overlay": {network(`"Type":"l2bridge"`), network(`"Type":"Overlay"`)},
		"has both the subnets": {
			network(`"Subnets":[{"AddressPrefix":"10.0.0.0/8"}]`),
			network(`"Subnets":[{"AddressPrefix":"10.0.0.0/9"}]`),
		},
		"has both the backends [" + idA + "] and": {
			`{"ID":"` + idC + `","HostComputeEndpoints":["` + idA + `"]}`,
			`{"ID":"` + idC + `","HostComputeEndpoints":[]}`,
		},
	} {
		t.Run(want, func(t *testing.T) {
			g := NewWithT(t)
			dump, err := recorded.Merge(read(t, pair[0]), read(t, pair[1]))
			g.Expect(err).To(MatchError(And(ContainSubstring(want), ContainSubstring("one node and one moment"))))
			g.Expect(dump).To(BeZero())
		})
	}
}

func TestGapsInWords(t *testing.T) {
	g := NewWithT(t)
	g.Expect((recorded.GapKind | recorded.GapNetwork).String()).To(Equal("whether it is remote, its network"))
	g.Expect(recorded.Gap(0).String()).To(BeEmpty())
}
