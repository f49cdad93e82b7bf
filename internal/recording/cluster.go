// SPDX-License-Identifier: Apache-2.0

package recording

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

// Cluster is what one or more files say about a cluster.
type Cluster struct {
	Nodes    []Node
	Pods     []*corev1.Pod
	Slices   []*discoveryv1.EndpointSlice
	Services []*corev1.Service

	// NodesRecorded and its like are false if no file holds an object or a list of the kind: unknown is not "none".
	NodesRecorded    bool
	PodsRecorded     bool
	SlicesRecorded   bool
	ServicesRecorded bool

	// Skipped counts the objects of other kinds, by API version and kind: "apps/v1 Deployment".
	Skipped map[string]int
}

// Node is what a scan needs to know of a Node. Fields are empty if the Node does not say.
type Node struct {
	Name string
	// OS is "windows" or "linux".
	OS             string
	KubeletVersion string
	// KubeProxyVersion is what the kubelet reports: up to 1.32 its own version, from 1.33 on nothing.
	KubeProxyVersion string
}

// NodeOf reads a Node.
func NodeOf(node *corev1.Node) Node {
	info := node.Status.NodeInfo
	n := Node{Name: node.Name, OS: info.OperatingSystem, KubeletVersion: info.KubeletVersion}
	n.KubeProxyVersion = info.KubeProxyVersion //nolint:staticcheck // deprecated, but older kubelets set it
	if n.OS == "" {
		n.OS = node.Labels[corev1.LabelOSStable]
	}
	return n
}

// Notes says for people what was skipped.
func (d Cluster) Notes() []string {
	var notes []string
	for _, kind := range slices.Sorted(maps.Keys(d.Skipped)) {
		note := fmt.Sprintf("skipped %d × %s, which a scan does not need", d.Skipped[kind], kind)
		if kind == endpointsKind {
			note = fmt.Sprintf("skipped %d × %s: EndpointSlices are read instead", d.Skipped[kind], kind)
		}
		notes = append(notes, note)
	}
	return notes
}

// MergeCluster combines the files of one cluster, recorded at one moment. Files may overlap; files that contradict each
// other are an error.
func MergeCluster(dumps ...Cluster) (Cluster, error) {
	all := Cluster{Skipped: map[string]int{}}
	for _, d := range dumps {
		all.Nodes = append(all.Nodes, d.Nodes...)
		all.Pods = append(all.Pods, d.Pods...)
		all.Slices = append(all.Slices, d.Slices...)
		all.Services = append(all.Services, d.Services...)
		all.NodesRecorded = all.NodesRecorded || d.NodesRecorded
		all.PodsRecorded = all.PodsRecorded || d.PodsRecorded
		all.SlicesRecorded = all.SlicesRecorded || d.SlicesRecorded
		all.ServicesRecorded = all.ServicesRecorded || d.ServicesRecorded
		for kind, n := range d.Skipped {
			all.Skipped[kind] += n
		}
	}
	if conflicts := all.compact(); len(conflicts) > 0 {
		return Cluster{}, fmt.Errorf("merging recordings of the cluster (record all files at one moment): %w",
			errors.Join(conflicts...))
	}
	return all, nil
}

// compact drops repeated objects, and returns an error for each of the first that differ.
func (d *Cluster) compact() []error {
	var conflicts []error
	d.Nodes = distinct("Node", d.Nodes, func(n Node) string { return n.Name }, &conflicts)
	d.Pods = distinct("Pod", d.Pods, nameOf, &conflicts)
	d.Slices = distinct("EndpointSlice", d.Slices, nameOf, &conflicts)
	d.Services = distinct("Service", d.Services, nameOf, &conflicts)
	return conflicts
}

func nameOf[T metav1.Object](object T) string { return object.GetNamespace() + "/" + object.GetName() }

// distinct keeps the first of equal objects and reports different ones of one name.
func distinct[T any](kind string, objects []T, nameOf func(T) string, conflicts *[]error) []T {
	var kept []T
	byName := map[string]T{}
	for _, o := range objects {
		name := nameOf(o)
		first, known := byName[name]
		switch {
		case !known:
			byName[name] = o
			kept = append(kept, o)
		case len(*conflicts) < maxFaults && !apiequality.Semantic.DeepEqual(first, o):
			*conflicts = append(*conflicts, fmt.Errorf("%s %.300s occurs twice, with different content", kind, name))
		}
	}
	return kept
}
