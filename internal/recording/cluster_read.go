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

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// howToRecordCluster is what to do about a file that cannot be read.
const howToRecordCluster = "record it with: kubectl get nodes,pods,endpointslices,services -A -o json"

// The bounds of YAML, whose parser needs half a kilobyte for each line, key and element: what kubectl writes is read up
// to about 5 MiB.
const (
	maxYAML      = 8 << 20
	maxYAMLParts = 350_000
)

// ReadCluster reads one file that was recorded of the cluster. Errors refer to it by the given name.
func ReadCluster(name string, data []byte) (Cluster, error) {
	memory := memoryFor(len(data))
	return readCluster(name, data, &memory)
}

func readCluster(name string, data []byte, memory *int) (Cluster, error) {
	file, err := newSource(name, data, memory)
	if err != nil {
		return Cluster{}, err
	}
	r := &clusterReader{file: file, dump: Cluster{Skipped: map[string]int{}}}
	r.readFile()
	if len(file.faults) == 0 {
		for _, conflict := range r.dump.compact() {
			file.report(0, "%v", conflict)
		}
	}
	if err := file.err(); err != nil {
		return Cluster{}, err
	}
	return r.dump, nil
}

var (
	// hnsStart matches the first object of a recording of HNS in JSON. Its objects begin with one of these properties.
	hnsStart = regexp.MustCompile(`^\s*\[?\s*\{\s*"` +
		`(?i:ActivityId|AdditionalParams|ID|Name|HostComputeNetwork|CurrentEndpointCount)"\s*:`)
	// tableHeader matches the table that kubectl prints without -o.
	tableHeader = regexp.MustCompile(`^\s*(?:NAMESPACE +NAME|NAME +[A-Z]+)\b`)
	// yamlLine is the line of a fault, in the words of the YAML parser.
	yamlLine = regexp.MustCompile(`line (\d+)`)
)

// clusterReader reads one file.
type clusterReader struct {
	file *source
	dump Cluster
	// isYAML is set while JSON is read that was made from the YAML document at an offset of the file.
	isYAML   bool
	document int
}

// readFile reads the documents of a file.
func (r *clusterReader) readFile() {
	text := r.file.text
	first := bytes.TrimSpace(text)
	switch {
	case hnsStart.Match(text):
		r.file.report(0, "this is a recording of HNS, not of the cluster: pass it with --hns-dump")
	case len(first) == 0:
		r.report(0, "the file is empty")
	case first[0] == '{' || first[0] == '[':
		r.readJSON(text)
	case tableHeader.Match(text):
		r.report(0, "found a table of kubectl instead of JSON or YAML")
	case len(text) > maxYAML || yamlParts(text) > maxYAMLParts:
		r.report(0, "the file is too large for YAML, of which about 5 MiB are read")
	default:
		r.readYAML(text)
	}
}

// yamlParts counts the lines, keys and elements of a text.
func yamlParts(text []byte) int {
	return bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte(",")) + bytes.Count(text, []byte(":"))
}

// report notes a fault that another recording cures.
func (r *clusterReader) report(at int, format string, args ...any) {
	r.file.advice = howToRecordCluster
	r.file.report(at, format, args...)
}

// at is the place in the file of an offset in the JSON. Of JSON that was made from YAML it is that of the document.
func (r *clusterReader) at(offset int) int {
	if r.isYAML {
		return r.document
	}
	return offset
}

// readJSON reads the JSON values of a text.
func (r *clusterReader) readJSON(text []byte) {
	for at := 0; !r.file.full(); {
		at += len(text[at:]) - len(bytes.TrimLeft(text[at:], " \t\r\n"))
		if at == len(text) {
			return
		}
		h, length, err := readHeader(text[at:])
		if err != nil {
			r.reportHeader("", at, err)
			return // there is no telling where the next value begins
		}
		r.readDocument(h, text[at:at+length], at)
		at += length
	}
}

// readYAML reads the YAML documents of a text.
func (r *clusterReader) readYAML(text []byte) {
	if !bytes.HasSuffix(text, []byte("\n")) {
		r.file.report(len(text), "the last line has no end, as in a truncated file; record it again, or end the line")
	}
	r.isYAML = true
	split := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	empty := true
	for at := 0; !r.file.full(); {
		part, err := split.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.file.report(at, "invalid YAML in the document that begins here: %v", err)
			return
		}
		r.document = at
		empty = !r.readYAMLDocument(part) && empty
		// The reader drops a separator that ends a document, and keeps one that begins it.
		at = afterLine(text, min(at+len(part), len(text)))
	}
	if empty && len(r.file.faults) == 0 {
		r.report(0, "the file holds no objects")
	}
}

// readYAMLDocument reads a document, and reports whether there is anything in it.
func (r *clusterReader) readYAMLDocument(text []byte) bool {
	data, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		at := r.document
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			for n, _ := strconv.Atoi(m[1]); n > 1 && at < len(r.file.text); n-- {
				at = afterLine(r.file.text, at)
			}
		}
		r.file.report(at, "invalid YAML: %v", err)
		return true
	}
	if bytes.Equal(data, []byte("null")) {
		return false
	}
	if h, _, err := readHeader(data); err != nil {
		r.reportHeader("", 0, err)
	} else {
		r.readDocument(h, data, 0)
	}
	return true
}

