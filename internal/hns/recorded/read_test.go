// SPDX-License-Identifier: Apache-2.0

package recorded_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"golang.org/x/text/encoding/unicode"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/recorded"
)

const (
	idA = "aaaaaaaa-0000-4000-8000-000000000001"
	idB = "bbbbbbbb-0000-4000-8000-000000000002"
	idC = "cccccccc-0000-4000-8000-000000000003"
	net = "dddddddd-0000-4000-8000-000000000004"
)

func read(t *testing.T, text string) recorded.Dump {
	t.Helper()
	dump, err := recorded.Read("dump", []byte(text))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return dump
}

// one reads a dump of a single endpoint.
func one(t *testing.T, text string) (hns.Endpoint, recorded.Gap) {
	t.Helper()
	dump := read(t, text)
	NewWithT(t).Expect(dump.Endpoints).To(HaveLen(1))
	return dump.Endpoints[0], dump.Gaps[dump.Endpoints[0].ID]
}

// v1 is a V1 endpoint with the given further properties.
func v1(properties ...string) string {
	return object("VirtualNetwork", properties)
}

// v2 is a V2 endpoint with the given further properties.
func v2(properties ...string) string {
	return object("HostComputeNetwork", properties)
}

func object(network string, properties []string) string {
	all := properties
	for _, usual := range []string{
		`"ID":"` + idA + `"`,
		`"` + network + `":"` + net + `"`,
		`"MacAddress":"00-15-5d-00-00-01"`,
	} {
		key := usual[:strings.Index(usual, ":")+1]
		if !slices.ContainsFunc(properties, func(p string) bool { return strings.HasPrefix(p, key) }) {
			all = append([]string{usual}, all...)
		}
	}
	return "{" + strings.Join(all, ",") + "}"
}

func TestEncodings(t *testing.T) {
	text := "[\r\n" + v1(`"IPAddress":"10.0.0.5"`) + "\r\n]\r\n"
	for name, encoding := range map[string]interface{ String(string) (string, error) }{
		"UTF-8 with a mark":          unicode.UTF8BOM.NewEncoder(),
		"UTF-16LE with a mark":       unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder(),
		"UTF-16BE with a mark":       unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder(),
		"UTF-16LE without a mark":    unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewEncoder(),
		"UTF-8, as it is, with CRLF": unicode.UTF8.NewEncoder(),
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			encoded, err := encoding.String(text)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(read(t, encoded)).To(Equal(read(t, text)))
		})
	}
}

func TestWrappings(t *testing.T) {
	object := v1(`"IPAddress":"10.0.0.5"`)
	for name, text := range map[string]string{
		"an object":                 object,
		"an array":                  "[" + object + "]",
		"indented":                  "\n\t  " + object,
		"HNS's answer":              `{"Success":true,"Output":[` + object + `]}`,
		"HNS's answer, one object":  `{"Success":true,"Output":` + object + `}`,
		"PowerShell's list":         `{"value":[` + object + `],"Count":1}`,
		"both":                      `{"Success":true,"Output":{"value":[` + object + `],"Count":1}}`,
		"after a prompt":            "PS C:\\> Get-HnsEndpoint | ConvertTo-Json\n" + object,
		"before a prompt":           object + "\n\nPS C:\\>",
		"in a row, as hnsdiag does": object + "\n" + object,
		"without a line between":    object + object,
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Expect(read(t, text)).To(Equal(read(t, object)))
		})
	}
}

// What the lists of hnsdiag -d print is one object after the other, of every kind.
func TestObjectsInARow(t *testing.T) {
	g := NewWithT(t)
	dump := read(t, `{
    "ID":"`+net+`", "Name":"l2", "Type":"L2Bridge", "LayeredOn":"", "CurrentEndpointCount":1
}
`+v1(`"IPAddress":"10.0.0.5"`, `"VirtualNetworkName":"l2"`)+`
{
    "ID":"`+idB+`", "CompartmentId":6, "ResourceList":[{"Type":"Endpoint","Data":{"Id":"`+idA+`"}}]
}
{"ID":"`+idC+`","Policies":[{"Type":"ELB","VIPs":["10.96.0.1",""],"Protocol":6,"InternalPort":443,"ExternalPort":443}],
 "References":["/endpoints/`+strings.ToUpper(idA)+`"]}
`)
	g.Expect(dump.Networks).To(Equal([]hns.Network{{ID: net, Name: "l2", Type: hns.NetworkL2Bridge}}))
	g.Expect(dump.Endpoints).To(HaveLen(1))
	g.Expect(dump.LoadBalancers).To(Equal([]hns.LoadBalancer{{
		ID:           idC,
		Endpoints:    []hns.EndpointID{idA},
		FrontendVIPs: addrs("10.96.0.1"),
		Ports:        []hns.PortMapping{{Protocol: 6, InternalPort: 443, ExternalPort: 443}},
	}}))
}

