// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"golang.org/x/text/encoding/unicode"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
)

const (
	idA = "aaaaaaaa-0000-4000-8000-000000000001"
	idB = "bbbbbbbb-0000-4000-8000-000000000002"
	idC = "cccccccc-0000-4000-8000-000000000003"
	net = "dddddddd-0000-4000-8000-000000000004"
)

func readHNS(t *testing.T, text string) recording.HNS {
	t.Helper()
	dump, err := recording.ReadHNS(file("dump", []byte(text)))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return dump
}

func file(name string, data []byte) recording.File { return recording.File{Name: name, Data: data} }

// one reads a dump of a single endpoint, and returns what its record lacks too.
func one(t *testing.T, text string) (hns.Endpoint, string) {
	t.Helper()
	dump := readHNS(t, text)
	NewWithT(t).Expect(dump.Endpoints).To(HaveLen(1))
	return dump.Endpoints[0], dump.Incomplete[dump.Endpoints[0].ID]
}

// v1 is a whole V1 endpoint with the given further properties.
func v1(properties ...string) string {
	return hnsObject(`"VirtualNetwork":"`+net+`"`, properties, `"State":1`, `"Version":64424509440`)
}

// v2 is a whole V2 endpoint with the given further properties.
func v2(properties ...string) string {
	return hnsObject(`"HostComputeNetwork":"`+net+`"`, properties, `"SchemaVersion":{"Major":2,"Minor":0}`)
}

// hnsObject has the given properties, and the usual ones unless they are among them.
func hnsObject(network string, properties []string, usual ...string) string {
	all := properties
	usual = append(usual, `"ID":"`+idA+`"`, network, `"MacAddress":"00-15-5d-00-00-01"`)
	slices.Reverse(usual)
	for _, property := range usual {
		key := property[:strings.Index(property, ":")+1]
		if !slices.ContainsFunc(properties, func(p string) bool { return strings.HasPrefix(p, key) }) {
			all = append([]string{property}, all...)
		}
	}
	return "{" + strings.Join(all, ",") + "}"
}

func TestEncodingsOfHNS(t *testing.T) {
	text := "[\r\n" + v1(`"IPAddress":"10.0.0.5"`) + "\r\n]\r\n"
	for name, encoding := range map[string]interface{ String(string) (string, error) }{
		"UTF-8 with a mark":          unicode.UTF8BOM.NewEncoder(),
		"UTF-16LE with a mark":       unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder(),
		"UTF-16BE with a mark":       unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder(),
		"UTF-8, as it is, with CRLF": unicode.UTF8.NewEncoder(),
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			encoded, err := encoding.String(text)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(readHNS(t, encoded)).To(Equal(readHNS(t, text)))
		})
	}
}

func TestJSONInText(t *testing.T) {
	object := v1(`"IPAddress":"10.0.0.5"`)
	for name, text := range map[string]string{
		"an object":                 object,
		"an array":                  "[" + object + "]",
		"indented":                  "\n\t  " + object,
		"after a prompt":            "PS C:\\> Get-HnsEndpoint | ? ID -eq " + idA + " | ConvertTo-Json\n" + object,
		"in HNS' own answer":        `{"Output":[` + object + `],"Success":true}`,
		"as PowerShell's list":      `{"value": [` + object + `], "Count": 1}`,
		"before a prompt":           object + "\n\nPS C:\\>",
		"in a row, as hnsdiag does": "Endpoints:\n" + object + "\n" + object,
		"without a line between":    object + object,
		"below its summary": "Name ID                                   IPAddress\n---- --                                   -------\n" +
			"x    " + strings.ToUpper(idA) + " 10.0.0.5\n\n[" + object + "]",
		"in a log": "[Microsoft Windows]\r\n[1] {x} [ y ]\n{}\n[2024-01-01 10:00] interface " + idC + "\n" +
			"   IPv4 Address : 10.9.9.9\n" + object + "\n\n# end of " + idC + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(readHNS(t, text)).To(Equal(readHNS(t, object)))
		})
	}
}