// header is what an object says about itself, and what tells a whole list from a part of one.
type header struct {
	metav1.TypeMeta

	Metadata struct {
		Name               string `json:"name"`
		Namespace          string `json:"namespace"`
		Continue           string `json:"continue"`
		RemainingItemCount *int64 `json:"remainingItemCount"`
	}
	Message  string
	hasItems bool
}

// kind is the API version and the kind, such as "v1 Pod".
func (h header) kind() string {
	if h.Kind == "" || h.APIVersion == "" {
		return ""
	}
	return h.APIVersion + " " + h.Kind
}

// name names an object for people: "items[17] Pod default/web".
func (h header) name(path string) string {
	name := h.Metadata.Name
	if h.Metadata.Namespace != "" {
		name = h.Metadata.Namespace + "/" + name
	}
	return strings.Join(strings.Fields(path+" "+h.Kind+" "+name), " ")
}

// readHeader reads the header of the object at the beginning of a text, and returns the length of the object.
func readHeader(text []byte) (header, int, error) {
	var h header
	s := &source{memory: new(int)}
	length, err := walk(text, &h, func(dec *json.Decoder) error { return s.elements(dec, func([]byte, int) {}) })
	return h, length, err
}

// walk reads an object, and leaves it to a function to read its list of items from the decoder. Names are compared with
// their case, as the API server does.
func walk(text []byte, h *header, items func(*json.Decoder) error) (int, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if text[0] != '{' {
		if err := dec.Decode(h); err != nil {
			return 0, err
		}
		return 0, &json.UnmarshalTypeError{Value: "null"}
	}
	_, _ = dec.Token()
	seen := map[any]bool{}
	known := map[any]any{"apiVersion": &h.APIVersion, "kind": &h.Kind, "metadata": &h.Metadata, "message": &h.Message}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return 0, err
		}
		into, isKnown := known[key]
		if isKnown = isKnown || key == "items"; isKnown && seen[key] {
			return 0, fmt.Errorf("%w %q", errDuplicate, key)
		}
		switch {
		case key == "items":
			seen[key] = true
			err = walkItems(dec, h, items)
		case isKnown:
			seen[key] = true
			err = dec.Decode(into)
		default:
			err = dec.Decode(&skipped{})
		}
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			wrong.Field = strings.Trim(fmt.Sprint(key)+"."+wrong.Field, ".")
		}
		if err != nil {
			return 0, err
		}
	}
	_, err := dec.Token()
	return int(dec.InputOffset()), err
}

// walkItems reads a list of items, or null.
func walkItems(dec *json.Decoder, h *header, items func(*json.Decoder) error) error {
	first, err := dec.Token()
	switch {
	case err != nil || first == nil:
		return err
	case first != json.Delim('['):
		return &json.UnmarshalTypeError{Value: "something other than a list"}
	}
	h.hasItems = true
	return items(dec)
}

var errDuplicate = errors.New("duplicate field")

// reportHeader reports why a text is no object of Kubernetes.
func (r *clusterReader) reportHeader(path string, at int, err error) {
	if path != "" {
		path += ": "
	}
	wrong := (*json.UnmarshalTypeError)(nil)
	switch {
	case errors.As(err, &wrong): // it speaks of Go types
		found := strings.TrimSpace(wrong.Field + " is of JSON type " + wrong.Value)
		r.report(r.at(at), "%snot a Kubernetes object: %s", path, found)
	case errors.Is(err, errDuplicate):
		r.report(r.at(at), "%snot a Kubernetes object: %v", path, err)
	default:
		r.file.reportJSON(at, err)
	}
}

// readDocument reads an object or a list.
func (r *clusterReader) readDocument(h header, text []byte, at int) {
	itemKind, isList := strings.CutSuffix(h.kind(), "List")
	switch {
	case h.kind() == "":
		r.report(r.at(at), "not a Kubernetes object: apiVersion and kind are missing. A YAML list ends with them, so the "+
			"file may be truncated")
	case !isList:
		r.readObject(h, text, at, "")
	case h.Metadata.Continue != "":
		r.file.report(r.at(at), "%s: the list is one of several parts%s; record it again without a limit",
			h.kind(), remaining(h))
	case !h.hasItems:
		r.file.report(r.at(at), "%s: the list has no items field; record it again", h.kind())
	default:
		if h.kind() != "v1 List" { // a list of one kind, whose objects carry none of their own
			r.dump.saw(itemKind)
		}
		index := 0
		_, err := walk(text, &header{}, func(dec *json.Decoder) error {
			return r.file.elements(dec, func(item []byte, offset int) {
				r.readItem(h, item, at+offset, fmt.Sprintf("items[%d]", index))
				index++
			})
		})
		if err != nil && !errors.Is(err, errFull) {
			r.reportHeader("", at, err)
		}
	}
}

func remaining(h header) string {
	if h.Metadata.RemainingItemCount == nil {
		return ""
	}
	return fmt.Sprintf(", %d objects are missing", *h.Metadata.RemainingItemCount)
}

// readItem reads an object of a list.
func (r *clusterReader) readItem(list header, item []byte, at int, path string) {
	h, _, err := readHeader(item)
	if err != nil {
		r.reportHeader(path, at, err)
		return
	}
	if h.kind() == "" && list.kind() != "v1 List" {
		h.APIVersion, h.Kind = list.APIVersion, strings.TrimSuffix(list.Kind, "List")
	}
	r.readObject(h, item, at, path)
}
