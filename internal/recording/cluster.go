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
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Cluster is what files say about a cluster. Of each object, it has what trim.go keeps.
type Cluster struct {
	Nodes    []*corev1.Node
	Pods     []*corev1.Pod
	Slices   []*discoveryv1.EndpointSlice
	Services []*corev1.Service

	// NodesRecorded and its like are false if no file holds an object or a list of the kind: unknown is not "none".
	NodesRecorded    bool
	PodsRecorded     bool
	SlicesRecorded   bool
	ServicesRecorded bool

	// Recorded is the last sign of life of a Node, which kubelets give every five minutes at least: the cluster was not
	// recorded before. It is zero if there is none.
	Recorded time.Time
	// Whole is set if hnsguard has read the slices of all namespaces itself.
	Whole bool
	// Skipped counts the objects of other kinds.
	Skipped int
}

const howToRecordCluster = "Record the cluster at one moment, with:\n" +
	"  kubectl get nodes,pods,endpointslices,services -A -o json > cluster.json"

// The bounds of YAML, whose parser needs half a kilobyte for each line, key and element: what kubectl writes is read up
// to about 5 MiB.
const (
	maxYAML      = 8 << 20
	maxYAMLParts = 350_000
)

// ReadCluster reads what was recorded of one cluster, at one moment. Files may overlap.
func ReadCluster(files ...File) (Cluster, error) {
	b := budgetFor(files...)
	dump := b.readCluster(files...)
	if err := b.err(howToRecordCluster); err != nil {
		return Cluster{}, err
	}
	return dump, nil
}

func (b *budget) readCluster(files ...File) Cluster {
	r := &clusterReader{}
	for _, f := range files {
		s, ok := b.open(f)
		r.source = s
		switch {
		case !ok:
		case objectLine.Match(s.text):
			r.readJSON()
		case len(s.text) > maxYAML || yamlParts(s.text) > maxYAMLParts:
			s.report(0, "the file is too large for YAML, of which about 5 MiB are read")
		default:
			r.skipNotices()
			r.readYAML()
		}
	}
	return r.dump
}

var (
	// objectLine matches a file in JSON: the text of YAML does not begin a line so, unless it is the first.
	objectLine = regexp.MustCompile(`(?m)\A\s*[{\[]|^\{[ \t\r]*$|^\{[ \t]*"`)
	// objectStart matches the beginning of an object or a list. A prompt may begin with a bracket too.
	objectStart = regexp.MustCompile(`^[ \t]*(?:\{|\[\s*(?:[\["{\]]|\z))`)
	// notice matches what kubectl and a console print above YAML, and yamlStart where that begins.
	notice    = regexp.MustCompile(`(?i)^\s*(?:warning: |[eiw]\d{4} \d\d:|\*{10}|PS [a-z]:|kubectl(?:\.exe)? : |error)`)
	yamlStart = regexp.MustCompile(`(?m)^apiVersion:`)
	// failure matches a line by which kubectl says that something is missing.
	failure = regexp.MustCompile(`(?im)^(?:kubectl(?:\.exe)? : )?(?:error:|error from server|unable to connect).*`)
)

// skipNotices blanks text above YAML.
func (r *clusterReader) skipNotices() {
	if begin := yamlStart.FindIndex(r.text); begin != nil && notice.Match(r.text) {
		r.text = bytes.Clone(r.text)
		r.checkFailure(r.text[:begin[0]])
		blank(r.text[:begin[0]])
	}
}

// checkFailure reports a failure of kubectl, which still prints the objects that it has read.
func (r *clusterReader) checkFailure(outside []byte) {
	if failed := failure.FindIndex(outside); failed != nil {
		r.report(failed[0], "kubectl failed, so that something may be missing: %.200s; record it again, if need be without "+
			"the kinds that you may not read", bytes.TrimSpace(outside[failed[0]:failed[1]]))
	}
}

// yamlParts counts the lines, keys and elements of a text.
func yamlParts(text []byte) int {
	return bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte(",")) + bytes.Count(text, []byte(":"))
}

// clusterReader reads one file after the other.
type clusterReader struct {
	*source
	dump Cluster
}

// readJSON reads the JSON values of a file.
func (r *clusterReader) readJSON() {
	outside, whole := r.values(objectStart, func(value []byte, at int) {
		r.readDocument(value, func(offset int) int { return at + offset })
	})
	if whole && r.checkRest(outside) {
		r.checkFailure(outside)
	}
}

