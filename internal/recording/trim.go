// SPDX-License-Identifier: Apache-2.0

package recording

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// What is recorded of each kind (invariant 7): what verdicts depend on, and what tells a person how a pod fares. A
// field that is not named here is not recorded.

// metadata keeps what identifies an object, and its age.
func metadata(m metav1.ObjectMeta) metav1.ObjectMeta {
	kept := metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
		DeletionGracePeriodSeconds: m.DeletionGracePeriodSeconds,
	}
	for _, owner := range m.OwnerReferences {
		kept.OwnerReferences = append(kept.OwnerReferences, metav1.OwnerReference{
			APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, UID: owner.UID, Controller: owner.Controller,
		})
	}
	return kept
}

func trimPod(p *corev1.Pod) corev1.Pod {
	kept := corev1.Pod{ObjectMeta: metadata(p.ObjectMeta)}
	kept.Spec = corev1.PodSpec{
		NodeName: p.Spec.NodeName, HostNetwork: p.Spec.HostNetwork, RestartPolicy: p.Spec.RestartPolicy,
		SecurityContext: hostProcessOfPod(p.Spec.SecurityContext),
	}
	if p.Spec.OS != nil {
		kept.Spec.OS = &corev1.PodOS{Name: p.Spec.OS.Name}
	}
	if os, required := p.Spec.NodeSelector[corev1.LabelOSStable]; required {
		kept.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: os}
	}
	for _, c := range p.Spec.Containers {
		kept.Spec.Containers = append(kept.Spec.Containers, corev1.Container{
			Name: c.Name, Image: c.Image, SecurityContext: hostProcessOfContainer(c.SecurityContext),
		})
	}
	kept.Status = corev1.PodStatus{
		Phase: p.Status.Phase, Reason: p.Status.Reason, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs,
		HostIP: p.Status.HostIP, StartTime: p.Status.StartTime,
	}
	for _, c := range p.Status.Conditions {
		kept.Status.Conditions = append(kept.Status.Conditions, corev1.PodCondition{
			Type: c.Type, Status: c.Status, Reason: c.Reason, LastTransitionTime: c.LastTransitionTime,
		})
	}
	for _, c := range p.Status.ContainerStatuses {
		kept.Status.ContainerStatuses = append(kept.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Ready: c.Ready, RestartCount: c.RestartCount,
		})
	}
	return kept
}

func hostProcessOfPod(c *corev1.PodSecurityContext) *corev1.PodSecurityContext {
	if c == nil || c.WindowsOptions == nil {
		return nil
	}
	return &corev1.PodSecurityContext{WindowsOptions: hostProcess(c.WindowsOptions)}
}

func hostProcessOfContainer(c *corev1.SecurityContext) *corev1.SecurityContext {
	if c == nil || c.WindowsOptions == nil {
		return nil
	}
	return &corev1.SecurityContext{WindowsOptions: hostProcess(c.WindowsOptions)}
}

func hostProcess(o *corev1.WindowsSecurityContextOptions) *corev1.WindowsSecurityContextOptions {
	return &corev1.WindowsSecurityContextOptions{HostProcess: o.HostProcess}
}

func trimSlice(s *discoveryv1.EndpointSlice) discoveryv1.EndpointSlice {
	kept := discoveryv1.EndpointSlice{ObjectMeta: metadata(s.ObjectMeta), AddressType: s.AddressType}
	kept.Labels = knownLabels(s.Labels)
	for _, e := range s.Endpoints {
		trimmed := discoveryv1.Endpoint{Addresses: e.Addresses, Conditions: e.Conditions, NodeName: e.NodeName}
		if e.TargetRef != nil {
			trimmed.TargetRef = &corev1.ObjectReference{
				Kind: e.TargetRef.Kind, Namespace: e.TargetRef.Namespace, Name: e.TargetRef.Name, UID: e.TargetRef.UID,
			}
		}
		kept.Endpoints = append(kept.Endpoints, trimmed)
	}
	for _, p := range s.Ports {
		kept.Ports = append(kept.Ports, discoveryv1.EndpointPort{Name: p.Name, Protocol: p.Protocol, Port: p.Port})
	}
	return kept
}

func trimService(s *corev1.Service) corev1.Service {
	kept := corev1.Service{ObjectMeta: metadata(s.ObjectMeta)}
	kept.Labels = knownLabels(s.Labels)
	kept.Spec = corev1.ServiceSpec{
		Type: s.Spec.Type, ClusterIP: s.Spec.ClusterIP, ClusterIPs: s.Spec.ClusterIPs, ExternalIPs: s.Spec.ExternalIPs,
		IPFamilies: s.Spec.IPFamilies, IPFamilyPolicy: s.Spec.IPFamilyPolicy,
		InternalTrafficPolicy: s.Spec.InternalTrafficPolicy, ExternalTrafficPolicy: s.Spec.ExternalTrafficPolicy,
	}
	for _, p := range s.Spec.Ports {
		kept.Spec.Ports = append(kept.Spec.Ports, corev1.ServicePort{
			Name: p.Name, Protocol: p.Protocol, Port: p.Port, TargetPort: p.TargetPort, NodePort: p.NodePort,
		})
	}
	for _, ingress := range s.Status.LoadBalancer.Ingress {
		kept.Status.LoadBalancer.Ingress = append(kept.Status.LoadBalancer.Ingress,
			corev1.LoadBalancerIngress{IP: ingress.IP})
	}
	return kept
}

// trimNode writes what is read of a Node.
func trimNode(n Node) corev1.Node {
	node := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name}}
	info := corev1.NodeSystemInfo{OperatingSystem: n.OS, KubeletVersion: n.KubeletVersion}
	info.KubeProxyVersion = n.KubeProxyVersion //nolint:staticcheck // deprecated, but older kubelets set it
	node.Status.NodeInfo = info
	return node
}

// knownLabels keeps the labels by which Kubernetes relates Services and EndpointSlices.
func knownLabels(labels map[string]string) map[string]string {
	kept := map[string]string{}
	for _, key := range []string{
		discoveryv1.LabelServiceName, discoveryv1.LabelManagedBy, corev1.IsHeadlessService, cluster.LabelServiceProxyName,
	} {
		if value, has := labels[key]; has {
			kept[key] = value
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}
