// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	kjson "sigs.k8s.io/json"
)

// The kinds that are told apart, as API version and kind.
const (
	listKind         = "v1 List"
	statusKind       = "v1 Status"
	nodeKind         = "v1 Node"
	podKind          = "v1 Pod"
	serviceKind      = "v1 Service"
	endpointsKind    = "v1 Endpoints"
	sliceKind        = "discovery.k8s.io/v1 EndpointSlice"
	sliceKindRetired = "discovery.k8s.io/v1beta1 EndpointSlice"
)

// What to do about a file that cannot be read.
const (
	howToRecordCluster = "record it with: kubectl get nodes,pods,endpointslices,services -A -o json"
	howToRecordSlices  = "record them with: kubectl get endpointslices.v1.discovery.k8s.io -A -o json"
)

// ReadCluster reads one file. Errors refer to it by the given name.
func ReadCluster(name string, data []byte) (Cluster, error) {
	file, err := newSource(name, data)
	if err != nil {
		return Cluster{}, err
	}
	if hnsStart.MatchString(file.text) {
		file.report(0, "this is a recording of HNS, not of the cluster: pass it with --hns-dump")
		return Cluster{}, file.err()
	}
	r := &clusterReader{file: file, dump: Cluster{Skipped: map[string]int{}}}
	documents := r.documents()
	for _, d := range documents {
		r.readDocument(d)
	}
	if len(documents) == 0 && file.sound() {
		file.report(0, "the file holds no objects; %s", howToRecordCluster)
	}
	if file.sound() {
		if err := r.dump.compact(); err != nil {
			file.report(0, "%v", err)
		}
	}
	if err := file.err(); err != nil {
		return Cluster{}, err
	}
	return r.dump, nil
}

// hnsStart matches the first object of a recording of HNS in JSON. Its objects begin with one of these properties.
var hnsStart = regexp.MustCompile(`^\s*\[?\s*\{\s*"` +
	`(?i:ActivityId|AdditionalParams|ID|Name|HostComputeNetwork|CurrentEndpointCount)"\s*:`)

type clusterReader struct {
	file *source
	dump Cluster
}

// header is what an object says about itself, and what tells a whole list from a part of one.
type header struct {
	metav1.TypeMeta `json:",inline"`

	Metadata struct {
		Name               string `json:"name"`
		Namespace          string `json:"namespace"`
		Continue           string `json:"continue"`
		RemainingItemCount *int64 `json:"remainingItemCount"`
	} `json:"metadata"`
	Items   *[]json.RawMessage `json:"items"`
	Message string             `json:"message"`
}

// kind is the API version and the kind, as the constants above spell it.
func (h header) kind() string {
	if h.Kind == "" || h.APIVersion == "" {
		return ""
	}
	return h.APIVersion + " " + h.Kind
}

// readDocument reads an object or a list.
func (r *clusterReader) readDocument(e element) {
	h, ok := r.header(e)
	if !ok {
		return
	}
	itemKind, isList := strings.CutSuffix(h.kind(), "List")
	switch {
	case h.kind() == "":
		r.file.report(e.at, "not a Kubernetes object: apiVersion and kind are missing. A YAML list ends with them, so the "+
			"file may be truncated; %s", howToRecordCluster)
	case !isList:
		r.readObject(e, h)
	case h.Metadata.Continue != "":
		r.file.report(e.at, "%s: the list is one of several parts%s; record it again without a limit", h.kind(), remaining(h))
	case h.Items == nil:
		r.file.report(e.at, "%s: the list has no items field; record it again", h.kind())
	default:
		r.readItems(e, h, itemKind)
	}
}

func remaining(h header) string {
	if h.Metadata.RemainingItemCount == nil {
		return ""
	}
	return fmt.Sprintf(", %d objects are missing", *h.Metadata.RemainingItemCount)
}