func TestEndpointV1(t *testing.T) {
	for name, tc := range map[string]struct {
		properties []string
		remote     bool
		attached   bool
		addresses  []string
		gap        recorded.Gap
	}{
		"bare": {},
		"no IsRemoteEndpoint is local": {
			properties: []string{`"IPAddress":"10.0.0.5"`},
			addresses:  []string{"10.0.0.5"},
		},
		"remote": {
			properties: []string{`"IsRemoteEndpoint":true`, `"State":1`},
			remote:     true,
		},
		"told to be local": {properties: []string{`"IsRemoteEndpoint":false`}},
		"null tells nothing": {
			properties: []string{`"IsRemoteEndpoint":null`, `"IPAddress":null`, `"State":null`},
		},
		"the flag alone is a contradiction": {properties: []string{`"Flags":1`}, gap: recorded.GapKind},
		"the flag and the property": {
			properties: []string{`"Flags":33`, `"IsRemoteEndpoint":true`},
			remote:     true,
		},
		"other flags":      {properties: []string{`"Flags":32`}},
		"an empty address": {properties: []string{`"IPAddress":""`}},
		"two families": {
			properties: []string{`"IPAddress":"10.0.0.5"`, `"IPv6Address":"FD00::5"`},
			addresses:  []string{"10.0.0.5", "fd00::5"},
		},
		"IPv6 alone": {properties: []string{`"IPv6Address":"fd00::5"`}, addresses: []string{"fd00::5"}},
		"keys in another case": {
			properties: []string{`"ipaddress":"10.0.0.5"`, `"isRemoteEndpoint":true`},
			remote:     true,
			addresses:  []string{"10.0.0.5"},
		},
		"state 0":            {properties: []string{`"State":0`}},
		"state 1":            {properties: []string{`"State":1`}},
		"state 2":            {properties: []string{`"State":2`}, attached: true},
		"state 3":            {properties: []string{`"State":3`}, attached: true},
		"state 4":            {properties: []string{`"State":4`}},
		"state 5":            {properties: []string{`"State":5`}},
		"a state unheard of": {properties: []string{`"State":7`}},
		"a state far off":    {properties: []string{`"State":4294967295`}},
		"containers":         {properties: []string{`"State":1`, `"SharedContainers":["a","b"]`}, attached: true},
		"no containers":      {properties: []string{`"State":1`, `"SharedContainers":[]`}},
		"a namespace": {
			properties: []string{`"State":1`, `"Namespace":{"ID":"` + idB + `"}`},
			attached:   true,
		},
		"the zero namespace": {properties: []string{`"Namespace":{"ID":"00000000-0000-0000-0000-000000000000"}`}},
		"an empty namespace": {properties: []string{`"Namespace":{"ID":""}`}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			e, gap := one(t, v1(tc.properties...))
			g.Expect(e.Remote()).To(Equal(tc.remote))
			g.Expect(e.Attached()).To(Equal(tc.attached))
			g.Expect(e.Addresses).To(Equal(addrs(tc.addresses...)))
			g.Expect(gap).To(Equal(tc.gap))
		})
	}
}

func TestEndpointV2(t *testing.T) {
	for name, tc := range map[string]struct {
		properties []string
		flags      hns.EndpointFlags
		attached   bool
		addresses  []string
	}{
		"bare":             {},
		"remote":           {properties: []string{`"Flags":1`}, flags: 1},
		"more than remote": {properties: []string{`"Flags":33`}, flags: 33},
		"other flags":      {properties: []string{`"Flags":32`}, flags: 32},
		"a namespace": {
			properties: []string{`"HostComputeNamespace":"` + strings.ToUpper(idB) + `"`},
			attached:   true,
		},
		"the zero namespace": {properties: []string{`"HostComputeNamespace":"00000000-0000-0000-0000-000000000000"`}},
		"an empty namespace": {properties: []string{`"HostComputeNamespace":""`}},
		"containers": {
			properties: []string{`"Health":{"Data":null,"Extra":{"SharedContainers":["a"]}}`},
			attached:   true,
		},
		"no health":    {properties: []string{`"Health":null`}},
		"no extra":     {properties: []string{`"Health":{"Extra":null}`}},
		"no addresses": {properties: []string{`"IpConfigurations":[]`}},
		"three addresses": {
			properties: []string{
				`"IpConfigurations":[{"IpAddress":"10.0.0.5"},{"IpAddress":"fd00::5","PrefixLength":64},{"IpAddress":"10.0.0.6"}]`,
			},
			addresses: []string{"10.0.0.5", "fd00::5", "10.0.0.6"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			e, gap := one(t, v2(tc.properties...))
			g.Expect(e.Flags).To(Equal(tc.flags))
			g.Expect(e.Attached()).To(Equal(tc.attached))
			g.Expect(e.Addresses).To(Equal(addrs(tc.addresses...)))
			g.Expect(gap).To(BeZero())
		})
	}
}

