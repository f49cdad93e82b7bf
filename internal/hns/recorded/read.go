// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/textencoding"
)

// formats names what can be read, for messages about files that are none of it.
const formats = "understood are Get-HnsEndpoint, Get-HnsNetwork, Get-HnsPolicyList and Get-HnsLoadBalancer " +
	"| ConvertTo-Json -Depth 20 (V1 and V2), hnsdiag list all, endpoints, networks or loadbalancers, with or " +
	"without -d, Get-HnsEndpoint | Format-List or Format-Table, and endpoint.txt, network.txt and policy.txt of " +
	"collectlogs.ps1"

// Read reads one file, whose format it finds from the content. The name is used in errors.
func Read(name string, data []byte) (Dump, error) {
	text, err := textencoding.Decode(data)
	if err != nil {
		return Dump{}, fmt.Errorf("reading %s: %w", name, err)
	}
	r := &reader{
		faults: &faults{source: source{name: name, text: text}},
		inJSON: map[string]map[string]bool{},
	}
	if strings.TrimSpace(text) == "" {
		r.faults.add(place{}, "leave the file out if there was nothing to record", "the file is empty: %s", formats)
		return Dump{}, r.faults.err()
	}
	r.readSections(text)
	r.readTextRecords()
	return r.dump()
}

// reader gathers what one file says. Objects wait here until the whole file is read, because a table may name a network
// that only a later part identifies.
type reader struct {
	faults *faults

	networks      []located[hns.Network]
	endpoints     []located[endpointFacts]
	loadBalancers []located[hns.LoadBalancer]
	// namespaces tells for endpoints that hnsdiag lists under a namespace which one that is.
	namespaces map[hns.EndpointID]hns.NamespaceID

	textRecords []textRecord
	summaries   []summary
	// inJSON holds the IDs of the objects that the file has as JSON, in lower case and by the noun of their kind.
	inJSON map[string]map[string]bool

	// strange says that something unknown was found and the formats explained; once is enough.
	strange bool
	// passedOver says that the file holds namespaces, and endpointsSeen and loadBalancersSeen that it speaks of these
	// kinds at all, be it only to say that there are none.
	passedOver, endpointsSeen, loadBalancersSeen bool
}

// located is an object with the place of its record.
type located[T any] struct {
	place
	object T
}

// endpointFacts is an endpoint as far as its record tells.
type endpointFacts struct {
	endpoint hns.Endpoint
	gaps     Gap
	// networkName is set where the record names the network but does not identify it.
	networkName string
}

// readSections splits a file into JSON values and the text around them.
func (r *reader) readSections(text string) {
	start, at := 0, 0
	for at < len(text) {
		if !startsJSON(text[at:], strings.TrimSpace(text[start:at]) == "") {
			at = lineEnd(text, at)
			continue
		}
		r.readText(start, at)
		at += r.readJSON(at)
		start = at
	}
	r.readText(start, at)
}

// startsJSON reports whether the rest of the text, which begins at a line's start or after a JSON value, begins with
// JSON. Within text only the first column counts, because wrapped lines of Format-List may begin with a brace further
// right.
func startsJSON(rest string, indented bool) bool {
	if indented {
		rest = strings.TrimLeft(rest, " \t")
	}
	return strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, "[")
}

// lineEnd is the offset after the line that holds the given offset.
func lineEnd(text string, at int) int {
	if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(text)
}

// readJSON reads one JSON value and returns its length. After a value that is no JSON the rest of the file means
// nothing and is skipped.
func (r *reader) readJSON(at int) int {
	rest := r.faults.source.text[at:]
	dec := json.NewDecoder(strings.NewReader(rest))
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		r.reportSyntax(at, err)
		return len(rest)
	}
	length := int(dec.InputOffset())
	r.readTop(value{place: place{offset: at + length - len(raw)}, raw: raw})
	return length
}

func (r *reader) reportSyntax(at int, err error) {
	text := r.faults.source.text
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		r.faults.add(place{offset: at + max(int(syntax.Offset)-1, 0)}, "", "no valid JSON: %v", err)
		return
	}
	begin := strings.Count(text[:at], "\n") + 1
	r.faults.add(place{offset: len(text)}, "record it again",
		"the file was cut off: it ends inside the JSON value that begins in line %d", begin)
}

// readTop reads a whole JSON value: an object, an array of them, or either of these in a wrapping.
func (r *reader) readTop(v value) {
	for range 2 { // HNS's envelope, and PowerShell's
		inner, ok := r.unwrap(v)
		if !ok {
			return
		}
		v = inner
	}
	if v.is('{') {
		r.readObject(v.object())
		return
	}
	if !v.is('[') {
		r.wrongShape(v, "an object or a list")
		return
	}
	items := v.items()
	if len(items) == 0 {
		r.faults.add(v.place, "leave the file out if there was nothing to record",
			"an empty list: it does not say what there is none of")
	}
	for _, item := range items {
		if o, ok := r.objectOf(item); ok {
			r.readObject(o)
		}
	}
}