// hnsdiag -d prints one object after the other, of every kind.
func TestObjectsInARow(t *testing.T) {
	g := NewWithT(t)
	dump := readHNS(t, `{
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
		ID: idC, Endpoints: []hns.EndpointID{idA}, FrontendVIPs: addrs("10.96.0.1"),
		Ports: []hns.PortMapping{{Protocol: 6, InternalPort: 443, ExternalPort: 443}},
	}}))
}

func TestEndpointV1(t *testing.T) {
	for name, tc := range map[string]struct {
		properties []string
		remote     bool
		attached   bool
		addresses  []string
		missing    string
	}{
		"bare": {},
		"no IsRemoteEndpoint is local": {
			properties: []string{`"IPAddress":"10.0.0.5"`},
			addresses:  []string{"10.0.0.5"},
		},
		"remote":                            {properties: []string{`"IsRemoteEndpoint":true`}, remote: true},
		"local by its own words":            {properties: []string{`"IsRemoteEndpoint":false`}},
		"null says nothing":                 {properties: []string{`"IsRemoteEndpoint":null`, `"IPAddress":null`, `"State":null`}},
		"the flag alone is a contradiction": {properties: []string{`"Flags":1`}, missing: "local or remote"},
		"the flag against the property": {
			properties: []string{`"Flags":1`, `"IsRemoteEndpoint":false`},
			missing:    "local or remote",
		},
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
		"state 0":          {properties: []string{`"State":0`}},
		"state 2":          {properties: []string{`"State":2`}, attached: true},
		"state 3":          {properties: []string{`"State":3`}, attached: true},
		"state 4":          {properties: []string{`"State":4`}},
		"state 5":          {properties: []string{`"State":5`}},
		"an unknown state": {properties: []string{`"State":7`}},
		"a state far off":  {properties: []string{`"State":4294967295`}},
		"containers":       {properties: []string{`"SharedContainers":["a","b"]`}, attached: true},
		"no containers":    {properties: []string{`"SharedContainers":[]`}},
		"a namespace":      {properties: []string{`"Namespace":{"ID":"` + idB + `"}`}, attached: true},
		"the zero namespace": {
			properties: []string{`"Namespace":{"ID":"00000000-0000-0000-0000-000000000000"}`},
		},
		"an empty namespace": {properties: []string{`"Namespace":{"ID":""}`}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			e, missing := one(t, v1(tc.properties...))
			g.Expect(e.Remote()).To(Equal(tc.remote))
			g.Expect(e.Attached()).To(Equal(tc.attached))
			g.Expect(e.Addresses).To(Equal(addrs(tc.addresses...)))
			g.Expect(missing).To(Equal(tc.missing))
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
			e, missing := one(t, v2(tc.properties...))
			g.Expect(e.Flags).To(Equal(tc.flags))
			g.Expect(e.Attached()).To(Equal(tc.attached))
			g.Expect(e.Addresses).To(Equal(addrs(tc.addresses...)))
			g.Expect(missing).To(BeEmpty())
		})
	}
}

// Invariant 2: what Select-Object dropped is not absent.
func TestIncompleteRecords(t *testing.T) {
	const remote = `"IsRemoteEndpoint":true,"IPAddress":"10.0.0.5","MacAddress":"02-11-0a-00-00-05","VirtualNetwork":"` + net + `"`
	for properties, want := range map[string]string{
		remote: "",
		`"VirtualNetwork":"` + net + `","IPAddress":"10.0.0.5","MacAddress":"02-11-0a-00-00-05"`:              "local or remote",
		`"VirtualNetwork":"` + net + `","IPAddress":"10.0.0.5","State":3`:                                     "local or remote",
		`"VirtualNetwork":"` + net + `","IPAddress":"10.0.0.5","IsRemoteEndpoint":null`:                       "local or remote",
		`"VirtualNetwork":"` + net + `","IsRemoteEndpoint":true,"IPAddress":"10.0.0.5"`:                       "MAC address",
		`"VirtualNetwork":"` + net + `","IsRemoteEndpoint":true,"MacAddress":""`:                              "MAC address",
		`"VirtualNetwork":"` + net + `","IsRemoteEndpoint":true,"MacAddress":"02-11-0a-00-00-05"`:             "IP address",
		`"VirtualNetworkName":"azure","IsRemoteEndpoint":true,"IPAddress":"10.0.0.5"`:                         "network",
		`"VirtualNetwork":"00000000-0000-0000-0000-000000000000","IPAddress":"10.0.0.5"`:                      "network",
		`"HostComputeNetwork":"` + net + `","IpConfigurations":[{"IpAddress":"10.0.0.5"}]`:                    "local or remote",
		`"HostComputeNetwork":"` + net + `","IpConfigurations":[{"IpAddress":"10.0.0.5"}],"Flags":0`:          "local or remote",
		`"HostComputeNetwork":"` + net + `","IpConfigurations":[{"IpAddress":"10.0.0.5"}],"SchemaVersion":{}`: "",
		`"HostComputeNetwork":"` + net + `","MacAddress":"02-11-0a-00-00-05","Flags":1`:                       "IP address",
		`"HostComputeNetwork":"` + net + `","IpConfigurations":[{"IpAddress":"10.0.0.5"}],"Flags":1`:          "MAC address",
	} {
		t.Run(properties, func(t *testing.T) {
			_, missing := one(t, `{"ID":"`+idA+`",`+properties+`}`)
			NewWithT(t).Expect(missing).To(Equal(want))
		})
	}
}

func TestHardwareAddresses(t *testing.T) {
	g := NewWithT(t)
	for _, spelling := range []string{"02-11-0A-F0-00-0B", "02:11:0a:f0:00:0b"} {
		e, _ := one(t, v1(fmt.Sprintf(`"MacAddress":%q`, spelling)))
		g.Expect(e.MAC).To(Equal(mac("02-11-0a-f0-00-0b")))
	}
	e, missing := one(t, v1(`"MacAddress":""`))
	g.Expect(e.MAC).To(BeZero())
	g.Expect(missing).To(BeEmpty(), "a whole record of a local endpoint")
}

func TestNetworksThatEndpointsName(t *testing.T) {
	g := NewWithT(t)
	dump := readHNS(t, v1(`"VirtualNetworkName":"azure"`, `"Type":"l2bridge"`))
	g.Expect(dump.Networks).To(Equal([]hns.Network{{ID: net, Name: "azure", Type: hns.NetworkL2Bridge}}))

	// A network's own record adds to it, wherever it stands.
	own := `{"ID":"` + strings.ToUpper(net) + `","Name":"azure","Subnets":[{"AddressPrefix":"10.0.0.7/16"}]}`
	for _, text := range []string{own + v1(`"Type":"l2bridge"`), v1(`"Type":"l2bridge"`) + own} {
		dump = readHNS(t, text)
		g.Expect(dump.Networks).To(Equal([]hns.Network{{ID: net, Name: "azure", Type: hns.NetworkL2Bridge}}))
	}
	g.Expect(readHNS(t, v2()+own).Networks).To(Equal([]hns.Network{{ID: net, Name: "azure"}}))
}

func TestOtherPolicyListsKeepTheirReferences(t *testing.T) {
	dump := readHNS(t, fmt.Sprintf(`{"ID":%q,"Policies":[{"Type":"ROUTE"}],"References":["/endpoints/%s"]}`, idC, idA))
	NewWithT(t).Expect(dump.LoadBalancers).To(Equal([]hns.LoadBalancer{{ID: idC, Endpoints: []hns.EndpointID{idA}}}))
}

// Invariant 1: what is wrong is reported with its place, and the whole file is refused.
func TestHNSFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"nothing":      {"", []string{"dump:1:1: the file is empty", "-Depth 10"}},
		"blank lines":  {" \r\n\t\n", []string{"the file is empty"}},
		"another text": {"hello\nworld\n", []string{"dump:1:1: found no HNS object in JSON", "Get-HnsEndpoint | ConvertTo-Json"}},
		"braces in text": {
			"Policies : {@{Type=L2Driver}}\n           {VfpOperationTime: 0}\n",
			[]string{"found no HNS object in JSON"},
		},
		"another JSON object": {
			`{"kind":"Pod","apiVersion":"v1"}`,
			[]string{"dump:1:1: this is a recording of the cluster, not of HNS: pass it with --cluster-dump"},
		},
		"an empty object":  {"{}", []string{"dump:1:1: found no HNS object", "Get-HnsEndpoint | ConvertTo-Json"}},
		"an answer of HNS": {`{"Success":false,"Error":"Element not found."}`, []string{"unknown object"}},
		"a list of texts": {
			"[\"a\",\n\"b\"]",
			[]string{`dump:1:2: want an HNS object, found "\"a\""`, "dump:2:1: want an HNS object"},
		},
		"a list in a list":    {"[[" + v1() + "]]", []string{"dump:1:2: want an HNS object"}},
		"no JSON":             {"[\n  {\n    \"ID\": 'x'\n", []string{"dump:3:11: invalid JSON", `'\''`}},
		"no comma":            {"[" + v1() + "\n" + v1() + "]", []string{"dump:2:1: invalid JSON"}},
		"cut in a list":       {"\n[" + v1() + ",\n" + v1(), []string{"dump:3:", "truncated", "begins in line 2"}},
		"cut in a text":       {`[{"ID":"aaaa`, []string{"dump:1:13: the file is truncated"}},
		"cut between objects": {"[" + v1() + ",", []string{"truncated"}},
		"cut after an object": {"[" + v1(), []string{"truncated"}},
		"cut after a bracket": {"x\n[{", []string{"dump:2:3: the file is truncated"}},
		"cut at a bracket":    {"x\n[", []string{"no HNS object in JSON"}},
		"cut in an object":    {"{\"ID\":", []string{"truncated"}},
		"cut in a later value": {
			v1() + "\n[\n" + v2(),
			[]string{"dump:3:", "truncated", "begins in line 2"},
		},
		"no beginning": {
			"        \"State\":  1,\n        \"Name\":  \"x\"\n    },\n" + v1() + "\n]\n",
			[]string{"dump:1:1: found", "beginning of the file is missing"},
		},
		"no beginning of a list": {"  " + v1() + ",\n  " + v1() + "\n]", []string{"beginning of the file is missing"}},
		"an end too many":        {v1() + "]", []string{"dump:1:", `found "]" outside of any JSON value`}},
		"a bad address": {
			"[\n" + v1(`"IPAddress":"10.0.0.1"`) + ",\n" + v1(`"ID":"`+idB+`"`, `"IPAddress": "10.0.0."`) + "]",
			[]string{"dump:3:1: IPAddress of endpoint " + idB + ": parsing IP address", `"10.0.0."`},
		},
		"a bad address of V2": {
			v2(`"IpConfigurations":[{"IpAddress":"10.0.0.5"},{"IpAddress":"nine"}]`),
			[]string{"IPAddress of endpoint " + idA, `"nine"`},
		},
		"a bad ID": {
			`{"ID":"x","VirtualNetwork":"` + net + `"}`,
			[]string{`ID of endpoint x: parsing "x" as a GUID`},
		},
		"a property twice": {
			v1(`"IPAddress":"10.0.0.5"`, `"IpAddress":"10.0.0.6"`),
			[]string{"the property ipaddress occurs twice"},
		},
		"no ID":                  {`[{"VirtualNetwork":"` + net + `"}]`, []string{"dump:1:2: ID of endpoint without ID"}},
		"an ID that is a number": {`{"ID":7,"IPAddress":"10.0.0.5"}`, []string{"ID of endpoint 7: want string, found number"}},
		"an ID that is a list":   {`{"ID":[{}],"IPAddress":"10.0.0.5"}`, []string{"ID of endpoint", "want string, found array"}},
		"a bad network":          {v2(`"HostComputeNetwork":"x"`), []string{"network of endpoint"}},
		"a bad namespace":        {v1(`"Namespace":{"ID":"x"}`), []string{"namespace of endpoint"}},
		"a bad hardware address": {
			v1(`"MacAddress":"02-11"`),
			[]string{"MacAddress of endpoint", "parsing hardware address"},
		},
		"a bad flag": {
			v1(`"IsRemoteEndpoint":"yes"`),
			[]string{"IsRemoteEndpoint of endpoint " + idA + ": want bool, found string"},
		},
		"bad flags":               {v2(`"Flags":-1`), []string{"Flags of endpoint", "want uint32, found number -1"}},
		"a bad state":             {v1(`"State":"Attached"`), []string{"State of endpoint", "want uint32, found string"}},
		"containers of a kind":    {v1(`"SharedContainers":{}`), []string{"SharedContainers of endpoint", "want list, found object"}},
		"a network without an ID": {`{"LayeredOn":""}`, []string{"ID of network without ID"}},
		"a bad reference": {
			`{"ID":"` + idC + `","References":["/networks/` + net + `","/endpoints/x"]}`,
			[]string{
				"References of policy list " + idC + `: "/networks/`,
				"References of policy list " + idC + ": parsing",
			},
		},
		"a bad backend": {
			`{"ID":"` + idC + `","HostComputeEndpoints":["x",""]}`,
			[]string{`HostComputeEndpoints of load balancer ` + idC + `: parsing "x"`, `parsing ""`},
		},

		// Without -Depth ConvertTo-Json goes two levels deep.
		"cut off by depth, V2": {
			v2(`"IpConfigurations":["@{IpAddress=10.0.0.5; PrefixLength=24}"]`),
			[]string{"IpConfigurations of endpoint " + idA + ": want object, found string", "with -Depth 10"},
		},
		"cut off by depth, containers": {
			v2(`"Health":{"Extra":"@{Resources=; SharedContainers=System.Object[]}"}`),
			[]string{"Health.Extra of endpoint", "-Depth 10"},
		},
		"cut off by depth, V1":     {v1(`"Namespace":"@{ID=x}"`), []string{"Namespace of endpoint", "-Depth 10"}},
		"cut off by depth, a list": {v1(`"SharedContainers":"a b"`), []string{"want list", "-Depth 10"}},

		"one endpoint, two addresses": {
			v1(`"IPAddress":"10.0.0.5"`) + "\n" + v1(`"IPAddress":"10.0.0.6"`),
			[]string{"dump:2:1: endpoint " + idA + " occurs twice, with different content", "at one moment"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			dump, err := recording.ReadHNS(file("dump", []byte(tc.text)))
			g.Expect(err).To(HaveOccurred())
			g.Expect(dump).To(BeZero())
			for _, want := range tc.want {
				g.Expect(err.Error()).To(ContainSubstring(want))
			}
		})
	}
}

// Invariant 1: no beginning of a file passes for the whole.
func TestEveryTruncationOfHNSIsRefused(t *testing.T) {
	whole := "IPAddress\n---------\n10.0.0.5\n\n[" + v1(`"IPAddress":"10.0.0.5"`) + ",\n" +
		v2(`"ID":"`+idB+`"`, `"IpConfigurations":[{"IpAddress":"10.0.0.6"}]`) + "]\n"
	for n := range len(whole) - 1 { // the last byte is a line end
		_, err := recording.ReadHNS(file("dump", []byte(whole[:n])))
		if err == nil {
			t.Fatalf("read without an error: %q", whole[:n])
		}
		if begun := n > strings.Index(whole, `[{"`)+2; begun && !strings.Contains(err.Error(), "the file is truncated") {
			t.Fatalf("not called truncated: %v", err)
		}
	}
	readHNS(t, whole)
}

// Invariant 1: all that is wrong is reported at once.
func TestAllHNSFaultsAtOnce(t *testing.T) {
	g := NewWithT(t)
	_, err := recording.ReadHNS(file("endpoint.txt", []byte(`[
 {"ID":"`+idA+`","VirtualNetwork":"`+net+`","IPAddress":"10.0.0.256","MacAddress":"zz"},
 {"ID":"`+idB+`","VirtualNetwork":"`+net+`","IPAddress":"10.0.0.5"},
 {"ID":"`+idC+`","VirtualNetwork":"`+net+`","IPAddress":5,
  "MacAddress":"zz"}]`)))
	g.Expect(err).To(HaveOccurred())
	g.Expect(strings.Split(err.Error(), "\n")).To(HaveExactElements(
		HavePrefix("endpoint.txt:2:2: MacAddress of endpoint "+idA+":"),
		HavePrefix("endpoint.txt:2:2: IPAddress of endpoint "+idA+":"),
		HavePrefix("endpoint.txt:4:2: IPAddress of endpoint "+idC+": want string, found number"),
		HavePrefix("endpoint.txt:4:2: MacAddress of endpoint "+idC+":"),
		HavePrefix("Record JSON on the node"), HavePrefix("  Get-HnsEndpoint"), HavePrefix("  Get-"), HavePrefix("  Get-"),
	))
}

// Invariant 2: PowerShell writes nothing for nothing, and the name of the file says of what.
func TestNothingIsRecorded(t *testing.T) {
	networks := file("networks.json", []byte(`{"ID":"`+net+`","Name":"azure","Type":"L2Bridge","Subnets":[]}`))
	for name, tc := range map[string]struct {
		file                 recording.File
		endpoints, balancers bool
	}{
		"an empty file of endpoints":   {file(`C:\k\Endpoints.json`, []byte("\r\n")), true, false},
		"an empty list of endpoints":   {file("hns/endpoint.txt", []byte("[]")), true, false},
		"an envelope of no endpoints":  {file("endpoints.json", []byte(`{"Output":[],"Success":true}`)), true, false},
		"no policies":                  {file("policies.json", nil), false, true},
		"no load balancers":            {file("loadbalancers.json", []byte("[]")), false, true},
		"a folder of endpoints":        {file("endpoints/policy.txt", nil), false, true},
		"no networks":                  {file("networks2.json", nil), false, false},
		"a list of nothing in general": {file("dump.json", []byte("[]")), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			dump, err := recording.ReadHNS(tc.file, networks)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(dump.EndpointsRecorded).To(Equal(tc.endpoints))
			g.Expect(dump.LoadBalancersRecorded).To(Equal(tc.balancers))
			alone, err := recording.ReadHNS(tc.file)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(alone.EndpointsRecorded).To(BeFalse(), "the command may have failed")
		})
	}
	_, err := recording.ReadHNS(file("dump.json", nil), networks)
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring("name it endpoints.json or policies.json")))
}

// Invariant 2: what says nothing of endpoints is no fault, and does not say that there are none.
func TestFilesWithoutEndpointsSayNothingOfThem(t *testing.T) {
	for _, text := range []string{"[\n\n]\n", `{"ID":"` + idA + `","CompartmentId":1}`} {
		NewWithT(t).Expect(readHNS(t, text)).To(Equal(recording.HNS{Incomplete: map[hns.EndpointID]string{}}), text)
	}
}

func TestEncodingFaultsOfHNSNameTheFile(t *testing.T) {
	_, err := recording.ReadHNS(file("dump", []byte("[\n\x81")))
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring("dump:2:1: the file is not text")))
}
