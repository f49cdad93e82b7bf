// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// object is a JSON object of a file.
type hnsObject struct {
	raw []byte
	// at is the offset in the file.
	at int
	// properties are the names in lower case: V1 and V2 differ in spelling, and encoding/json ignores case too.
	properties map[string]bool
	// name is the kind and the ID, for messages.
	name string
}

func (o hnsObject) has(properties ...string) bool {
	return slices.ContainsFunc(properties, func(p string) bool { return o.properties[strings.ToLower(p)] })
}

// kind is a kind of HNS objects in one of the two representations.
type hnsKind struct {
	name string
	read func(*hnsReader, hnsObject)
	// marks are properties that tell the kind.
	marks []string
}

// kinds are tried in this order. Objects carry no type and properties overlap: a load balancer names its network as an
// endpoint does.
func hnsKinds() []hnsKind {
	return []hnsKind{
		{"load balancer", (*hnsReader).loadBalancerV2, []string{"HostComputeEndpoints", "PortMappings", "FrontendVIPs"}},
		{"policy list", (*hnsReader).policyList, []string{"References"}},
		{"endpoint", (*hnsReader).endpointV2, []string{"IpConfigurations", "HostComputeNamespace", "HostComputeNetwork"}},
		{"endpoint", (*hnsReader).endpointV1, []string{
			"VirtualNetwork", "VirtualNetworkName", "IsRemoteEndpoint", "IPSubnetId", "IPAddress",
		}},
		{"namespace", func(*hnsReader, hnsObject) {}, []string{"CompartmentId", "ResourceList", "NamespaceId", "IsDefault"}},
		{"network", (*hnsReader).network, []string{
			"Ipams", "MacPool", "Subnets", "MacPools", "LayeredOn", "CurrentEndpointCount", "MaxConcurrentEndpoints",
			"AddressPrefix",
		}},
	}
}

// readObject reads one HNS object of any kind.
func (r *hnsReader) readObject(raw []byte, at int) {
	if raw[0] != '{' {
		r.file.report(at, "want an HNS object, found %.40q", raw)
		return
	}
	o := r.list(raw, at)
	i := slices.IndexFunc(hnsKinds(), func(k hnsKind) bool { return o.has(k.marks...) })
	if i < 0 {
		r.file.report(at, "unknown object with the properties %.100s; %s",
			strings.Join(slices.Sorted(maps.Keys(o.properties)), ", "), howToRecordHNS)
		return
	}
	var id struct{ ID any }
	_ = json.Unmarshal(raw, &id)
	o.name = fmt.Sprintf("%s %v", hnsKinds()[i].name, cmp.Or(id.ID, "without ID"))
	r.ids[strings.ToLower(fmt.Sprint(id.ID))] = true
	hnsKinds()[i].read(r, o)
}

// list lists the properties of a valid JSON object and reports one that occurs twice.
func (r *hnsReader) list(raw []byte, at int) hnsObject {
	o := hnsObject{raw: raw, at: at, properties: map[string]bool{}}
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the brace
	for dec.More() {
		key, _ := dec.Token()
		var skipped json.RawMessage
		_ = dec.Decode(&skipped)
		property, _ := key.(string)
		if o.has(property) {
			r.file.report(at, "the property %s occurs twice in one object", property)
		}
		o.properties[strings.ToLower(property)] = true
	}
	return o
}

// decode reads an object into a struct. encoding/json reports the first value of a wrong type and reads the others.
func decodeHNS[T any](r *hnsReader, o hnsObject) T {
	var into T
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(o.raw, &into); errors.As(err, &wrong) {
		want := map[reflect.Kind]string{reflect.Struct: "object", reflect.Slice: "list"}[wrong.Type.Kind()]
		remedy := ""
		if wrong.Value == "string" && want != "" {
			remedy = "; ConvertTo-Json cut the value off, record it again with -Depth 10"
		}
		r.file.report(o.at+int(wrong.Offset)-1, "%s of %s: want %s, found %s%s",
			wrong.Field, o.name, cmp.Or(want, wrong.Type.Kind().String()), wrong.Value, remedy)
	}
	return into
}

// parse reads a string with one of package hns's parsers and reports one that it rejects.
func parse[T any](r *hnsReader, o hnsObject, property, text string, parser func(string) (T, error)) T {
	value, err := parser(strings.TrimSpace(text))
	if err != nil {
		r.file.report(o.at, "%s of %s: %v", property, o.name, err)
	}
	return value
}

// conflict reports that an object contradicts an earlier one of the same ID.
func (r *hnsReader) conflict(o hnsObject, err error) {
	if err != nil {
		r.file.report(o.at, "%v; %s", err, oneMoment)
	}
}
