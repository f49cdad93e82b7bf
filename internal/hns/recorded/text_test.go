// SPDX-License-Identifier: Apache-2.0

package recorded_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/recorded"
)

const all = recorded.GapKind | recorded.GapNetwork | recorded.GapAddresses | recorded.GapMAC | recorded.GapAttachment

func TestHnsdiagBlocks(t *testing.T) {
	g := NewWithT(t)
	dump := read(t, `
Network          : `+net+`
    Name             : Calico
    Type             : Overlay

Endpoint         : `+idA+`
    Name             : Calico_ep
    Virtual Network Name : Calico
    IP Address       : 10.1.0.2
Endpoint         : `+idB+`
    Name             :
    IP Address       :
Namespace        : `+idA+`
    Endpoint IDs     : `+idB+`
Load Balancer    : `+idC+`
    Virtual IPs      : 10.96.0.10 fd00::10
    Direct IP IDs    : `+idA+`
                       `+idB+`
`)
	g.Expect(dump.Networks).To(Equal([]hns.Network{{ID: net, Name: "Calico", Type: hns.NetworkOverlay}}))
	g.Expect(dump.Endpoints).To(Equal([]hns.Endpoint{
		{ID: idA, Name: "Calico_ep", Network: net, Addresses: addrs("10.1.0.2")},
		{ID: idB, Namespace: idA},
	}))
	g.Expect(dump.Gaps).To(Equal(map[hns.EndpointID]recorded.Gap{
		idA: recorded.GapKind | recorded.GapMAC | recorded.GapAttachment,
		idB: recorded.GapKind | recorded.GapMAC | recorded.GapNetwork,
	}))
	g.Expect(dump.LoadBalancers).To(Equal([]hns.LoadBalancer{
		{ID: idC, Endpoints: []hns.EndpointID{idA, idB}, FrontendVIPs: addrs("10.96.0.10", "fd00::10")},
	}))
}

// Should a version of hnsdiag tell the kind, it is not unknown.
func TestHnsdiagThatTellsTheKind(t *testing.T) {
	g := NewWithT(t)
	e, gap := one(t, "Endpoint : "+idA+"\n  Is Remote Endpoint : True\n")
	g.Expect(e.Remote()).To(BeTrue())
	g.Expect(gap).To(Equal(all &^ recorded.GapKind &^ recorded.GapAttachment))
}

func TestHnsdiagTables(t *testing.T) {
	g := NewWithT(t)
	dump := read(t, "Networks:\r\nName             ID\r\n"+
		"Default Switch   "+net+"\r\n\r\n"+
		"Endpoints:\r\nName             ID                                   Virtual Network Name\r\n"+
		"cid-"+idC+" "+idA+" Default Switch\r\n"+
		"                 "+idB+" gone\r\n\r\n"+
		"Namespaces:\r\nID                                   | Endpoint IDs\r\n"+
		idC+" | "+idA+" "+idB+"\r\n\r\n"+
		"LoadBalancers:\r\nID                                   | Virtual IPs      | Direct IP IDs\r\n")
	g.Expect(dump.Networks).To(Equal([]hns.Network{{ID: net, Name: "Default Switch"}}))
	g.Expect(dump.Endpoints).To(Equal([]hns.Endpoint{
		{ID: idA, Name: "cid-" + idC, Network: net, Namespace: idC},
		{ID: idB, Namespace: idC},
	}))
	g.Expect(dump.Gaps[idA]).To(Equal(recorded.GapKind | recorded.GapAddresses | recorded.GapMAC))
	g.Expect(dump.LoadBalancersRecorded).To(BeTrue(), "an empty table says that there are none")
	g.Expect(dump.LoadBalancers).To(BeEmpty())
}

func TestHnsdiagSaysThatThereAreNoEndpoints(t *testing.T) {
	g := NewWithT(t)
	dump := read(t, "Endpoints:\nName             ID                                   Virtual Network Name\n")
	g.Expect(dump.EndpointsRecorded).To(BeTrue())
	g.Expect(dump.Endpoints).To(BeEmpty())
	g.Expect(dump.LoadBalancersRecorded).To(BeFalse())
}

