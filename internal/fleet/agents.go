// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The agent's container, and its program. The variable gives the path of the container's root for all versions of
// containerd; before 1.7 nothing else does. Neither value is read from a pod (invariant 4).
const (
	Container = "hnsguard"
	Program   = `%CONTAINER_SANDBOX_MOUNT_POINT%\hnsguard.exe`
)

// Command is the command that prints the status of the agent in whose container it runs.
func Command() []string { return []string{Program, "agent-status"} }

// agents returns the agents' pods by node, and a note for each pod that only looks like one (invariant 4).
func (o Options) agents(ctx context.Context) (map[string][]*corev1.Pod, []string, error) {
	selection := &client.ListOptions{Namespace: o.Namespace, LabelSelector: o.Selector}
	var sets appsv1.DaemonSetList
	if err := o.API.List(ctx, &sets, selection); err != nil {
		return nil, nil, fmt.Errorf("listing the agents' DaemonSets: %w", err)
	}
	owners := map[types.UID]*appsv1.DaemonSet{}
	for i := range sets.Items {
		owners[sets.Items[i].UID] = &sets.Items[i]
	}
	var pods corev1.PodList
	if err := o.API.List(ctx, &pods, selection); err != nil {
		return nil, nil, fmt.Errorf("listing the agents' pods: %w", err)
	}
	agents, notes := map[string][]*corev1.Pod{}, []string{}
	for i := range pods.Items {
		p := &pods.Items[i]
		if fault := impostor(p, owners); fault != "" {
			notes = append(notes, fmt.Sprintf("ignored pod %s/%s, which has the labels of an agent: %s",
				p.Namespace, p.Name, fault))
		} else if p.Spec.NodeName != "" {
			agents[p.Spec.NodeName] = append(agents[p.Spec.NodeName], p)
		}
	}
	if len(sets.Items) == 0 {
		notes = append(notes, o.missingRelease())
	}
	return agents, notes, nil
}

func (o Options) missingRelease() string {
	if o.Namespace == "" {
		return fmt.Sprintf("no namespace has a DaemonSet with the labels %s", o.Selector)
	}
	return fmt.Sprintf("namespace %s has no DaemonSet with the labels %s; name the namespace of the release with "+
		"--namespace, or search all of them with --all-namespaces", o.Namespace, o.Selector)
}

// impostor returns why a pod is not an agent, or an empty string.
func impostor(p *corev1.Pod, owners map[types.UID]*appsv1.DaemonSet) string {
	var set *appsv1.DaemonSet
	if owner := metav1.GetControllerOf(p); owner != nil && owner.Kind == "DaemonSet" {
		set = owners[owner.UID]
	}
	switch {
	case set == nil || set.Namespace != p.Namespace:
		return "no DaemonSet of hnsguard owns it"
	case p.Spec.ServiceAccountName != set.Spec.Template.Spec.ServiceAccountName:
		return fmt.Sprintf("its service account is %q, and that of the DaemonSet %q", p.Spec.ServiceAccountName,
			set.Spec.Template.Spec.ServiceAccountName)
	case !isHostProcess(p):
		return "it is not a HostProcess pod"
	default:
		return ""
	}
}

func isHostProcess(p *corev1.Pod) bool {
	context := p.Spec.SecurityContext
	return context != nil && context.WindowsOptions != nil && ptr.Deref(context.WindowsOptions.HostProcess, false)
}

// describePod says why a pod is not running.
func describePod(p *corev1.Pod) string {
	if p.DeletionTimestamp != nil {
		return "Terminating"
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && w.Reason != "" {
			return fmt.Sprintf("%s (%s)", p.Status.Phase, w.Reason)
		}
	}
	if p.Status.Phase == "" {
		return "of unknown phase"
	}
	return string(p.Status.Phase)
}
