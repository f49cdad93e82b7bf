// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	kjson "sigs.k8s.io/json"

	"github.com/hnsguard/hnsguard/internal/textencoding"
)

// The kinds that are told apart, as API version and kind.
const (
	listKind         = "v1 List"
	statusKind       = "v1 Status"
	podKind          = "v1 Pod"
	serviceKind      = "v1 Service"
	endpointsKind    = "v1 Endpoints"
	sliceKind        = "discovery.k8s.io/v1 EndpointSlice"
	sliceKindRetired = "discovery.k8s.io/v1beta1 EndpointSlice"
)

// Read reads one file, whose format it finds from the content. The name is used in errors.
func Read(name string, data []byte) (Dump, error) {
	text, err := textencoding.Decode(data)
	if err != nil {
		return Dump{}, fmt.Errorf("reading %s: %w", name, err)
	}
	if strings.TrimSpace(text) == "" {
		return Dump{}, fmt.Errorf("%s:1: the file is empty; %s", name, remedyCommand)
	}
	r := &reader{faults: faults{file: name}, dump: Dump{Skipped: map[string]int{}}}
	documents := r.documents(text)
	for _, d := range documents {
		r.readDocument(d)
	}
	if len(documents) == 0 && len(r.faults.list) == 0 {
		r.faults.add(1, "", remedyCommand, "there is nothing in the file")
	}
	if len(r.faults.list) == 0 {
		if err := r.dump.compact(); err != nil {
			r.faults.add(1, "", "", err.Error())
		}
	}
	if err := r.faults.err(); err != nil {
		return Dump{}, err
	}
	return r.dump, nil
}

type reader struct {
	faults faults
	dump   Dump
}

// header is what an object says of itself, and what tells a whole list from a part of one.
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

// kind is the API version and the kind in one, as the constants above spell it.
func (h header) kind() string {
	if h.Kind == "" || h.APIVersion == "" {
		return ""
	}
	return h.APIVersion + " " + h.Kind
}

// readDocument reads an object, or a list of some.
func (r *reader) readDocument(d document) {
	self := d.whole()
	h, ok := r.header(self)
	if !ok {
		return
	}
	itemKind, isList := strings.CutSuffix(h.kind(), "List")
	switch {
	case h.kind() == "":
		r.faults.add(d.line, "", remedyCommand, "no Kubernetes object: apiVersion and kind are missing, "+
			"which are at the end of a list in YAML and so are the first to go when a file is cut off")
	case !isList:
		r.readObject(self, h)
	case h.Metadata.Continue != "":
		r.faults.add(d.line, h.kind(), remedyAgain+" without a limit", "the list is one of several parts"+remaining(h))
	case h.Items == nil:
		r.faults.add(d.line, h.kind(), remedyAgain, "the list has no items, not even none")
	default:
		r.readItems(d, h, itemKind)
	}
}

func remaining(h header) string {
	if h.Metadata.RemainingItemCount == nil {
		return ""
	}
	return fmt.Sprintf(", %d objects are missing", *h.Metadata.RemainingItemCount)
}

// readItems reads the objects of a list. Those of a typed list do not say what they are, the list does.
func (r *reader) readItems(d document, list header, itemKind string) {
	if list.kind() != listKind {
		r.saw(itemKind)
	}
	for _, item := range d.items(*list.Items) {
		h, ok := r.header(item)
		if !ok {
			continue
		}
		if list.kind() != listKind && h.kind() == "" {
			h.APIVersion, h.Kind = list.APIVersion, strings.TrimSuffix(list.Kind, "List")
		}
		r.readObject(item, h)
	}
}

// header reads what an object says of itself.
func (r *reader) header(e element) (header, bool) {
	var h header
	twice, err := kjson.UnmarshalStrict(e.json, &h, kjson.DisallowDuplicateFields)
	if err = errors.Join(append(twice, err)...); err != nil {
		r.faults.add(e.line(), e.path(), remedyCommand, fmt.Sprintf("no Kubernetes object: %v", err))
		return header{}, false
	}
	return h, true
}

// saw notes that the file speaks of a kind.
func (r *reader) saw(kind string) {
	switch kind {
	case podKind:
		r.dump.PodsRecorded = true
	case sliceKind:
		r.dump.SlicesRecorded = true
	case serviceKind:
		r.dump.ServicesRecorded = true
	}
}

// readObject reads one object of any kind.
func (r *reader) readObject(e element, h header) {
	r.saw(h.kind())
	switch h.kind() {
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
	case sliceKindRetired:
		// Passing it over would make every address in it an address that nobody uses.
		r.faults.add(e.line(), describe(e, h), remedySlices,
			"of the API version discovery.k8s.io/v1beta1, which Kubernetes has dropped")
	case statusKind:
		r.faults.add(e.line(), describe(e, h), remedyAgain, "the API server gave no objects: "+h.Message)
	case "":
		r.faults.add(e.line(), e.path(), remedyAgain, "no Kubernetes object: apiVersion and kind are missing")
	default:
		r.dump.Skipped[h.kind()]++
	}
}

// decode turns an element into an object of its type and checks what is needed of it.
func decode[T runtime.Object](r *reader, e element, h header, into T, check func(T) []string) (T, bool) {
	gvk := schema.FromAPIVersionAndKind(h.APIVersion, h.Kind)
	if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(e.json, &gvk, into); err != nil {
		r.faults.add(e.line(), describe(e, h), "", err.Error())
		return into, false
	}
	problems := check(into)
	if h.Metadata.Name == "" || h.Metadata.Namespace == "" {
		problems = append([]string{"it has no name or no namespace"}, problems...)
	}
	for _, problem := range problems {
		r.faults.add(e.line(), describe(e, h), "", problem)
	}
	return into, len(problems) == 0
}

// describe names an object for people: "items[17] Pod default/web".
func describe(e element, h header) string {
	name := h.Metadata.Name
	if h.Metadata.Namespace != "" {
		name = h.Metadata.Namespace + "/" + name
	}
	return strings.Join(strings.Fields(e.path()+" "+h.Kind+" "+name), " ")
}
