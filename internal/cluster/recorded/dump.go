// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Dump is what one or more recorded files say of a cluster.
type Dump struct {
	Pods     []*corev1.Pod
	Slices   []*discoveryv1.EndpointSlice
	Services []*corev1.Service

	// PodsRecorded and its like are false when no file held an object or a list of the kind: unknown is not "none".
	PodsRecorded     bool
	SlicesRecorded   bool
	ServicesRecorded bool

	// Skipped counts the objects of other kinds, by API version and kind: "apps/v1 Deployment".
	Skipped map[string]int
}

// Notes says for people what was passed over.
func (d Dump) Notes() []string {
	var notes []string
	for _, kind := range slices.Sorted(maps.Keys(d.Skipped)) {
		note := fmt.Sprintf("%d × %s passed over: not needed", d.Skipped[kind], kind)
		if kind == endpointsKind {
			note = fmt.Sprintf("%d × %s passed over: EndpointSlices are read instead", d.Skipped[kind], kind)
		}
		notes = append(notes, note)
	}
	return notes
}

// Merge puts together what several files say of one cluster at one moment. Files may overlap; where they contradict
// each other they are not of one moment, which is an error.
func Merge(dumps ...Dump) (Dump, error) {
	all := Dump{Skipped: map[string]int{}}
	for _, d := range dumps {
		all.Pods = append(all.Pods, d.Pods...)
		all.Slices = append(all.Slices, d.Slices...)
		all.Services = append(all.Services, d.Services...)
		all.PodsRecorded = all.PodsRecorded || d.PodsRecorded
		all.SlicesRecorded = all.SlicesRecorded || d.SlicesRecorded
		all.ServicesRecorded = all.ServicesRecorded || d.ServicesRecorded
		for kind, n := range d.Skipped {
			all.Skipped[kind] += n
		}
	}
	if err := all.compact(); err != nil {
		return Dump{}, fmt.Errorf("putting recorded files together (give files of one moment): %w", err)
	}
	return all, nil
}

// compact drops what occurs more than once.
func (d *Dump) compact() error {
	var errPods, errSlices, errServices error
	d.Pods, errPods = distinct("Pod", d.Pods)
	d.Slices, errSlices = distinct("EndpointSlice", d.Slices)
	d.Services, errServices = distinct("Service", d.Services)
	return errors.Join(errPods, errSlices, errServices)
}

// distinct keeps the first of objects that are the same, and complains of such as bear one name and are not.
func distinct[T metav1.Object](kind string, objects []T) ([]T, error) {
	var (
		kept []T
		errs []error
	)
	byName := map[string]T{}
	for _, o := range objects {
		name := o.GetNamespace() + "/" + o.GetName()
		first, known := byName[name]
		switch {
		case !known:
			byName[name] = o
			kept = append(kept, o)
		case !apiequality.Semantic.DeepEqual(first, o):
			errs = append(errs, fmt.Errorf("%s %s occurs twice, and differently", kind, name))
		}
	}
	return kept, errors.Join(errs...)
}
