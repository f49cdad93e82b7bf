// SPDX-License-Identifier: Apache-2.0

package guard

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// CacheOptions say what the guard of a node caches, and how little of each object: the pods of the node. EndpointSlices
// and Services are not cached: see package slicewatch.
func CacheOptions(node string) cache.Options {
	unsafe := true // objects in the cache are never changed
	return cache.Options{
		ReaderFailOnMissingInformer:  true,
		DefaultUnsafeDisableDeepCopy: &unsafe,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}: {
				Field:     fields.OneTermEqualSelector("spec.nodeName", node),
				Transform: stripPod,
			},
		},
	}
}

func stripPod(obj any) (any, error) {
	p, is := obj.(*corev1.Pod)
	if !is {
		return obj, nil
	}
	p.ObjectMeta = metav1.ObjectMeta{
		Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion,
		CreationTimestamp: p.CreationTimestamp, DeletionTimestamp: p.DeletionTimestamp, OwnerReferences: p.OwnerReferences,
	}
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
	return p, nil
}