// readYAML reads the YAML documents of a file. Everything in a document has its place.
func (r *clusterReader) readYAML() {
	if len(r.text) > 0 && !bytes.HasSuffix(r.text, []byte("\n")) {
		r.report(len(r.text), "the last line has no end, as in a truncated file; record it again, or end the line")
	}
	split := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(r.text)))
	empty := true
	for at := 0; !r.full(); {
		document, err := split.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var value []byte
		if err == nil {
			value, err = yaml.YAMLToJSONStrict(document)
		}
		if err != nil {
			r.report(at, "invalid YAML in the document that begins here: %v", err)
			return
		}
		if !bytes.Equal(value, []byte("null")) {
			empty = false
			r.readDocument(value, func(int) int { return at })
		}
		// The reader drops a separator that ends a document, and keeps one that begins it.
		at = afterLine(r.text, min(at+len(document), len(r.text)))
	}
	if empty && !r.full() {
		r.report(0, "the file holds no objects")
	}
}

// header is what an object says about itself, and what tells a whole list from a part of one.
type header struct {
	metav1.TypeMeta `json:",inline"`

	Metadata struct {
		Name               string `json:"name"`
		Namespace          string `json:"namespace"`
		Continue           string `json:"continue"`
		RemainingItemCount int    `json:"remainingItemCount"`
	} `json:"metadata"`
	Message string `json:"message"`
	Items   part   `json:"items"`
}

// kind is the API version and the kind, such as "v1 Pod".
func (h header) kind() string {
	if h.Kind == "" || h.APIVersion == "" {
		return ""
	}
	return h.APIVersion + " " + h.Kind
}

// readHeader reads the header of an object. Names are compared with their case, as the API server does.
func readHeader(object []byte) (h header, err error) {
	duplicates, err := kjson.UnmarshalStrict(object, &h, kjson.DisallowDuplicateFields)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) { // it speaks of Go types
		err = errors.New(strings.TrimSpace(wrong.Field + " is of JSON type " + wrong.Value))
	}
	return h, errors.Join(append(duplicates, err)...)
}

// readDocument reads an object or a list. The function tells the place of an offset in it.
func (r *clusterReader) readDocument(document []byte, place func(offset int) int) {
	h, err := readHeader(document)
	itemKind, isList := strings.CutSuffix(h.kind(), "List")
	switch {
	case err != nil:
		r.report(place(0), "not a Kubernetes object: %v; a recording of HNS is passed with --hns-dump", err)
	case h.kind() == "":
		r.report(place(0), "not a Kubernetes object: apiVersion and kind are missing. A YAML list ends with them, so the "+
			"file may be truncated")
	case !isList:
		r.readObject(h, document, place(0), "")
	case h.Metadata.Continue != "":
		r.report(place(0), "%s: the list is one of several parts, and at least %d objects are missing; record it without a "+
			"limit", h.kind(), max(1, h.Metadata.RemainingItemCount))
	case !bytes.HasPrefix(h.Items, []byte("[")):
		r.report(place(0), "%s: the list has no items", h.kind())
	default:
		r.dump.saw(itemKind)
		start := bytes.Index(document, h.Items)
		r.readItems(h, func(offset int) int { return place(start + offset) })
	}
}

// readItems reads the objects of a list. In a list of one kind, they carry none of their own.
func (r *clusterReader) readItems(list header, place func(offset int) int) {
	index := 0
	for offset, item := range r.elements(list.Items) {
		path := fmt.Sprintf("items[%d]", index)
		h, err := readHeader(item)
		if h.kind() == "" && list.kind() != "v1 List" {
			h.APIVersion, h.Kind = list.APIVersion, strings.TrimSuffix(list.Kind, "List")
		}
		if err != nil {
			r.report(place(offset), "%s: not a Kubernetes object: %v", path, err)
		} else {
			r.readObject(h, item, place(offset), path)
		}
		index++
	}
}

// saw notes that the files mention a kind.
func (d *Cluster) saw(kind string) {
	switch kind {
	case nodeKind:
		d.NodesRecorded = true
	case podKind:
		d.PodsRecorded = true
	case sliceKind:
		d.SlicesRecorded = true
	case serviceKind:
		d.ServicesRecorded = true
	}
}

// Notes reports skipped objects.
func (d Cluster) Notes() []string {
	if d.Skipped == 0 {
		return nil
	}
	return []string{fmt.Sprintf("skipped %d objects of kinds that a scan does not need", d.Skipped)}
}