// readItems reads the objects of a list. In a typed list they carry no kind of their own.
func (r *clusterReader) readItems(e element, list header, itemKind string) {
	isTyped := list.kind() != listKind
	if isTyped {
		r.saw(itemKind)
	}
	for _, item := range e.items(*list.Items) {
		h, ok := r.header(item)
		if !ok {
			continue
		}
		if isTyped && h.kind() == "" {
			h.APIVersion, h.Kind = list.APIVersion, strings.TrimSuffix(list.Kind, "List")
		}
		r.readObject(item, h)
	}
}

// header reads what an object says about itself.
func (r *clusterReader) header(e element) (header, bool) {
	var h header
	duplicates, err := kjson.UnmarshalStrict(e.json, &h, kjson.DisallowDuplicateFields)
	err = errors.Join(append(duplicates, err)...)
	if err == nil {
		return h, true
	}
	reason := err.Error()
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) { // it speaks of Go types
		reason = strings.TrimSpace(wrong.Field + " is of JSON type " + wrong.Value)
	}
	r.file.report(e.at, "%snot a Kubernetes object: %s; %s", e.prefix(), reason, howToRecordCluster)
	return header{}, false
}

// saw notes that the file mentions a kind.
func (r *clusterReader) saw(kind string) {
	switch kind {
	case nodeKind:
		r.dump.NodesRecorded = true
	case podKind:
		r.dump.PodsRecorded = true
	case sliceKind:
		r.dump.SlicesRecorded = true
	case serviceKind:
		r.dump.ServicesRecorded = true
	}
}

// readObject reads one object of any kind.
func (r *clusterReader) readObject(e element, h header) {
	r.saw(h.kind())
	switch h.kind() {
	case nodeKind:
		if node, ok := decode(r, e, h, &corev1.Node{}, checkNode); ok {
			r.dump.Nodes = append(r.dump.Nodes, NodeOf(node))
		}
	case podKind:
		if pod, ok := decode(r, e, h, &corev1.Pod{}, checkPod); ok {
			r.dump.Pods = append(r.dump.Pods, pod)
		}
	case sliceKind:
		if slice, ok := decode(r, e, h, &discoveryv1.EndpointSlice{}, checkSlice); ok {
			r.dump.Slices = append(r.dump.Slices, slice)
		}
	case serviceKind:
		if service, ok := decode(r, e, h, &corev1.Service{}, checkService); ok {
			r.dump.Services = append(r.dump.Services, service)
		}
	case sliceKindRetired: // skipping it would make every address in it look unused
		r.file.report(e.at, "%s: the API version discovery.k8s.io/v1beta1 is not read, Kubernetes has removed it; %s",
			describe(e, h), howToRecordSlices)
	case statusKind:
		r.file.report(e.at, "%s: the API server returned an error instead of objects: %s; record it again",
			describe(e, h), h.Message)
	case "":
		r.file.report(e.at, "%snot a Kubernetes object: apiVersion and kind are missing; record it again", e.prefix())
	default:
		r.dump.Skipped[h.kind()]++
	}
}

// decode reads an element into an object of its type and checks it.
func decode[T runtime.Object](r *clusterReader, e element, h header, into T, check func(T) []string) (T, bool) {
	gvk := schema.FromAPIVersionAndKind(h.APIVersion, h.Kind)
	if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(e.json, &gvk, into); err != nil {
		r.file.report(e.at, "%s: %v", describe(e, h), err)
		return into, false
	}
	problems := check(into)
	if h.Metadata.Name == "" {
		problems = append(problems, "metadata.name is missing")
	}
	if h.Metadata.Namespace == "" && h.kind() != nodeKind {
		problems = append(problems, "metadata.namespace is missing")
	}
	for _, problem := range problems {
		r.file.report(e.at, "%s: %s", describe(e, h), problem)
	}
	return into, len(problems) == 0
}

// describe names an object for people: "items[17] Pod default/web".
func describe(e element, h header) string {
	name := h.Metadata.Name
	if h.Metadata.Namespace != "" {
		name = h.Metadata.Namespace + "/" + name
	}
	return strings.Join(strings.Fields(e.path+" "+h.Kind+" "+name), " ")
}
