// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

const windows = "windows"

// validateNode refuses the name of a node that runs another system than Windows, or that the cluster does not have.
func (in Input) validateNode() error {
	nodes := sets.New[string]()
	for _, pod := range in.Cluster.Pods {
		nodes.Insert(pod.Spec.NodeName)
	}
	nodes.Delete("")
	_, found := in.node()
	switch os := in.nodeOS(); {
	case os != "" && os != windows:
		return fmt.Errorf("node %q runs %s, and only Windows nodes have HNS%s", in.Node, os, in.windowsNodes())
	case in.Cluster.NodesRecorded && !found:
		return fmt.Errorf("there is no Node %q%s", in.Node, in.windowsNodes())
	case !found && len(nodes) > 0 && !nodes.Has(in.Node):
		return fmt.Errorf("there is no Pod on node %q; there are Pods on %s", in.Node, enumerate(sets.List(nodes)))
	default:
		return nil
	}
}

// node returns what the kubelet reports of the recorded Node.
func (in Input) node() (corev1.NodeSystemInfo, bool) {
	i := slices.IndexFunc(in.Cluster.Nodes, func(n *corev1.Node) bool { return n.Name == in.Node })
	if i < 0 {
		return corev1.NodeSystemInfo{}, false
	}
	return in.Cluster.Nodes[i].Status.NodeInfo, true
}

// nodeOS returns the operating system of the node: the one that its Node shows, or else the one that its Pods require.
// It is empty if nothing shows it.
func (in Input) nodeOS() string {
	if node, found := in.node(); found && node.OperatingSystem != "" {
		return node.OperatingSystem
	}
	required := sets.New[string]()
	for _, pod := range in.Cluster.Pods {
		if os := requiredOS(pod); pod.Spec.NodeName == in.Node && os != "" {
			required.Insert(os)
		}
	}
	if required.Len() != 1 {
		return ""
	}
	return sets.List(required)[0]
}

// requiredOS returns the operating system that the Pod can run on.
func requiredOS(pod *corev1.Pod) string {
	if pod.Spec.OS != nil {
		return string(pod.Spec.OS.Name)
	}
	return pod.Spec.NodeSelector[corev1.LabelOSStable]
}

// windowsNodes lists the Windows nodes, for the end of a message.
func (in Input) windowsNodes() string {
	var names []string
	for _, node := range in.Cluster.Nodes {
		if node.Status.NodeInfo.OperatingSystem == windows {
			names = append(names, node.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "; the recorded Windows nodes are " + enumerate(names)
}

// enumerate lists names, but not more than a terminal shows.
func enumerate(names []string) string {
	const most = 10
	if len(names) > most {
		return fmt.Sprintf("%s and %d others", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