// unwrap takes a value out of an envelope. It returns other values as they are, and false if there is nothing inside.
func (r *reader) unwrap(v value) (value, bool) {
	if !v.is('{') {
		return v, true
	}
	o := v.object()
	switch {
	case o.has("Success") && !o.has("ID"):
		return r.unwrapAnswer(o)
	case o.has("value") && o.has("Count") && len(o.fields) == 2:
		inner, _ := o.field("value")
		told, found := r.number(o, "Count", 32), uint64(1)
		if inner.is('[') {
			found = uint64(len(inner.items()))
		}
		if told != found {
			r.faults.add(o.place, "record it again", "a list of %d is said to have %d elements", found, told)
			return value{}, false
		}
		return inner, true
	}
	return v, true
}

// unwrapAnswer takes the result out of HNS's answer, or reports what HNS said instead.
func (r *reader) unwrapAnswer(o object) (value, bool) {
	output, ok := o.field("Output")
	if ok && r.boolean(o, "Success") {
		return output, true
	}
	reason := r.text(o, "Error").text
	if reason == "" {
		reason = "no reason given"
	}
	r.faults.add(o.place, "record it again", "HNS gave no result: %s", strings.TrimSpace(reason))
	return value{}, false
}

// readObject reads one HNS object of any kind.
func (r *reader) readObject(o object) {
	k := kindOf(o.has)
	o.owner = r.identify(o, k)
	switch k {
	case endpointV1:
		r.addEndpoint(r.endpointV1(o))
	case endpointV2:
		r.addEndpoint(r.endpointV2(o))
	case networkV1:
		r.addNetwork(r.networkV1(o))
	case networkV2:
		r.addNetwork(r.networkV2(o))
	case policyList:
		r.addLoadBalancer(r.policyList(o))
	case loadBalancerV2:
		r.addLoadBalancer(r.loadBalancerV2(o))
	case namespace:
		r.passedOver = true
	case unknownKind:
		r.faults.add(o.place, r.explain(), "no HNS object that is known here, with the properties %q", o.keys)
	}
}

// identify names an object for people and notes that the file has it as JSON.
func (r *reader) identify(o object, k kind) string {
	if o.twice != "" {
		r.faults.add(o.place, "", "the property %s occurs twice", o.twice)
	}
	if r.inJSON[k.noun()] == nil {
		r.inJSON[k.noun()] = map[string]bool{}
	}
	id, ok := o.field("ID")
	if !ok || !id.is('"') {
		return ""
	}
	text := r.textOf(id).text
	r.inJSON[k.noun()][strings.ToLower(text)] = true
	return k.noun() + " " + text
}

// explain is the remedy for something unknown: the list of formats, the first time.
func (r *reader) explain() string {
	if r.strange {
		return ""
	}
	r.strange = true
	return formats
}

// dump puts together what was read, or everything that was wrong with it.
func (r *reader) dump() (Dump, error) {
	c := newCollector()
	for _, n := range r.networks {
		r.conflict(n.place, c.addNetwork(n.object))
	}
	ids := networkIDs(c.dump.Networks)
	for _, e := range r.endpoints {
		facts := e.object
		facts.settle(ids, r.namespaces)
		r.conflict(e.place, c.addEndpoint(facts.endpoint, facts.gaps))
	}
	for _, lb := range r.loadBalancers {
		r.conflict(lb.place, c.addLoadBalancer(lb.object))
	}
	c.dump.EndpointsRecorded = r.endpointsSeen
	c.dump.LoadBalancersRecorded = r.loadBalancersSeen
	if len(r.faults.list) == 0 && len(c.dump.Networks) == 0 && !r.endpointsSeen && !r.loadBalancersSeen {
		r.reportNothing()
	}
	if err := r.faults.err(); err != nil {
		return Dump{}, err
	}
	return c.dump, nil
}

func (r *reader) conflict(at place, err error) {
	if err != nil {
		r.faults.add(at, remedyOneState, "%v", err)
	}
}

func (r *reader) reportNothing() {
	if r.passedOver {
		r.faults.add(place{}, "leave the file out", "the file holds only namespaces, which are not needed")
		return
	}
	r.faults.add(place{}, formats, "nothing in the file is known here")
}

// networkIDs finds networks by name. Two of one name identify none.
func networkIDs(networks []hns.Network) map[string]hns.NetworkID {
	ids := map[string]hns.NetworkID{}
	for _, n := range networks {
		if _, twice := ids[n.Name]; twice {
			ids[n.Name] = ""
			continue
		}
		ids[n.Name] = n.ID
	}
	return ids
}

// settle fills what other parts of the file tell about the endpoint, and marks as gaps what no part does.
func (f *endpointFacts) settle(networks map[string]hns.NetworkID, namespaces map[hns.EndpointID]hns.NamespaceID) {
	e := &f.endpoint
	if e.Network == "" && f.networkName != "" {
		e.Network = networks[f.networkName]
	}
	f.gaps &^= GapNetwork | GapMAC
	if e.Network == "" {
		f.gaps |= GapNetwork
	}
	if e.MAC == (hns.MAC{}) {
		f.gaps |= GapMAC
	}
	if ns := namespaces[e.ID]; ns != "" && e.Namespace == "" {
		e.Namespace = ns
		f.gaps &^= GapAttachment
	}
	if e.Remote() { // no container uses an address of another host
		f.gaps &^= GapAttachment
	}
}
