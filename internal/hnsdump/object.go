// SPDX-License-Identifier: Apache-2.0

package hnsdump

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
type object struct {
	raw []byte
	// at is the offset in the file.
	at int
	// properties are the names in lower case: V1 and V2 differ in spelling, and encoding/json ignores case too.
	properties map[string]bool
	// name is the kind and the ID, for messages.
	name string
}

func (o object) has(properties ...string) bool {
	return slices.ContainsFunc(properties, func(p string) bool { return o.properties[strings.ToLower(p)] })
}

// kind is a kind of HNS objects in one of the two representations.
type kind struct {
	name string
	read func(*reader, object)
	// marks are properties that tell the kind.
	marks []string
}

// kinds are tried in this order. Objects carry no type and properties overlap: a load balancer names its network as an
// endpoint does.
func kinds() []kind {
	return []kind{
		{"load balancer", (*reader).loadBalancerV2, []string{"HostComputeEndpoints", "PortMappings", "FrontendVIPs"}},
		{"policy list", (*reader).policyList, []string{"References"}},
		{"endpoint", (*reader).endpointV2, []string{"IpConfigurations", "HostComputeNamespace", "HostComputeNetwork"}},
		{"endpoint", (*reader).endpointV1, []string{
			"VirtualNetwork", "VirtualNetworkName", "IsRemoteEndpoint", "IPSubnetId", "IPAddress",
		}},
		{"namespace", func(*reader, object) {}, []string{"CompartmentId", "ResourceList", "NamespaceId", "IsDefault"}},
		{"network", (*reader).network, []string{
			"Ipams", "MacPool", "Subnets", "MacPools", "LayeredOn", "CurrentEndpointCount", "MaxConcurrentEndpoints",
			"AddressPrefix",
		}},
	}
}

// readObject reads one HNS object of any kind.
func (r *reader) readObject(raw []byte, at int) {
	if raw[0] != '{' {
		r.file.Report(at, "want an HNS object, found %.40q", raw)
		return
	}
	o := r.list(raw, at)
	i := slices.IndexFunc(kinds(), func(k kind) bool { return o.has(k.marks...) })
	if i < 0 {
		r.file.Report(at, "unknown object with the properties %.100s; %s",
			strings.Join(slices.Sorted(maps.Keys(o.properties)), ", "), howToRecord)
		return
	}
	var id struct{ ID any }
	_ = json.Unmarshal(raw, &id)
	o.name = fmt.Sprintf("%s %v", kinds()[i].name, cmp.Or(id.ID, "without ID"))
	r.ids[strings.ToLower(fmt.Sprint(id.ID))] = true
	kinds()[i].read(r, o)
}

// list lists the properties of a valid JSON object and reports one that occurs twice.
func (r *reader) list(raw []byte, at int) object {
	o := object{raw: raw, at: at, properties: map[string]bool{}}
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the brace
	for dec.More() {
		key, _ := dec.Token()
		var skipped json.RawMessage
		_ = dec.Decode(&skipped)
		property, _ := key.(string)
		if o.has(property) {
			r.file.Report(at, "the property %s occurs twice in one object", property)
		}
		o.properties[strings.ToLower(property)] = true
	}
	return o
}

// decode reads an object into a struct. encoding/json reports the first value of a wrong type and reads the others.
func decode[T any](r *reader, o object) T {
	var into T
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(o.raw, &into); errors.As(err, &wrong) {
		want := map[reflect.Kind]string{reflect.Struct: "object", reflect.Slice: "list"}[wrong.Type.Kind()]
		remedy := ""
		if wrong.Value == "string" && want != "" {
			remedy = "; ConvertTo-Json cut the value off, record it again with -Depth 10"
		}
		r.file.Report(o.at+int(wrong.Offset)-1, "%s of %s: want %s, found %s%s",
			wrong.Field, o.name, cmp.Or(want, wrong.Type.Kind().String()), wrong.Value, remedy)
	}
	return into
}

// parse reads a string with one of package hns's parsers and reports one that it rejects.
func parse[T any](r *reader, o object, property, text string, parser func(string) (T, error)) T {
	value, err := parser(strings.TrimSpace(text))
	if err != nil {
		r.file.Report(o.at, "%s of %s: %v", property, o.name, err)
	}
	return value
}

// conflict reports that an object contradicts an earlier one of the same ID.
func (r *reader) conflict(o object, err error) {
	if err != nil {
		r.file.Report(o.at, "%v; %s", err, oneMoment)
	}
}
