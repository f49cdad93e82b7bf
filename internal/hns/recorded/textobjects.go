// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// namespaceID finds the ID in PowerShell's "@{ID=…; CompartmentGuid=…}".
var namespaceID = regexp.MustCompile(`(?i)[{; ]ID=([^;} ]*)`)

// saw notes that the file speaks of a kind.
func (r *reader) saw(k kind) {
	switch k.noun() {
	case endpointV1.noun():
		r.endpointsSeen = true
	case loadBalancerV2.noun():
		r.loadBalancersSeen = true
	case namespace.noun():
		r.passedOver = true
	}
}

// readTextRecords turns the records of the text formats into objects.
func (r *reader) readTextRecords() {
	for _, s := range r.summaries {
		if r.inJSON[s.kind.noun()] == nil {
			r.faults.add(s.place, remedyJSON, "a table of %ss without their IDs, and no JSON after it", s.kind.noun())
		}
	}
	for _, t := range r.textRecords {
		if id := t.cell("ID").text; id != "" {
			t.owner = t.kind.noun() + " " + id
		}
		if t.form.powershell() {
			r.readPowerShell(t)
		} else {
			r.readHnsdiag(t)
		}
	}
}

// readPowerShell reads a record of Format-List or Format-Table. It shows enough of V1 endpoints alone; of other
// objects it may be the summary of JSON in the same file.
func (r *reader) readPowerShell(t textRecord) {
	switch {
	case t.kind == endpointV1:
		r.addEndpoint(r.textEndpoint(t))
	case r.inJSON[t.kind.noun()][strings.ToLower(t.cell("ID").text)]:
	case t.kind != unknownKind:
		r.faults.add(t.place, remedyJSON, "of %ss, Format-List and Format-Table do not show enough", t.kind.noun())
	case !r.strange: // the first one is enough: a log is full of lines that look like properties
		r.faults.add(t.place, r.explain(), "no HNS object that is known here")
	}
}

// readHnsdiag reads a record of hnsdiag.
func (r *reader) readHnsdiag(t textRecord) {
	switch t.kind {
	case endpointV1:
		r.addEndpoint(r.textEndpoint(t))
	case networkV1:
		r.addNetwork(networkRecord{
			place: t.place,
			id:    t.cell("ID"),
			name:  t.cell("Name").text,
			typ:   t.cell("Type").text,
		})
	case loadBalancerV2:
		r.addLoadBalancer(loadBalancerRecord{
			place:     t.place,
			id:        t.cell("ID"),
			endpoints: t.cell("Direct IP IDs").split(),
			vips:      t.cell("Virtual IPs").split(),
		})
	case namespace:
		r.addNamespace(t)
	default: // hnsdiag prints no others
	}
}

// addNamespace keeps which endpoints hnsdiag lists under a namespace.
func (r *reader) addNamespace(t textRecord) {
	r.passedOver = true
	id := required(r, t.cell("ID"), t.place, hns.ParseID[hns.NamespaceID])
	for _, c := range t.cell("Endpoint IDs").split() {
		if r.namespaces == nil {
			r.namespaces = map[hns.EndpointID]hns.NamespaceID{}
		}
		r.namespaces[parsed(r, c, hns.ParseID[hns.EndpointID])] = id
	}
}

// textEndpoint takes an endpoint in any text format apart.
func (r *reader) textEndpoint(t textRecord) endpointRecord {
	rec := endpointRecord{
		place:       t.place,
		id:          t.cell("ID"),
		name:        t.cell("Name"),
		network:     t.cell("VirtualNetwork"),
		networkName: t.cell("VirtualNetworkName").text,
		networkType: t.cell("Type").text,
		addresses:   append(t.cell("IPAddress").split(), t.cell("IPv6Address").split()...),
		mac:         t.cell("MacAddress"),
		namespace:   t.cell("Namespace"),
		shared:      len(t.cell("SharedContainers").split()),
		state:       r.textState(t.cell("State")),
		gaps:        textGaps(t),
	}
	if m := namespaceID.FindStringSubmatch(rec.namespace.text); m != nil {
		rec.namespace.text = m[1]
	}
	if remote := t.cell("IsRemoteEndpoint"); r.textBoolean(remote) {
		rec.flags = uint64(hns.FlagRemote)
	}
	return rec
}

// textGaps tells what a record in a text format leaves open. Format-List without a choice of properties shows all that
// HNS has told, as JSON does, so that a missing property there is a fact; it is known by two that no one would choose.
func textGaps(t textRecord) Gap {
	if t.form == listForm && t.has("Version") && t.has("Resources") {
		return 0
	}
	gaps := gapAll
	for _, told := range []struct {
		gap        Gap
		properties []string
	}{
		{GapKind, []string{"IsRemoteEndpoint"}},
		{GapAddresses, []string{"IPAddress", "IPv6Address"}},
		{GapAttachment, []string{"State", "Namespace", "SharedContainers"}},
	} {
		for _, property := range told.properties {
			if t.has(property) {
				gaps &^= told.gap
			}
		}
	}
	return gaps
}

func (r *reader) textState(c cell) uint64 {
	if c.text == "" {
		return 0
	}
	return parsed(r, c, func(s string) (uint64, error) {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return 0, fmt.Errorf("%q is no state: want a number", s)
		}
		return n, nil
	})
}

// textBoolean reads a boolean as PowerShell shows it. HNS tells it only where it is true, so that it is mostly blank.
func (r *reader) textBoolean(c cell) bool {
	if c.text == "" {
		return false
	}
	return parsed(r, c, func(s string) (bool, error) {
		b, err := strconv.ParseBool(strings.ToLower(s))
		if err != nil {
			return false, fmt.Errorf("%q is neither True nor False", s)
		}
		return b, nil
	})
}

// split takes a text of several IDs or addresses apart, with or without PowerShell's braces.
func (c cell) split() []cell {
	var cells []cell
	apart := func(r rune) bool { return strings.ContainsRune(" \t,{}", r) }
	for _, word := range strings.FieldsFunc(c.text, apart) {
		cells = append(cells, cell{c.place, word})
	}
	return cells
}
