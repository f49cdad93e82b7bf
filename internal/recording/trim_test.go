// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/hnsguard/hnsguard/internal/recording"
)

// plant puts a text that names its own place into every string of a value, the keys of maps too.
func plant(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		plant(v.Elem(), path)
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				plant(v.Field(i), path+"."+field.Name)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		plant(v.Index(0), path)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		plant(key, path+".key")
		plant(value, path+".value")
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("planted:" + path + ";")
	case reflect.Uint8: // of bytes
		v.SetUint('1') // which is JSON too
	default:
	}
}

// kept are the places of the texts that were planted into an object and are still in what is recorded of it.
func kept[T, R any](t *testing.T, trim func(*T) R, also ...func(*T)) []string {
	t.Helper()
	object := new(T)
	plant(reflect.ValueOf(object).Elem(), "")
	for _, change := range also {
		change(object)
	}
	data, err := json.Marshal(trim(object))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile(`planted:([^;]*);`).FindAllStringSubmatch(string(data), -1) {
		found = append(found, match[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Invariant 7: no other text of an object is recorded.
func TestOnlyWhatIsKnownIsRecorded(t *testing.T) {
	metadata := []string{
		".ObjectMeta.Name", ".ObjectMeta.Namespace", ".ObjectMeta.ResourceVersion", ".ObjectMeta.UID",
		".ObjectMeta.OwnerReferences.APIVersion", ".ObjectMeta.OwnerReferences.Kind", ".ObjectMeta.OwnerReferences.Name",
		".ObjectMeta.OwnerReferences.UID",
	}
	g := NewWithT(t)
	g.Expect(kept(t, recording.TrimPod, func(p *corev1.Pod) {
		p.Spec.NodeSelector[corev1.LabelOSStable] = "planted:.Spec.NodeSelector.OS;"
	})).To(ConsistOf(append(metadata,
		".Spec.NodeName", ".Spec.OS.Name", ".Spec.NodeSelector.OS", ".Spec.Containers.Name",
		".Spec.Containers.Image", ".Status.Phase", ".Status.PodIP", ".Status.PodIPs.IP",

		".Status.ContainerStatuses.Name")))
	label := func(labels map[string]string) {
		labels[discoveryv1.LabelServiceName] = "planted:label;"
		labels["kubernetes.io/token"] = "planted:another label;"
	}
	g.Expect(kept(t, recording.TrimSlice, func(s *discoveryv1.EndpointSlice) { label(s.Labels) })).To(ConsistOf(append(metadata,
		"label", ".AddressType", ".Endpoints.Addresses", ".Endpoints.NodeName",

		".Ports.AppProtocol", ".Ports.Name",
		".Ports.Protocol")))
	g.Expect(kept(t, recording.TrimService, func(s *corev1.Service) { label(s.Labels) })).To(ConsistOf(append(metadata,
		"label", ".Spec.Type", ".Spec.ClusterIP", ".Spec.ClusterIPs", ".Spec.ExternalIPs",
		".Spec.InternalTrafficPolicy", ".Spec.ExternalTrafficPolicy", ".Spec.Ports.Name", ".Spec.Ports.Protocol",
		".Status.LoadBalancer.Ingress.IP", ".Status.LoadBalancer.Ingress.IPMode")))
}

// The test above is worth nothing if it plants nothing.
func TestEverythingIsPlanted(t *testing.T) {
	g := NewWithT(t)
	all := kept(t, func(p *corev1.Pod) *corev1.Pod { return p })
	g.Expect(len(all)).To(BeNumerically(">", 400), fmt.Sprint(len(all)))
	for _, path := range []string{
		".ObjectMeta.Annotations.value", ".Spec.Containers.Env.Value", ".Spec.Containers.Command", ".Spec.Volumes.Name",
	} {
		g.Expect(slices.ContainsFunc(all, func(p string) bool { return strings.HasPrefix(p, path) })).To(BeTrue(), path)
	}
}