func TestFormatListInFull(t *testing.T) {
	g := NewWithT(t)
	dump := read(t, `

ActivityId         : 9b63aa27-a6d2-4ea0-bb30-3da5f4f913e0
ID                 : `+idA+`
IPAddress          : 10.244.0.4
IsRemoteEndpoint   : True
MacAddress         : 00:11:22:33:44:55
Name               : 0dd146321a68d26b7d32e1bdf87ed5967296e58d97
                     918858fb27c2ca55e3b586_x
Policies           : {@{Type=L2Driver}}
Resources          : @{AllocationOrder=1; Allocators=System.Object[];
                     {VfpOperationTime: 0}}
SharedContainers   : {}
State              : 1
Type               : l2bridge
Version            : 21474836481
VirtualNetwork     : `+net+`
VirtualNetworkName : l2bridge

ID                 : `+idB+`
Version            : 21474836481
Resources          :
State              : 3
VirtualNetwork     : `+net+`
`)
	g.Expect(dump.Endpoints).To(Equal([]hns.Endpoint{
		{
			ID: idA, Name: "0dd146321a68d26b7d32e1bdf87ed5967296e58d97918858fb27c2ca55e3b586_x", Network: net,
			Addresses: addrs("10.244.0.4"), MAC: mac("00:11:22:33:44:55"), Flags: hns.FlagRemote,
		},
		{ID: idB, Network: net, SharedContainers: 1},
	}))
	g.Expect(dump.Networks).To(Equal([]hns.Network{{ID: net, Name: "l2bridge", Type: hns.NetworkL2Bridge}}))
	g.Expect(dump.Gaps).To(Equal(map[hns.EndpointID]recorded.Gap{idB: recorded.GapMAC}))
}

// A list of chosen properties tells only these.
func TestFormatListOfChosenProperties(t *testing.T) {
	g := NewWithT(t)
	dump := read(t, "ID        : "+idA+"\nIPAddress : 10.0.0.5\n\nID        : "+idB+"\nIPAddress :\n")
	g.Expect(dump.Endpoints).To(Equal([]hns.Endpoint{{ID: idA, Addresses: addrs("10.0.0.5")}, {ID: idB}}))
	g.Expect(dump.Gaps).To(Equal(map[hns.EndpointID]recorded.Gap{
		idA: all &^ recorded.GapAddresses, idB: all &^ recorded.GapAddresses,
	}))
}

func TestFormatTable(t *testing.T) {
	g := NewWithT(t)
	dump := read(t, `
ID                                   IsRemoteEndpoint State IPAddress   MacAddress        Name
--                                   ---------------- ----- ---------   ----------        ----
`+idA+`             True     1 10.240.0.11 02-11-0a-f0-00-0b Ethernet
`+idB+`                      3 10.240.0.12 00-15-5d-00-00-01 Ünïcode
`+idC+`                      1                               last

PS C:\>
`)
	g.Expect(dump.Endpoints).To(Equal([]hns.Endpoint{
		{
			ID: idA, Name: "Ethernet", Addresses: addrs("10.240.0.11"), MAC: mac("02-11-0a-f0-00-0b"), Flags: hns.FlagRemote,
		},
		{
			ID: idB, Name: "Ünïcode", Addresses: addrs("10.240.0.12"), MAC: mac("00-15-5d-00-00-01"), SharedContainers: 1,
		},
		{ID: idC, Name: "last"},
	}))
	g.Expect(dump.Gaps[idB]).To(Equal(recorded.GapNetwork))
}

// A table with IDs is not taken for a summary of the JSON below: it may hold more.
func TestFormatTableAndJSON(t *testing.T) {
	g := NewWithT(t)
	dump := read(t, `
ID                                   IPAddress IsRemoteEndpoint
--                                   --------- ----------------
`+idA+` 10.0.0.5              True
`+idB+` 10.0.0.6              True

`+v1(`"IPAddress":"10.0.0.5"`, `"IsRemoteEndpoint":true`))
	g.Expect(dump.Endpoints).To(HaveLen(2))
	g.Expect(dump.Gaps).To(Equal(map[hns.EndpointID]recorded.Gap{idB: recorded.GapNetwork | recorded.GapMAC}))
}