func TestHardwareAddresses(t *testing.T) {
	g := NewWithT(t)
	for _, spelling := range []string{"02-11-0A-F0-00-0B", "02:11:0a:f0:00:0b"} {
		e, gap := one(t, fmt.Sprintf(`{"ID":%q,"VirtualNetwork":%q,"MacAddress":%q}`, idA, net, spelling))
		g.Expect(e.MAC).To(Equal(mac("02-11-0a-f0-00-0b")))
		g.Expect(gap).To(BeZero())
	}
	for _, property := range []string{`"Name":"x"`, `"MacAddress":""`, `"MacAddress":null`} {
		e, gap := one(t, fmt.Sprintf(`{"ID":%q,"VirtualNetwork":%q,%s}`, idA, net, property))
		g.Expect(e.MAC).To(BeZero())
		g.Expect(gap).To(Equal(recorded.GapMAC))
	}
}

func TestNetworksThatEndpointsName(t *testing.T) {
	g := NewWithT(t)
	dump := read(t, v1(`"VirtualNetworkName":"azure"`, `"Type":"l2bridge"`))
	g.Expect(dump.Networks).To(Equal([]hns.Network{{ID: net, Name: "azure", Type: hns.NetworkL2Bridge}}))

	// A network's own record adds to it, wherever it stands.
	own := `{"ID":"` + strings.ToUpper(net) + `","Name":"azure",
 "Subnets":[{"AddressPrefix":"10.0.0.7/16"},{"AddressPrefix":""}]}`
	for _, text := range []string{own + v1(`"Type":"l2bridge"`), v1(`"Type":"l2bridge"`) + own} {
		dump = read(t, text)
		g.Expect(dump.Networks).To(HaveLen(1))
		g.Expect(dump.Networks[0].Type).To(Equal(hns.NetworkL2Bridge))
		g.Expect(dump.Networks[0].Subnets).To(HaveLen(1))
		g.Expect(dump.Networks[0].Subnets[0].String()).To(Equal("10.0.0.0/16"))
	}

	// A name alone identifies a network only through such a record, and only if it is the only one of its name.
	named := fmt.Sprintf(`{"ID":%q,"VirtualNetworkName":"azure"}`, idA)
	e, gap := one(t, named+own)
	g.Expect(e.Network).To(Equal(hns.NetworkID(net)))
	g.Expect(gap.Has(recorded.GapNetwork)).To(BeFalse())
	e, gap = one(t, named)
	g.Expect(e.Network).To(BeEmpty())
	g.Expect(gap.Has(recorded.GapNetwork)).To(BeTrue())
	e, gap = one(t, named+own+strings.Replace(own, strings.ToUpper(net), idB, 1))
	g.Expect(e.Network).To(BeEmpty())
	g.Expect(gap.Has(recorded.GapNetwork)).To(BeTrue())

	e, gap = one(t, fmt.Sprintf(`{"ID":%q,"VirtualNetwork":"00000000-0000-0000-0000-000000000000"}`, idA))
	g.Expect(e.Network).To(BeEmpty())
	g.Expect(gap.Has(recorded.GapNetwork)).To(BeTrue())
}

func TestOtherPolicyListsKeepTheirReferences(t *testing.T) {
	g := NewWithT(t)
	dump := read(t, fmt.Sprintf(`{"ID":%q,"Policies":[{"Type":"ROUTE"}],"References":["/endpoints/%s"]}`, idC, idA))
	g.Expect(dump.LoadBalancers).To(Equal([]hns.LoadBalancer{{ID: idC, Endpoints: []hns.EndpointID{idA}}}))
}

