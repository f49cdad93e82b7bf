// SPDX-License-Identifier: Apache-2.0

package recording

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

// element is one object as JSON: a document of a file, or an item of its list.
type element struct {
	json []byte
	// at is the offset in the file.
	at int
	// yaml is the text that the JSON was made from, or empty.
	yaml string
	// path is "items[17]", or empty for a document.
	path string
}

// prefix is the path for the beginning of a message.
func (e element) prefix() string {
	if e.path == "" {
		return ""
	}
	return e.path + ": "
}

// maxYAML bounds YAML, whose parser needs about 30 times the memory of the text.
const maxYAML = 32 << 20

// documents splits a file. It reports what it cannot read.
func (r *clusterReader) documents() []element {
	text := r.file.text
	switch first := strings.TrimSpace(text); {
	case first == "":
		r.file.report(0, "the file is empty; %s", howToRecordCluster)
		return nil
	case first[0] == '{' || first[0] == '[':
		return r.jsonDocuments(text)
	case tableHeader.MatchString(text):
		r.file.report(0, "found a table of kubectl instead of JSON or YAML; %s", howToRecordCluster)
		return nil
	case len(text) > maxYAML:
		r.file.report(0, "at most %d MiB of YAML are read, and the file holds %d MiB; %s",
			maxYAML>>20, len(text)>>20, howToRecordCluster)
		return nil
	default:
		return r.yamlDocuments(text)
	}
}

// tableHeader matches the table that kubectl prints without -o.
var tableHeader = regexp.MustCompile(`^\s*(?:NAMESPACE +NAME|NAME +[A-Z]+)\b`)

func (r *clusterReader) jsonDocuments(text string) []element {
	var documents []element
	dec := json.NewDecoder(strings.NewReader(text))
	for {
		start := int(dec.InputOffset())
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return documents
		}
		if err != nil {
			start += len(text[start:]) - len(strings.TrimLeft(text[start:], " \t\r\n"))
			r.file.reportJSON(start, err)
			return documents
		}
		documents = append(documents, element{json: raw, at: int(dec.InputOffset()) - len(raw)})
	}
}

func (r *clusterReader) yamlDocuments(text string) []element {
	if !strings.HasSuffix(text, "\n") {
		r.file.report(len(text), "the last line has no end, as in a truncated file; record it again, or end the line")
	}
	var documents []element
	split := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for at := 0; ; {
		part, err := split.Read()
		if errors.Is(err, io.EOF) {
			return documents
		}
		if err != nil {
			r.file.report(at, "invalid YAML in the document that begins here: %v", err)
			return documents
		}
		if d, ok := r.yamlDocument(string(part), at); ok {
			documents = append(documents, d)
		}
		// The reader drops a separator that ends a document, and keeps one that begins it.
		at = afterLine(text, at+len(part))
	}
}

// yamlLine is the line of a fault, in the words of the YAML parser.
var yamlLine = regexp.MustCompile(`line (\d+)`)

// yamlDocument turns a document into JSON. It returns false for an empty one, and for an invalid one, which it reports.
func (r *clusterReader) yamlDocument(text string, at int) (element, bool) {
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			for n, _ := strconv.Atoi(m[1]); n > 1; n-- {
				at = afterLine(r.file.text, at)
			}
		}
		r.file.report(at, "invalid YAML: %v", err)
		return element{}, false
	}
	return element{json: data, at: at, yaml: text}, !bytes.Equal(data, []byte("null"))
}

// afterLine is the offset of the line after the one at an offset.
func afterLine(text string, at int) int {
	at = min(at, len(text))
	if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(text)
}

// items are the elements of the document's list, whose JSON holds them byte for byte and in this order.
func (e element) items(list []json.RawMessage) []element {
	items := make([]element, len(list))
	dashes := yamlDashes(e.yaml)
	offset := 0
	for i, raw := range list {
		items[i] = element{json: raw, at: e.at, path: fmt.Sprintf("items[%d]", i)}
		switch {
		case e.yaml == "":
			offset += max(bytes.Index(e.json[offset:], raw), 0)
			items[i].at += offset
			offset += len(raw)
		case len(dashes) == len(list): // not so for a list in flow style, whose items have the place of the document
			items[i].at += dashes[i]
		}
	}
	return items
}

// yamlDashes are the offsets of the lines that begin the elements of the list called items.
func yamlDashes(text string) []int {
	var offsets []int
	dash, inItems := "", false
	for at := 0; at < len(text); at = afterLine(text, at) {
		line := text[at:afterLine(text, at)]
		switch {
		case !inItems:
			inItems = strings.TrimRight(line, "\r\n") == "items:"
			continue
		case dash == "":
			dash = line[:len(line)-len(strings.TrimLeft(line, " "))] + "- "
		}
		if strings.HasPrefix(line, dash) {
			offsets = append(offsets, at)
		}
	}
	return offsets
}