func TestTextFaults(t *testing.T) {
	const header = "ID                                   IPAddress IsRemoteEndpoint\n" +
		"--                                   --------- ----------------\n"
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"a summary without its JSON": {
			"\nIPAddress   MacAddress        IsRemoteEndpoint State\n" +
				"---------   ----------        ---------------- -----\n" +
				"10.240.0.11 02-11-0a-f0-00-0b             True     1\n",
			[]string{"dump:2:1: a table of endpoints without their IDs, and no JSON after it", "-Depth 20"},
		},
		"a summary with more than the JSON": {
			"Name Type Id                                   AddressPrefix\n" +
				"---- ---- --                                   -------------\n" +
				"a    NAT  " + idA + " 10.0.0.0/8\n" +
				"b    NAT  " + idB + " 10.0.0.0/8\n\n" +
				`{"ID":"` + idA + `","Ipams":[]}`,
			[]string{"dump:4:1: network " + idB + ": of networks, Format-List"},
		},
		"a summary with other JSON": {
			"IPAddress   MacAddress        IsRemoteEndpoint State\n" +
				"---------   ----------        ---------------- -----\n\n" +
				`{"ID":"` + idC + `","HostComputeEndpoints":[]}`,
			[]string{"a table of endpoints without their IDs"},
		},
		"a list of V2 endpoints": {
			"ID                   : " + idA + "\nHostComputeNetwork   : " + net + "\n",
			[]string{"of endpoints, Format-List", "-Depth 20"},
		},
		"a list of policies": {
			"ID         : " + idA + "\nReferences : {/endpoints/" + idB + "}\n",
			[]string{"of load balancers, Format-List"},
		},
		"a column cut off": {
			header + "aaaaaaaa-0000-4000-8000-00000000...   10.0.0.5             True\n",
			[]string{"dump:3:1: ID of endpoint", "the console cut it off"},
		},
		"no boolean": {
			header + idA + " 10.0.0.5              Yes\n",
			[]string{`IsRemoteEndpoint of endpoint ` + idA + `: "Yes" is neither`},
		},
		"no state": {
			"Endpoint : " + idA + "\n  State : Up\n",
			[]string{`dump:2:11: State of endpoint ` + idA + `: "Up" is no state`},
		},
		"a bad address": {
			"Endpoint : " + idA + "\n    IP Address       : 10.0.0.\n",
			[]string{"dump:2:24: IP Address of endpoint " + idA},
		},
		"a bad head":     {"Endpoint : x\n", []string{`dump:1:12: Endpoint of endpoint x: parsing "x" as a GUID`}},
		"no head":        {"    IP Address : 10.0.0.5\n", []string{"dump:1:1: not understood"}},
		"an empty head":  {"Load Balancer :\n", []string{"it has no ID"}},
		"no row":         {"Name  ID\nnat\n", []string{`dump:2:1: not understood: "nat"`}},
		"too long a row": {"Name ID\nnat " + net + " x\n", []string{"not understood"}},
		"too few bars":   {"ID | Virtual IPs | Direct IP IDs\n" + idC + " | x\n", []string{"not understood"}},
		"a bad backend": {
			"ID | Virtual IPs | Direct IP IDs\n" + idC + " | | x\n",
			[]string{"dump:2:42: Direct IP IDs of load balancer " + idC},
		},
		"a bad member": {"ID | Endpoint IDs\n" + idC + " | x\n", []string{"Endpoint IDs of namespace " + idC}},
		"one bad line": {
			"Endpoint : " + idA + "\n???\n???\n!!!\n\n",
			[]string{`dump:2:1: not understood: "???"`},
		},
		"only a title":  {"Namespaces:\n", []string{"only namespaces"}},
		"only a prompt": {"PS C:\\> Get-HnsEndpoint\n", []string{"nothing in the file is known here"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			dump, err := recorded.Read("dump", []byte(tc.text))
			g.Expect(err).To(HaveOccurred())
			g.Expect(dump).To(BeZero())
			for _, want := range tc.want {
				g.Expect(err.Error()).To(ContainSubstring(want))
			}
		})
	}
}
