// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// HNS is what files say about the HNS of a node.
type HNS struct {
	// Networks are the recorded networks and those that endpoints name. Subnets are not read. Name and type of a network
	// that only V2 endpoints name are unknown.
	Networks []hns.Network

	// Endpoints are in the order of the files.
	Endpoints []hns.Endpoint
	// EndpointsRecorded is false if no file mentions endpoints: unknown is not "none".
	EndpointsRecorded bool

	// LoadBalancers are V2 load balancers and V1 policy lists.
	LoadBalancers []hns.LoadBalancer
	// LoadBalancersRecorded is false if no file mentions load balancers: unknown is not "none".
	LoadBalancersRecorded bool

	// Whole is set if hnsguard has read all endpoints itself, so that no filter has left some out.
	Whole bool

	// Incomplete names, for each endpoint whose record does not suffice for a verdict, what is missing. Its fields may
	// mean nothing: an endpoint of unknown kind has no remote flag, and yet may be remote.
	Incomplete map[hns.EndpointID]string
}

const howToRecordHNS = "Record JSON on the node, all files at one moment, with:\n" +
	"  Get-HnsEndpoint | ConvertTo-Json -Depth 10 > endpoints.json\n" +
	"  Get-HnsPolicyList | ConvertTo-Json -Depth 10 > policies.json\n" +
	"  Get-HnsNetwork | ConvertTo-Json -Depth 10 > networks.json"

// ReadHNS reads what was recorded of HNS on one node, at one moment. Files may overlap.
func ReadHNS(files ...File) (HNS, error) {
	b := budgetFor(files...)
	dump := b.readHNS(files...)
	if err := b.err(howToRecordHNS); err != nil {
		return HNS{}, err
	}
	return dump, nil
}

func (b *budget) readHNS(files ...File) HNS {
	r := &hnsReader{dump: HNS{Incomplete: map[hns.EndpointID]string{}}, index: map[any]int{}}
	for _, f := range files {
		if s, ok := b.open(f); ok {
			r.source, r.ids, r.cut = s, map[string]bool{}, false
			r.readFile()
		}
	}
	r.dump.EndpointsRecorded = r.dump.EndpointsRecorded || r.noEndpoints && len(r.dump.Networks) > 0
	return r.dump
}

// hnsReader reads one file after the other.
type hnsReader struct {
	*source
	dump HNS
	// index has the places of the objects in the dump, by their IDs.
	index map[any]int
	// ids are the IDs of all objects of the file, in lower case.
	ids map[string]bool
	// cut is set once a nested value of the file was found to be cut off.
	cut bool
	// noEndpoints is set once an empty file of endpoints was read.
	noEndpoints bool
}

var (
	// jsonStart matches a line that begins with a JSON object or a list. Other text may begin with a bracket too.
	jsonStart = regexp.MustCompile(`^[ \t]*(?:\{\s*"|\[\s*["\[{\]])`)
	// listing matches the lines by which text that lists HNS objects is recognized: an object or the head of a table of
	// hnsdiag, an ID in Format-List, and the head of Format-Table with the rule below it.
	listing = regexp.MustCompile(`(?im)^(?:(?:Endpoint|Network|Namespace|Load Balancer)\s*:|Name\s+ID\b|ID\s*[|:]|` +
		`\S+[ \t]+\S.*\n[ \t-]*--[ \t-]*\r?$)`)
	guid = regexp.MustCompile(`(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`)
)

// readFile reads every JSON value that begins a line.
func (r *hnsReader) readFile() {
	hasJSON, faults := false, len(r.faults)
	outside, whole := r.values(jsonStart, func(value []byte, at int) {
		r.readValue(value, at)
		hasJSON = true
	})
	switch {
	case !whole:
	case len(bytes.TrimSpace(r.text)) == 0, hasJSON && len(r.ids) == 0 && len(r.faults) == faults:
		r.readNothing()
	case string(bytes.TrimSpace(r.text)) == "{}":
		r.report(0, "the object is empty: nothing of HNS was recorded")
	case !hasJSON:
		r.report(0, "found text instead of JSON; what hnsdiag, Format-List and Format-Table print is not enough")
	default:
		r.checkOutside(outside)
	}
}

// readNothing reads an empty file or list, which PowerShell writes if there is nothing to convert. The name of the file
// says of what there is nothing. A command that fails leaves an empty file too: that there are no endpoints is believed
// if networks were recorded.
func (r *hnsReader) readNothing() {
	switch name := strings.ToLower(r.name[strings.LastIndexAny(r.name, `/\`)+1:]); {
	case strings.Contains(name, "endpoint"):
		r.noEndpoints = true
	case strings.Contains(name, "polic"), strings.Contains(name, "balancer"):
		r.dump.LoadBalancersRecorded = true
	case strings.Contains(name, "network"):
	case len(bytes.TrimSpace(r.text)) == 0:
		r.report(0, "the file is empty, and its name does not say what it should contain: name it endpoints.json or "+
			"policies.json, or leave it out")
	}
}

// readValue reads a JSON value, an object or a list of objects.
func (r *hnsReader) readValue(value []byte, at int) {
	text := bytes.TrimLeft(value, " \t")
	at += len(value) - len(text)
	if text[0] == '{' {
		r.readObject(bytes.TrimSpace(text), at, false)
		return
	}
	for offset, object := range r.elements(text) {
		r.readObject(object, at+offset, false)
	}
}

// checkOutside reports text that JSON should have been: a part of it, or objects that only the text lists. The JSON
// that was read is blank in it.
func (r *hnsReader) checkOutside(text []byte) {
	lists := r.checkRest(text) && listing.Match(text)
	for at := 0; lists && !r.full(); {
		id := guid.FindIndex(text[at:])
		if id == nil {
			return
		}
		if listed := text[at+id[0] : at+id[1]]; !r.ids[strings.ToLower(string(listed))] {
			r.report(at+id[0], "the text outside of the JSON lists %s, which is missing in the JSON", listed)
		}
		at += id[1]
	}
}
