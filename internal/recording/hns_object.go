// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/hnsguard/hnsguard/internal/hns"
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
		{"network", (*hnsReader).network, []string{
			"Ipams", "MacPool", "Subnets", "MacPools", "LayeredOn", "CurrentEndpointCount", "MaxConcurrentEndpoints",
			"AddressPrefix",
		}},
	}
}

// readObject reads one HNS object of any kind.
func (r *hnsReader) readObject(raw []byte, at int) {
	var properties map[string]json.RawMessage
	switch {
	case len(raw) > maxObject:
		r.file.report(at, "an object of %d bytes: none of HNS is larger than %d MiB", len(raw), maxObject>>20)
		return
	case json.Unmarshal(raw, &properties) != nil || properties == nil:
		r.file.report(at, "want an HNS object, found %.40q", raw)
		return
	}
	for _, envelope := range []string{"Output", "value"} { // of an answer of HNS itself, and of lists in PowerShell
		if list, has := properties[envelope]; has && !r.inEnvelope && bytes.HasPrefix(list, []byte("[")) {
			r.readEnvelope(list, at+bytes.Index(raw, list))
			return
		}
	}
	o := hnsObject{raw: raw, at: at, properties: map[string]bool{}}
	for property := range properties {
		if o.has(property) {
			r.file.report(at, "the property %s occurs twice in one object, in different cases", strings.ToLower(property))
		}
		o.properties[strings.ToLower(property)] = true
	}
	var id struct{ ID any }
	_ = json.Unmarshal(raw, &id)
	i := slices.IndexFunc(hnsKinds(), func(k hnsKind) bool { return o.has(k.marks...) })
	if i < 0 {
		r.file.advice = howToRecordHNS
		names := slices.Sorted(maps.Keys(properties))
		r.file.report(at, "unknown object with the properties %.100s", strings.Join(names, ", "))
		return
	}
	o.name = fmt.Sprintf("%s %.100v", hnsKinds()[i].name, cmp.Or(id.ID, "without ID"))
	r.ids[strings.ToLower(fmt.Sprint(id.ID))] = true
	hnsKinds()[i].read(r, o)
}

// readEnvelope reads the list of objects that an object is the envelope of.
func (r *hnsReader) readEnvelope(list []byte, at int) {
	r.inEnvelope = true
	defer func() { r.inEnvelope = false }()
	dec := json.NewDecoder(bytes.NewReader(list))
	_, _ = dec.Token()
	// The list was read before, so that it is valid.
	_ = r.file.elements(dec, func(raw []byte, offset int) { r.readObject(raw, at+offset) })
}

