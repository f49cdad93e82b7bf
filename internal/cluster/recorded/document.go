// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// document is one JSON value or YAML document of a file, as JSON.
type document struct {
	// line is where it begins, counted from 1.
	line int
	json []byte
	// yaml is the text that the JSON was made from, or empty.
	yaml string
}

// element is one object: the document itself or an element of its items.
type element struct {
	document document
	json     []byte
	// index and offset are an item's place in the list and in the document's JSON. Both are -1 for the document itself.
	index, offset int
}

// whole is the document as an element.
func (d document) whole() element { return element{document: d, json: d.json, index: -1, offset: -1} }

// path is "items[17]", or empty for the document itself.
func (e element) path() string {
	if e.index < 0 {
		return ""
	}
	return fmt.Sprintf("items[%d]", e.index)
}

// line is where the element begins, counted from 1. It is looked up only for faults, because that takes a walk
// through the document. In JSON the offset tells; in YAML, whose JSON was made here, the dashes of the list are
// counted, and where there are none, because the list is written in JSON's way, the document's line must do.
func (e element) line() int {
	switch {
	case e.index < 0:
		return e.document.line
	case e.document.yaml == "":
		return e.document.line + bytes.Count(e.document.json[:e.offset], []byte("\n"))
	default:
		return e.document.line + yamlItemLine(e.document.yaml, e.index)
	}
}

// yamlItemLine is the line of an item of the list called items, counted from 0.
func yamlItemLine(text string, index int) int {
	dash, seen, inItems := "", -1, false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case !inItems:
			inItems = line == "items:"
		case dash == "":
			dash = line[:len(line)-len(strings.TrimLeft(line, " "))] + "- "
			seen++
		case strings.HasPrefix(line, dash):
			seen++
		}
		if seen == index {
			return i
		}
	}
	return 0
}

// documents splits a file. What it cannot read it reports.
func (r *reader) documents(text string) []document {
	if utilyaml.IsJSONBuffer([]byte(text)) || strings.HasPrefix(strings.TrimSpace(text), "[") {
		return r.jsonDocuments(text)
	}
	return r.yamlDocuments(text)
}

func (r *reader) jsonDocuments(text string) []document {
	var documents []document
	dec := json.NewDecoder(strings.NewReader(text))
	for {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return documents
		}
		if err != nil {
			r.reportJSON(text, err)
			return documents
		}
		documents = append(documents, document{line: lineOf(text, int(dec.InputOffset())-len(raw)), json: raw})
	}
}

func (r *reader) reportJSON(text string, err error) {
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		r.faults.add(lineOf(text, int(syntax.Offset)), "", "", fmt.Sprintf("no valid JSON: %v", err))
		return
	}
	r.faults.add(lineOf(text, len(text)), "", remedyAgain, "the file was cut off: it ends inside a JSON value")
}

func (r *reader) yamlDocuments(text string) []document {
	if !strings.HasSuffix(text, "\n") {
		r.faults.add(lineOf(text, len(text)), "", remedyAgain+", or end the line if the file is whole",
			"the last line has no end, as in a file that was cut off")
	}
	var documents []document
	line := 1
	split := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		part, err := split.Read()
		if errors.Is(err, io.EOF) {
			return documents
		}
		if err != nil {
			r.faults.add(line, "", "", fmt.Sprintf("no valid YAML in the document that begins here: %v", err))
			return documents
		}
		if d, ok := r.yamlDocument(string(part), line); ok {
			documents = append(documents, d)
		}
		// A separator that ends a document is taken, one that begins it is part of it.
		line += bytes.Count(part, []byte("\n")) + 1
	}
}

// yamlLine is the line in which the YAML parser met a fault, as it words it.
var yamlLine = regexp.MustCompile(`line (\d+)`)

// yamlDocument turns a document into JSON. It returns false for one that is empty, or wrong, which it reports.
func (r *reader) yamlDocument(text string, line int) (document, bool) {
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		at := line
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			n, _ := strconv.Atoi(m[1])
			at += max(n-1, 0)
		}
		r.faults.add(at, "", "", fmt.Sprintf("no valid YAML: %v", err))
		return document{}, false
	}
	return document{line: line, json: data, yaml: text}, !bytes.Equal(data, []byte("null"))
}

// items are the elements of the document's list, which the JSON holds byte for byte and in this order.
func (d document) items(list []json.RawMessage) []element {
	items := make([]element, len(list))
	offset := 0
	for i, raw := range list {
		offset += max(bytes.Index(d.json[offset:], raw), 0)
		items[i] = element{document: d, json: raw, index: i, offset: offset}
		offset += len(raw)
	}
	return items
}

// lineOf is the line of an offset, counted from 1.
func lineOf(text string, offset int) int {
	return strings.Count(text[:min(offset, len(text))], "\n") + 1
}
