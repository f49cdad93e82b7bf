// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// ReadHNS reads one file that was recorded of HNS. Errors refer to it by the given name.
func ReadHNS(name string, data []byte) (HNS, error) {
	memory := memoryFor(len(data))
	return readHNS(name, data, &memory)
}

func readHNS(name string, data []byte, memory *int) (HNS, error) {
	file, err := newSource(name, data, memory)
	if err != nil {
		return HNS{}, err
	}
	r := &hnsReader{file: file, dump: newHNSBuilder(), ids: map[string]bool{}}
	if clusterStart.Match(file.text) {
		file.report(0, "this is a recording of the cluster, not of HNS: pass it with --cluster-dump")
	} else {
		r.readValues()
		r.checkText()
	}
	if err := file.err(); err != nil {
		return HNS{}, err
	}
	return r.dump.HNS, nil
}

// howToRecordHNS is what to do about a file that cannot be read.
const howToRecordHNS = "record JSON on the node, with:\n" +
	"  Get-HnsEndpoint | ConvertTo-Json -Depth 10 > endpoints.json\n" +
	"  Get-HnsPolicyList | ConvertTo-Json -Depth 10 > policies.json\n" +
	"  Get-HnsNetwork | ConvertTo-Json -Depth 10 > networks.json"

var (
	// clusterStart matches objects of Kubernetes, in JSON and in YAML, near the beginning of a file.
	clusterStart = regexp.MustCompile(`^\s*(?:---\s+)?(?:\{\s*"(?:apiVersion|kind)"\s*:|(?:apiVersion|kind):\s)`)
	// jsonStart matches a line that begins with a JSON object or a list. Other text may begin with a bracket too.
	jsonStart = regexp.MustCompile(`^[ \t]*(?:\{\s*"|\[\s*["\[{\]])`)
	// jsonRest matches a line from the middle or the end of a JSON value.
	jsonRest = regexp.MustCompile(`(?m)^[ \t]*(?:[\]},]|"[^"\n]*"[ \t]*:)`)
	guid     = regexp.MustCompile(`(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`)
)

// hnsReader reads one file.
type hnsReader struct {
	file *source
	dump *hnsBuilder
	// ids holds the IDs of all objects, in lower case.
	ids map[string]bool
	// hasJSON is set once a JSON value was found, and gaps are the text around such values.
	hasJSON bool
	gaps    []gap
	// inEnvelope is set while the objects in another object are read. They are no envelopes.
	inEnvelope bool
}

// gap is text between two JSON values.
type gap struct{ start, end int }

// readValues reads every JSON value that begins a line.
func (r *hnsReader) readValues() {
	text, start := r.file.text, 0
	for at := 0; at < len(text) && !r.file.full(); {
		if !jsonStart.Match(text[at:]) {
			at = afterLine(text, at)
			continue
		}
		r.hasJSON = true
		r.gaps = append(r.gaps, gap{start, at})
		length, err := r.readValue(at)
		if err != nil {
			r.file.reportJSON(at, err)
			return // there is no telling where the next value begins
		}
		at += length
		start = at
	}
	r.gaps = append(r.gaps, gap{start, len(text)})
}

// afterLine is the offset of the line after the one at an offset.
func afterLine(text []byte, at int) int {
	if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(text)
}

// readValue reads the JSON value at an offset, an object or a list of objects, and returns its length.
func (r *hnsReader) readValue(at int) (int, error) {
	dec := json.NewDecoder(bytes.NewReader(r.file.text[at:]))
	object := func(raw []byte, offset int) { r.readObject(raw, at+offset) }
	if bytes.TrimLeft(r.file.text[at:], " \t")[0] == '{' {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return 0, err
		}
		object(raw, int(dec.InputOffset())-len(raw))
		return int(dec.InputOffset()), nil
	}
	_, _ = dec.Token()
	if !dec.More() {
		r.file.report(at, "an empty list does not say what there is none of; leave the file out")
	}
	err := r.file.elements(dec, object)
	return int(dec.InputOffset()), err
}

// checkText reports text that JSON should have been: all of it, a part of it, or objects that only the text lists.
func (r *hnsReader) checkText() {
	if len(r.file.faults) > 0 {
		return
	}
	found := ""
	for _, g := range r.gaps {
		if found = textFormat(r.file.text[g.start:g.end]); found != "" {
			break
		}
	}
	switch {
	case len(bytes.TrimSpace(r.file.text)) == 0:
		r.file.advice = howToRecordHNS
		r.file.report(0, "the file is empty; if there was nothing to record leave it out, otherwise record it again")
	case !r.hasJSON && found == "":
		r.file.advice = howToRecordHNS
		r.file.report(0, "found text instead of JSON")
	case !r.hasJSON:
		r.file.advice = howToRecordHNS
		r.file.report(0, "found %s instead of JSON", found)
	case len(r.dump.Endpoints) == 0 && len(r.dump.LoadBalancers) == 0 && len(r.dump.Networks) == 0:
		r.file.report(0, "the file holds only namespaces, which are not needed; leave it out")
	}
	for _, g := range r.gaps {
		r.checkGap(g, found)
	}
}

// checkGap reports what the text around the JSON says that the JSON does not.
func (r *hnsReader) checkGap(g gap, format string) {
	text := r.file.text[g.start:g.end]
	if rest := jsonRest.FindIndex(text); r.hasJSON && rest != nil {
		r.file.report(g.start+rest[0], "found %.40q outside of any JSON value: the beginning of the file is missing, or it "+
			"is damaged", bytes.TrimSpace(text[rest[0]:afterLine(text, rest[0])]))
		return
	}
	if !r.hasJSON || format == "" {
		return
	}
	for at := 0; !r.file.full(); {
		id := guid.FindIndex(text[at:])
		if id == nil {
			return
		}
		if text := text[at+id[0] : at+id[1]]; !r.ids[strings.ToLower(string(text))] {
			r.file.advice = howToRecordHNS
			r.file.report(g.start+at+id[0], "%s lists %s, which is missing in the JSON", format, text)
		}
		at += id[1]
	}
}

// listing matches the first line by which a text that lists HNS objects can be recognized: in groups, an object or the
// head of a table of hnsdiag, the ID of an object in Format-List, and the head of Format-Table with the rule below it.
var listing = regexp.MustCompile(`(?im)^(?:` +
	`((?:Endpoint|Network|Namespace|Load Balancer)\s*:|Name\s+ID\b|ID\s*\|)|` +
	`(ID\s*:)|` +
	`(\S+[ \t]+\S.*\n[ \t-]*--[ \t-]*\r?$))`)

// textFormat names the format of a text that lists HNS objects, or returns an empty string.
func textFormat(text []byte) string {
	groups := listing.FindSubmatchIndex(text)
	for i, name := range []string{"output of hnsdiag", "output of Format-List", "output of Format-Table"} {
		if groups != nil && groups[2*(i+1)] >= 0 {
			return name
		}
	}
	return ""
}
