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

// hnsObject is a JSON object of a file.
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

// hnsKind is a kind of HNS objects in one of the two representations.
type hnsKind struct {
	name string
	read func(*hnsReader, hnsObject)
	// marks are properties that tell the kind.
	marks []string
}

// hnsKinds are tried in this order. Objects carry no type and properties overlap: a load balancer names its network as
// an endpoint does.
func hnsKinds() []hnsKind {
	return []hnsKind{
		{"load balancer", (*hnsReader).loadBalancer, []string{"HostComputeEndpoints", "PortMappings", "FrontendVIPs"}},
		{"policy list", (*hnsReader).loadBalancer, []string{"References"}},
		{"endpoint", (*hnsReader).endpointV2, []string{"IpConfigurations", "HostComputeNamespace", "HostComputeNetwork"}},
		{"endpoint", (*hnsReader).endpointV1, []string{
			"VirtualNetwork", "VirtualNetworkName", "IsRemoteEndpoint", "IPSubnetId", "IPAddress",
		}},
		{"namespace", func(*hnsReader, hnsObject) {}, []string{"CompartmentId", "ResourceList", "NamespaceId", "IsDefault"}},
		{"port pool", func(*hnsReader, hnsObject) {}, []string{"Allocations"}},
		{"network", (*hnsReader).network, []string{
			"Ipams", "MacPool", "Subnets", "MacPools", "LayeredOn", "CurrentEndpointCount", "MaxConcurrentEndpoints",
			"AddressPrefix",
		}},
	}
}

// readObject reads one HNS object of any kind, or the objects in an envelope: Output of an answer of HNS itself, and
// value of a list in PowerShell.
func (r *hnsReader) readObject(raw []byte, at int, inEnvelope bool) {
	var envelope struct{ Output, Value part }
	_ = json.Unmarshal(raw, &envelope)
	for _, list := range []part{envelope.Output, envelope.Value} {
		if bytes.HasPrefix(list, []byte("[")) && !inEnvelope {
			at += bytes.Index(raw, list)
			for offset, object := range r.elements(list) {
				r.readObject(object, at+offset, true)
			}
			return
		}
	}
	r.empty = false
	var properties map[string]part
	switch {
	case oversized(raw):
		r.report(at, "an object of %d bytes: HNS has none of this size", len(raw))
		return
	case json.Unmarshal(raw, &properties) != nil || properties == nil:
		r.report(at, "want an HNS object, found %.40q", raw)
		return
	}
	o := hnsObject{raw: raw, at: at, properties: map[string]bool{}}
	for property := range properties {
		if o.has(property) {
			r.report(at, "the property %s occurs twice in one object, in different cases", strings.ToLower(property))
		}
		o.properties[strings.ToLower(property)] = true
	}
	i := slices.IndexFunc(hnsKinds(), func(k hnsKind) bool { return o.has(k.marks...) })
	switch {
	case o.has("apiVersion"):
		r.report(at, "this is a recording of the cluster, not of HNS: pass it with --cluster-dump")
	case i < 0:
		names := strings.Join(slices.Sorted(maps.Keys(properties)), ", ")
		r.report(at, "unknown object with the properties %.100s", names)
	default:
		var id struct{ ID any }
		_ = json.Unmarshal(raw, &id)
		o.name = fmt.Sprintf("%s %.100v", hnsKinds()[i].name, cmp.Or(id.ID, "without ID"))
		hnsKinds()[i].read(r, o)
	}
}

// decodeHNS reads an object into a struct. encoding/json reports the first value of a wrong type and reads the others.
func decodeHNS[T any](r *hnsReader, o hnsObject) T {
	var into T
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(o.raw, &into); errors.As(err, &wrong) {
		want := map[reflect.Kind]string{reflect.Struct: "object", reflect.Slice: "list"}[wrong.Type.Kind()]
		remedy, cut := "", wrong.Value == "string" && want != ""
		switch {
		case cut && r.cut: // one command cuts all objects of a file off
			return into
		case cut && o.has("PSComputerName", "RunspaceId"):
			remedy = "; the node sent objects, which cuts them off, instead of JSON; run: Invoke-Command -ComputerName NODE " +
				"{ Get-HnsEndpoint | ConvertTo-Json -Depth 10 } > endpoints.json"
		case cut:
			remedy = "; ConvertTo-Json cut the value off, record it again with -Depth 10"
		}
		r.report(o.at, "%s of %s: want %s, found %s%s",
			wrong.Field, o.name, cmp.Or(want, wrong.Type.Kind().String()), wrong.Value, remedy)
		r.cut = r.cut || cut
	}
	return into
}

// parse reads a string with one of package hns's parsers and reports one that it rejects.
func parse[T any](r *hnsReader, o hnsObject, property, text string, parser func(string) (T, error)) T {
	value, err := parser(strings.TrimSpace(text))
	if err != nil {
		r.report(o.at, "%s of %s: %v", property, o.name, err)
	}
	return value
}