// decodeHNS reads an object into a struct. encoding/json reports the first value of a wrong type and reads the others.
func decodeHNS[T any](r *hnsReader, o hnsObject) T {
	var into T
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(o.raw, &into); errors.As(err, &wrong) {
		want := map[reflect.Kind]string{reflect.Struct: "object", reflect.Slice: "list"}[wrong.Type.Kind()]
		remedy := ""
		switch cut := wrong.Value == "string" && want != ""; {
		case cut && o.has("PSComputerName", "RunspaceId"):
			remedy = "; Invoke-Command cut the value off, run ConvertTo-Json on the node, inside of its braces"
		case cut:
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

// keep accounts for an object that was kept, and reports that it contradicts an earlier one of its ID.
func (r *hnsReader) keep(o hnsObject, kept any, conflict error) {
	if r.file.keep(o.at, kept); conflict != nil {
		r.file.report(o.at, "%v; %s", conflict, oneMoment)
	}
}

// The V1 states of an endpoint that a container uses. Created (1) and Detached (4) say that none does; Uninitialized
// (0), Degraded (5), Destroyed (6) and unknown states say nothing.
const (
	stateAttached        = 2
	stateAttachedSharing = 3
)

// endpointV1 reads what Get-HnsEndpoint shows of an endpoint. The type is that of its network.
func (r *hnsReader) endpointV1(o hnsObject) {
	v := decodeHNS[struct {
		ID, Name, VirtualNetwork, VirtualNetworkName, Type string
		IPAddress, IPv6Address, MacAddress                 string
		IsRemoteEndpoint                                   bool
		Flags                                              hns.EndpointFlags
		State                                              uint32
		Namespace                                          struct{ ID string }
		SharedContainers                                   []json.RawMessage
	}](r, o)
	e := hns.Endpoint{
		ID:               parse(r, o, "ID", v.ID, hns.ParseID[hns.EndpointID]),
		Name:             v.Name,
		Network:          parse(r, o, "VirtualNetwork", v.VirtualNetwork, hns.ParseOptionalID[hns.NetworkID]),
		Namespace:        parse(r, o, "Namespace.ID", v.Namespace.ID, hns.ParseOptionalID[hns.NamespaceID]),
		Addresses:        append(r.addresses(o, "IPAddress", v.IPAddress), r.addresses(o, "IPv6Address", v.IPv6Address)...),
		MAC:              parse(r, o, "MacAddress", v.MacAddress, hns.ParseMAC),
		Flags:            v.Flags &^ hns.FlagRemote,
		SharedContainers: len(v.SharedContainers),
	}
	whole := o.has("State") && o.has("ActivityId", "EncapOverhead", "Resources", "Version")
	switch {
	case v.IsRemoteEndpoint:
		e.Flags |= hns.FlagRemote
	case v.Flags&hns.FlagRemote != 0: // the property and the flag contradict each other
		whole = false
	}
	if used := v.State == stateAttached || v.State == stateAttachedSharing; used && !e.Attached() {
		e.SharedContainers = 1
	}
	r.addEndpoint(o, e, whole, hns.Network{ID: e.Network, Name: v.VirtualNetworkName, Type: hns.ParseNetworkType(v.Type)})
}

// endpointV2 reads what hcn shows of an endpoint. Untranslated is not HNS's own: [writeEndpoints] writes it.
func (r *hnsReader) endpointV2(o hnsObject) {
	v := decodeHNS[struct {
		ID, Name, HostComputeNetwork, HostComputeNamespace, MacAddress, Untranslated string
		IPConfigurations                                                             []struct {
			IPAddress string `json:"IpAddress"`
		} `json:"IpConfigurations"`
		Flags  hns.EndpointFlags
		Health struct {
			Extra struct{ SharedContainers []json.RawMessage }
		}
	}](r, o)
	e := hns.Endpoint{
		ID:               parse(r, o, "ID", v.ID, hns.ParseID[hns.EndpointID]),
		Name:             v.Name,
		Network:          parse(r, o, "HostComputeNetwork", v.HostComputeNetwork, hns.ParseOptionalID[hns.NetworkID]),
		Namespace:        parse(r, o, "HostComputeNamespace", v.HostComputeNamespace, hns.ParseOptionalID[hns.NamespaceID]),
		MAC:              parse(r, o, "MacAddress", v.MacAddress, hns.ParseMAC),
		Flags:            v.Flags,
		SharedContainers: len(v.Health.Extra.SharedContainers),
		Untranslated:     v.Untranslated,
	}
	for _, ip := range v.IPConfigurations {
		e.Addresses = append(e.Addresses, r.addresses(o, "IpConfigurations.IpAddress", ip.IPAddress)...)
	}
	r.addEndpoint(o, e, o.has("SchemaVersion"), hns.Network{ID: e.Network})
}

// addEndpoint keeps an endpoint and the network that it is on.
func (r *hnsReader) addEndpoint(o hnsObject, e hns.Endpoint, whole bool, on hns.Network) {
	r.dump.EndpointsRecorded = true
	if e.Network != "" {
		r.keep(o, on, r.dump.addNetwork(on))
	}
	r.keep(o, e, r.dump.addEndpoint(e, missing(e, whole)))
}

// missing says what a verdict needs and the record lacks, or returns an empty string.
func missing(e hns.Endpoint, whole bool) string {
	switch {
	case e.Network == "":
		return "network"
	case !e.Remote() && !whole:
		return "local or remote"
	case e.Remote() && e.MAC == (hns.MAC{}):
		return "MAC address"
	case e.Remote() && !whole && len(e.Addresses) == 0:
		return "IP address"
	default:
		return ""
	}
}

// addresses reads an address. HNS writes an empty string for "none".
func (r *hnsReader) addresses(o hnsObject, property, text string) []netip.Addr {
	if text == "" {
		return nil
	}
	return []netip.Addr{parse(r, o, property, text, hns.ParseAddr)}
}

// network reads a network, of which V1 and V2 show the needed properties alike.
func (r *hnsReader) network(o hnsObject) {
	v := decodeHNS[struct{ ID, Name, Type string }](r, o)
	n := hns.Network{
		ID: parse(r, o, "ID", v.ID, hns.ParseID[hns.NetworkID]), Name: v.Name, Type: hns.ParseNetworkType(v.Type),
	}
	r.keep(o, n, r.dump.addNetwork(n))
}

// loadBalancer reads what hcn shows of a load balancer, and what Get-HnsPolicyList shows: what hcn calls a load
// balancer is a list with policies of type ELB. A list of other policies counts too: it refers to endpoints as well.
func (r *hnsReader) loadBalancer(o hnsObject) {
	v := decodeHNS[struct {
		ID                               string
		HostComputeEndpoints, References []string
	}](r, o)
	lb := hns.LoadBalancer{ID: parse(r, o, "ID", v.ID, hns.ParseID[hns.LoadBalancerID])}
	for _, id := range v.HostComputeEndpoints {
		lb.Endpoints = append(lb.Endpoints, parse(r, o, "HostComputeEndpoints", id, hns.ParseID[hns.EndpointID]))
	}
	for _, path := range v.References {
		lb.Endpoints = append(lb.Endpoints, parse(r, o, "References", path, endpointOf))
	}
	r.dump.LoadBalancersRecorded = true
	r.keep(o, lb, r.dump.addLoadBalancer(lb))
}

// endpointOf is the endpoint to which a policy list refers.
func endpointOf(reference string) (hns.EndpointID, error) {
	const prefix = "/endpoints/"
	if len(reference) < len(prefix) || !strings.EqualFold(reference[:len(prefix)], prefix) {
		return "", fmt.Errorf("%q does not refer to an endpoint: want %s<ID>", reference, prefix)
	}
	return hns.ParseID[hns.EndpointID](reference[len(prefix):])
}