// Invariant 1: what is wrong is reported with its place, and the whole file with it.
func TestFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"nothing":     {"", []string{"dump:1:1: the file is empty", "hnsdiag list"}},
		"blank lines": {" \r\n\t\n", []string{"the file is empty"}},
		"another text": {
			"hello\nworld\n",
			[]string{`dump:1:1: not understood: "hello"`, "understood are Get-HnsEndpoint"},
		},
		"another text's lines": {"key: value\nkey: value\nb: c\n", []string{"dump:1:1: no HNS object"}},
		"another JSON object": {
			`{"kind":"Pod","apiVersion":"v1"}`,
			[]string{`dump:1:1: no HNS object`, `["kind" "apiVersion"]`},
		},
		"a list of texts": {`["a","b"]`, []string{"[0]: want an object", "[1]: want an object"}},
		"an empty list":   {"[\n\n]\n", []string{"dump:1:1: an empty list"}},
		"an empty answer": {`{"Success":true,"Output":[]}`, []string{"Output: an empty list"}},
		"no answer": {
			`{"Success":false,"Error":"Element not found. ","ErrorCode":2147943568}`,
			[]string{"HNS gave no result: Element not found."},
		},
		"an answer of nothing": {`{"Success":true}`, []string{"HNS gave no result: no reason given"}},
		"a count of one": {
			`{"value":` + v1() + `,"Count":2}`,
			[]string{"a list of 1 is said to have 2 elements"},
		},
		"a count that is off": {
			`{"value":[` + v1() + `],"Count":2}`,
			[]string{"a list of 1 is said to have 2 elements"},
		},
		"an answer of text":   {`{"Success":true,"Output":"x"}`, []string{`Output: want an object or a list, found "x"`}},
		"only namespaces":     {`{"ID":"` + idA + `","CompartmentId":1}`, []string{"only namespaces"}},
		"no JSON":             {"[\n  {\n    \"ID\": 'x'\n", []string{"dump:3:11: no valid JSON", `'\''`}},
		"cut in a list":       {"\n[" + v1() + ",\n" + v1(), []string{"dump:3:", "cut off", "begins in line 2"}},
		"cut in a text":       {`[{"ID":"aaaa`, []string{"dump:1:13: the file was cut off"}},
		"cut between objects": {"[" + v1() + ",", []string{"cut off"}},
		"text after JSON":     {v1() + "\noh", []string{`dump:2:1: not understood: "oh"`}},
		"text on JSON's line": {v1() + "]", []string{`not understood: "]"`}},

		"a bad address": {
			"[\n" + v1(`"IPAddress":"10.0.0.1"`) + ",\n" + v1("\n\n"+`"IPAddress": "10.0.0."`) + "]",
			[]string{"dump:5:14: [1].IPAddress of endpoint " + idA + ": parsing IP address", `"10.0.0."`},
		},
		"a bad address of V2": {
			v2(`"IpConfigurations":[{"IpAddress":"10.0.0.5"},{"IpAddress":"nine"}]`),
			[]string{"IpConfigurations[1].IpAddress of endpoint " + idA, `"nine"`},
		},
		"a bad ID": {
			`{"ID":"x","VirtualNetwork":"` + net + `"}`,
			[]string{`ID of endpoint x: parsing "x" as a GUID`},
		},
		"a property twice": {
			v1(`"IPAddress":"10.0.0.5"`, `"IpAddress":"10.0.0.6"`),
			[]string{"the property IpAddress occurs twice"},
		},
		"no ID":                  {`[{"VirtualNetwork":"` + net + `"}]`, []string{"dump:1:2: [0]: it has no ID"}},
		"an ID that is a number": {`{"ID":7,"IPAddress":"10.0.0.5"}`, []string{"ID: want a text, found 7"}},
		"a bad network":          {v2(`"HostComputeNetwork":"x"`), []string{"HostComputeNetwork of endpoint"}},
		"a bad namespace":        {v1(`"Namespace":{"ID":"x"}`), []string{"Namespace.ID of endpoint"}},
		"a bad hardware address": {
			v1(`"MacAddress":"02-11"`),
			[]string{"MacAddress of endpoint", "parsing hardware address"},
		},
		"a bad flag": {
			v1(`"IsRemoteEndpoint":"yes"`),
			[]string{`IsRemoteEndpoint of endpoint ` + idA + `: want true or false, found "yes"`},
		},
		"bad flags": {
			v2(`"Flags":-1`),
			[]string{"Flags of endpoint", "want a whole number below 2^32, found -1"},
		},
		"a bad state": {v1(`"State":"Attached"`), []string{"State of endpoint", "want a whole number"}},
		"containers of a kind": {
			v1(`"SharedContainers":{}`),
			[]string{"SharedContainers of endpoint", "want a list, found {}"},
		},
		"a network without an ID": {`{"LayeredOn":""}`, []string{"it has no ID"}},
		"a long value": {
			v1(`"IPAddress":[` + strings.Repeat(`"10.0.0.5",`, 20) + `""]`),
			[]string{"want a text", `"10.…`},
		},
		"a bad address range": {
			`{"ID":"` + net + `","Name":"n","Ipams":[{"Subnets":[{"IpAddressPrefix":"10.0.0.0"}]}]}`,
			[]string{"Ipams[0].Subnets[0].IpAddressPrefix of network " + net + ": parsing address range"},
		},
		"a bad reference": {
			`{"ID":"` + idC + `","References":["/networks/` + net + `","/endpoints/x"]}`,
			[]string{
				"References[0] of load balancer " + idC + `: "/networks/`,
				"References[1] of load balancer " + idC + ": parsing",
			},
		},
		"a bad backend": {
			`{"ID":"` + idC + `","HostComputeEndpoints":["x",""]}`,
			[]string{"HostComputeEndpoints[0]", "HostComputeEndpoints[1]"},
		},
		"a bad frontend": {`{"ID":"` + idC + `","FrontendVIPs":["x"]}`, []string{"FrontendVIPs[0]"}},
		"a bad port": {
			`{"ID":"` + idC + `","HostComputeEndpoints":[],"PortMappings":[{"Protocol":6,"InternalPort":65536}]}`,
			[]string{"PortMappings[0].InternalPort of load balancer " + idC + ": want a whole number below 2^16"},
		},

		// ConvertTo-Json goes two levels deep unless told otherwise.
		"cut off by depth, V2": {
			v2(`"IpConfigurations":["@{IpAddress=10.0.0.5; PrefixLength=24}"]`),
			[]string{"IpConfigurations[0] of endpoint " + idA, "want an object", "-Depth 20"},
		},
		"cut off by depth, containers": {
			v2(`"Health":{"Extra":"@{Resources=; SharedContainers=System.Object[]}"}`),
			[]string{"Health.Extra", "-Depth 20"},
		},
		"cut off by depth, V1":     {v1(`"Namespace":"@{ID=x}"`), []string{"Namespace of endpoint", "-Depth 20"}},
		"cut off by depth, a list": {v1(`"SharedContainers":"a b"`), []string{"want a list", "-Depth 20"}},
		"cut off by depth, policies": {
			`{"ID":"` + idC + `","References":[],"Policies":["@{Type=ELB}"]}`,
			[]string{"Policies[0]", "-Depth 20"},
		},

		"one endpoint, two addresses": {
			v1(`"IPAddress":"10.0.0.5"`) + "\n" + v1(`"IPAddress":"10.0.0.6"`),
			[]string{"dump:2:1", "differ in its addresses", "one node and one moment"},
		},
		"one network, two names": {
			v1(`"VirtualNetworkName":"a"`) + v1(`"VirtualNetworkName":"b"`), []string{`called both "a" and "b"`},
		},
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

