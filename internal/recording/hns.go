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
	r := &hnsReader{dump: HNS{Incomplete: map[hns.EndpointID]string{}}, networks: map[hns.NetworkID]int{}}
	for _, f := range files {
		if s, ok := b.open(f); ok {
			r.source, r.empty, r.cut = s, true, false
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
	// networks has the places of the networks in the dump.
	networks map[hns.NetworkID]int
	// empty is set until the file has an object.
	empty bool
	// cut is set once a nested value of the file was found to be cut off.
	cut bool
	// noEndpoints is set once an empty file of endpoints was read.
	noEndpoints bool
}

// jsonStart matches a line that begins with a JSON object or a list. Other text may begin with a bracket too.
var jsonStart = regexp.MustCompile(`^[ \t]*(?:\{\s*"|\[\s*["\[{\]])`)

// readFile reads every JSON value that begins a line.
func (r *hnsReader) readFile() {
	hasJSON := false
	outside, whole := r.values(jsonStart, func(value []byte, at int) {
		r.readValue(value, at)
		hasJSON = true
	})
	switch {
	case !whole:
	case r.empty && (hasJSON || len(bytes.TrimSpace(r.text)) == 0):
		r.readNothing()
	case !hasJSON:
		r.report(0, "found no HNS object in JSON; what hnsdiag, Format-List and Format-Table print is not enough")
	default:
		r.checkRest(outside)
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
