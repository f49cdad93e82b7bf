// SPDX-License-Identifier: Apache-2.0

package guard

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// CacheOptions say what the guard of a node caches, and how little of each object: the pods of the node, and Services
// if they are watched. EndpointSlices are not cached: see package slicewatch.
func CacheOptions(node string) cache.Options {
	unsafe := true // objects in the cache are never changed
	return cache.Options{
		ReaderFailOnMissingInformer:  true,
		DefaultUnsafeDisableDeepCopy: &unsafe,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}: {
				Field:     fields.OneTermEqualSelector("spec.nodeName", node),
				Transform: strip(stripPod),
			},
			&corev1.Service{}: {Transform: strip(stripService)},
		},
	}
}

func strip[T any](to func(T)) func(any) (any, error) {
	return func(obj any) (any, error) {
		if typed, ok := obj.(T); ok {
			to(typed)
		}
		return obj, nil
	}
}

// identity is what every object keeps of its metadata.
func identity(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
}

func stripPod(p *corev1.Pod) {
	meta := identity(p.ObjectMeta)
	meta.OwnerReferences = p.OwnerReferences
	p.ObjectMeta = meta
	spec := corev1.PodSpec{NodeName: p.Spec.NodeName, HostNetwork: p.Spec.HostNetwork}
	if p.Spec.SecurityContext != nil {
		spec.SecurityContext = &corev1.PodSecurityContext{WindowsOptions: p.Spec.SecurityContext.WindowsOptions}
	}
	for _, c := range p.Spec.Containers {
		if c.SecurityContext != nil && c.SecurityContext.WindowsOptions != nil {
			spec.Containers = append(spec.Containers, corev1.Container{
				Name: c.Name, SecurityContext: &corev1.SecurityContext{WindowsOptions: c.SecurityContext.WindowsOptions},
			})
		}
	}
	p.Spec = spec
	p.Status = corev1.PodStatus{Phase: p.Status.Phase, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs}
}

// stripService keeps the addresses, of which a Service may have as many as fit into an object, only up to a bound.
func stripService(s *corev1.Service) {
	external := cluster.ExternalAddresses(s)
	s.ObjectMeta = identity(s.ObjectMeta)
	s.Spec = corev1.ServiceSpec{ClusterIP: s.Spec.ClusterIP, ClusterIPs: s.Spec.ClusterIPs, ExternalIPs: external}
	s.Status = corev1.ServiceStatus{}
}