// Invariant 1: all that is wrong is reported at once.
func TestAllFaultsAtOnce(t *testing.T) {
	g := NewWithT(t)
	_, err := recorded.Read("endpoint.txt", []byte(`[
 {"ID":"`+idA+`","VirtualNetwork":"`+net+`","IPAddress":"10.0.0.256","MacAddress":"zz"},
 {"ID":"`+idB+`","VirtualNetwork":"`+net+`","IPAddress":"10.0.0.5"},
 {"ID":"`+idC+`","VirtualNetwork":"`+net+`","IPAddress":5}
]`))
	g.Expect(err).To(HaveOccurred())
	lines := strings.Split(err.Error(), "\n")
	g.Expect(lines).To(HaveExactElements(
		HavePrefix("endpoint.txt:2:115: [0].IPAddress of endpoint "+idA+":"),
		HavePrefix("endpoint.txt:2:141: [0].MacAddress of endpoint "+idA+":"),
		HavePrefix("endpoint.txt:4:115: [2].IPAddress of endpoint "+idC+": want a text"),
	))
}

func TestEncodingFaultsNameTheFile(t *testing.T) {
	g := NewWithT(t)
	_, err := recorded.Read("dump", []byte("[\n\x81"))
	g.Expect(err).To(MatchError(ContainSubstring("reading dump: line 2, column 1")))
}
