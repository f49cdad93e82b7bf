// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// What is kept of each kind (invariant 7): what reports depend on. A field that is not named here is neither kept nor
// recorded.

// metadata keeps what identifies an object, its age, and the labels by which Kubernetes relates Services and
// EndpointSlices.
func metadata(m metav1.ObjectMeta) metav1.ObjectMeta {
	kept := metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp, OwnerReferences: m.OwnerReferences,
	}
	for _, key := range []string{
		discoveryv1.LabelServiceName, discoveryv1.LabelManagedBy, corev1.IsHeadlessService, cluster.LabelServiceProxyName,
	} {
		if value, has := m.Labels[key]; has {
			metav1.SetMetaDataLabel(&kept, key, value)
		}
	}
	return kept
}

// trimNode keeps nothing that changes all the time. The kubelet knows the operating system better than a label.
func trimNode(n *corev1.Node) *corev1.Node {
	info := n.Status.NodeInfo
	kept := corev1.NodeSystemInfo{KubeletVersion: info.KubeletVersion}
	kept.OperatingSystem = cmp.Or(info.OperatingSystem, n.Labels[corev1.LabelOSStable])
	kept.KubeProxyVersion = info.KubeProxyVersion //nolint:staticcheck // deprecated, but kubelets up to 1.32 set it
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name}, Status: corev1.NodeStatus{NodeInfo: kept}}
}

func trimPod(p *corev1.Pod) *corev1.Pod {
	kept := &corev1.Pod{ObjectMeta: metadata(p.ObjectMeta)}
	kept.Spec = corev1.PodSpec{NodeName: p.Spec.NodeName, HostNetwork: p.Spec.HostNetwork, OS: p.Spec.OS}
	if c := p.Spec.SecurityContext; c != nil {
		kept.Spec.SecurityContext = &corev1.PodSecurityContext{WindowsOptions: hostProcess(c.WindowsOptions)}
	}
	if os, required := p.Spec.NodeSelector[corev1.LabelOSStable]; required {
		kept.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: os}
	}
	for _, c := range p.Spec.Containers {
		container := corev1.Container{Name: c.Name, Image: c.Image}
		if c.SecurityContext != nil {
			container.SecurityContext = &corev1.SecurityContext{WindowsOptions: hostProcess(c.SecurityContext.WindowsOptions)}
		}
		kept.Spec.Containers = append(kept.Spec.Containers, container)
	}
	kept.Status = corev1.PodStatus{
		Phase: p.Status.Phase, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs, StartTime: p.Status.StartTime,
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			kept.Status.Conditions = append(kept.Status.Conditions, corev1.PodCondition{Type: c.Type, Status: c.Status})
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		kept.Status.ContainerStatuses = append(kept.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, State: corev1.ContainerState{Running: c.State.Running},
		})
	}
	return kept
}

func hostProcess(o *corev1.WindowsSecurityContextOptions) *corev1.WindowsSecurityContextOptions {
	if o == nil {
		return nil
	}
	return &corev1.WindowsSecurityContextOptions{HostProcess: o.HostProcess}
}

func trimSlice(s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	kept := &discoveryv1.EndpointSlice{ObjectMeta: metadata(s.ObjectMeta), AddressType: s.AddressType, Ports: s.Ports}
	for _, e := range s.Endpoints {
		kept.Endpoints = append(kept.Endpoints, discoveryv1.Endpoint{
			Addresses: e.Addresses, Conditions: e.Conditions, NodeName: e.NodeName,
		})
	}
	return kept
}

func trimService(s *corev1.Service) *corev1.Service {
	kept := cluster.TrimService(s)
	annotations := kept.Annotations
	kept.ObjectMeta = metadata(s.ObjectMeta)
	kept.Annotations = annotations
	return kept
}
