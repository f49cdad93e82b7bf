// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// PodID identifies one pod, not a later one of the same name.
type PodID struct {
	types.NamespacedName
	UID types.UID
}

// Reference returns the reference that an Event on the pod needs. kubectl describe shows only Events with the UID.
func (id PodID) Reference() *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: id.Namespace, Name: id.Name, UID: id.UID,
	}
}

// Pod is the part of a pod that decisions need.
type Pod struct {
	Key types.NamespacedName
	UID types.UID
	// Node is the name of the pod's node.
	Node string
	// Addresses are the IPs in its status; there are none until the kubelet has reported them.
	Addresses []netip.Addr
	// HostNetwork is set for pods in the host network, including HostProcess pods. Their addresses are the node's.
	HostNetwork bool
	// Deleting is set once the deletion of the pod was requested. The status keeps its addresses until the end.
	Deleting bool
	// Ends is when a pod that is being deleted should be gone: when its grace period is over.
	Ends time.Time
	// Terminal is set once the pod has succeeded or failed. Its status keeps its addresses, which may be in use again.
	Terminal bool
	// Running is set while the pod's phase is Running.
	Running bool
	// Controller is the owner that would replace the pod; it is zero if none would.
	Controller Controller
	Created    time.Time
}

// Controller is the controlling owner of a pod.
type Controller struct {
	Kind string
	UID  types.UID
}

// ID returns the identity of the pod.
func (p Pod) ID() PodID { return PodID{NamespacedName: p.Key, UID: p.UID} }

// Live reports whether the pod exclusively holds the addresses in its status.
func (p Pod) Live() bool { return !p.HostNetwork && !p.Deleting && !p.Terminal }

// Waiting reports whether the pod has yet to get an address.
func (p Pod) Waiting() bool { return p.Live() && len(p.Addresses) == 0 }

// PodOf returns the part of a pod that decisions need. It accepts pods of any node.
func PodOf(pod *corev1.Pod) Pod {
	p := Pod{
		Key: keyOf(pod), UID: pod.UID, Node: pod.Spec.NodeName,
		HostNetwork: pod.Spec.HostNetwork || hostProcess(pod),
		Deleting:    pod.DeletionTimestamp != nil,
		Terminal:    pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed,
		Running:     pod.Status.Phase == corev1.PodRunning,
		Created:     pod.CreationTimestamp.Time,
	}
	if p.Deleting {
		p.Ends = pod.DeletionTimestamp.Time
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		p.Controller = Controller{Kind: owner.Kind, UID: owner.UID}
	}
	for _, ip := range slices.Concat(pod.Status.PodIPs, []corev1.PodIP{{IP: pod.Status.PodIP}}) {
		if addr, ok := parse(ip.IP); ok && !slices.Contains(p.Addresses, addr) {
			p.Addresses = append(p.Addresses, addr)
		}
	}
	return p
}

// hostProcess reports whether the pod or any of its containers is a HostProcess one: on Windows either all containers
// of a pod are, or none is.
func hostProcess(pod *corev1.Pod) bool {
	is := func(o *corev1.WindowsSecurityContextOptions) bool {
		return o != nil && o.HostProcess != nil && *o.HostProcess
	}
	if pod.Spec.SecurityContext != nil && is(pod.Spec.SecurityContext.WindowsOptions) {
		return true
	}
	return slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool {
		return c.SecurityContext != nil && is(c.SecurityContext.WindowsOptions)
	})
}
