// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"encoding/json"
	"regexp"
	"strings"
)

// ReadHNS reads one file. Errors refer to it by the given name.
func ReadHNS(name string, data []byte) (HNS, error) {
	file, err := newSource(name, data)
	if err != nil {
		return HNS{}, err
	}
	if clusterStart.MatchString(file.text) {
		file.report(0, "this is a recording of the cluster, not of HNS: pass it with --cluster-dump")
		return HNS{}, file.err()
	}
	r := &hnsReader{file: file, dump: newHNSBuilder(), ids: map[string]bool{}}
	r.readFile()
	r.checkText()
	if file.sound() && !r.dump.EndpointsRecorded && !r.dump.LoadBalancersRecorded && len(r.dump.Networks) == 0 {
		file.report(0, "the file holds only namespaces, which are not needed; leave it out")
	}
	if err := file.err(); err != nil {
		return HNS{}, err
	}
	return r.dump.HNS, nil
}

// clusterStart matches objects of Kubernetes, in JSON and in YAML, near the beginning of a file.
var clusterStart = regexp.MustCompile(`^\s*(?:---\s+)?(?:\{\s*"(?:apiVersion|kind)"\s*:|(?:apiVersion|kind):\s)`)

type hnsReader struct {
	file *source
	dump *hnsBuilder
	// ids holds the IDs of all objects, in lower case.
	ids map[string]bool
	// hasJSON is set once a JSON value was found, and text holds the lines around such values.
	hasJSON bool
	text    []hnsLine
}

// jsonStart matches a line that begins with a JSON object or a list. Other text may begin with a bracket too.
var jsonStart = regexp.MustCompile(`^[ \t]*(?:\{\s*"|\[\s*["\[{\]])`)

// readFile reads every JSON value that begins a line, and keeps the lines in between.
func (r *hnsReader) readFile() {
	text := r.file.text
	for at := 0; at < len(text); {
		if jsonStart.MatchString(text[at:]) {
			r.hasJSON = true
			length, err := r.readValue(at)
			if err != nil {
				r.file.reportJSON(at, err)
				return // there is no telling where the next value begins
			}
			at += length
			continue
		}
		end := len(text)
		if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		r.text = append(r.text, hnsLine{at, text[at:end]})
		at = end
	}
}

// readValue reads the JSON value at an offset, an object or a list of objects, and returns its length.
func (r *hnsReader) readValue(at int) (int, error) {
	text := strings.NewReader(r.file.text[at:])
	dec := json.NewDecoder(text)
	isList := strings.HasPrefix(strings.TrimLeft(r.file.text[at:], " \t"), "[")
	if isList {
		_, _ = dec.Token()
		if !dec.More() {
			r.file.report(at, "an empty list does not say what there is none of; leave the file out")
		}
	}
	for !isList || dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return 0, err
		}
		r.readObject(raw, at+int(dec.InputOffset())-len(raw))
		if !isList {
			return int(dec.InputOffset()), nil
		}
	}
	_, err := dec.Token()
	return int(dec.InputOffset()), err
}
