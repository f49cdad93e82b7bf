// SPDX-License-Identifier: Apache-2.0

package hnsdump

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/hnsguard/hnsguard/internal/dumpfile"
)

// Read reads one file. Errors refer to it by the given name.
func Read(name string, data []byte) (Dump, error) {
	file, err := dumpfile.Decode(name, data)
	if err != nil {
		return Dump{}, err
	}
	if clusterStart.MatchString(file.Text) {
		file.Report(0, "this is a recording of the cluster, not of HNS: pass it with --cluster-dump")
		return Dump{}, file.Err()
	}
	r := &reader{file: file, dump: newBuilder(), ids: map[string]bool{}}
	r.readFile()
	r.checkText()
	if file.Sound() && !r.dump.EndpointsRecorded && !r.dump.LoadBalancersRecorded && len(r.dump.Networks) == 0 {
		file.Report(0, "the file holds only namespaces, which are not needed; leave it out")
	}
	if err := file.Err(); err != nil {
		return Dump{}, err
	}
	return r.dump.Dump, nil
}

// clusterStart matches objects of Kubernetes, in JSON and in YAML, near the beginning of a file.
var clusterStart = regexp.MustCompile(`^\s*(?:---\s+)?(?:\{\s*"(?:apiVersion|kind)"\s*:|(?:apiVersion|kind):\s)`)

type reader struct {
	file *dumpfile.File
	dump *builder
	// ids holds the IDs of all objects, in lower case.
	ids map[string]bool
	// hasJSON is set once a JSON value was found, and text holds the lines around such values.
	hasJSON bool
	text    []line
}

// jsonStart matches a line that begins with a JSON object or a list. Other text may begin with a bracket too.
var jsonStart = regexp.MustCompile(`^[ \t]*(?:\{\s*"|\[\s*["\[{\]])`)

// readFile reads every JSON value that begins a line, and keeps the lines in between.
func (r *reader) readFile() {
	text := r.file.Text
	for at := 0; at < len(text); {
		if jsonStart.MatchString(text[at:]) {
			r.hasJSON = true
			length, err := r.readValue(at)
			if err != nil {
				r.file.ReportJSON(at, err)
				return // there is no telling where the next value begins
			}
			at += length
			continue
		}
		end := len(text)
		if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		r.text = append(r.text, line{at, text[at:end]})
		at = end
	}
}

// readValue reads the JSON value at an offset, an object or a list of objects, and returns its length.
func (r *reader) readValue(at int) (int, error) {
	text := strings.NewReader(r.file.Text[at:])
	dec := json.NewDecoder(text)
	isList := strings.HasPrefix(strings.TrimLeft(r.file.Text[at:], " \t"), "[")
	if isList {
		_, _ = dec.Token()
		if !dec.More() {
			r.file.Report(at, "an empty list does not say what there is none of; leave the file out")
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
