// SPDX-License-Identifier: Apache-2.0

package guard

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/flush"
)

// CacheOptions say what the guard of a node watches, and how little of it is kept: its own pods; every EndpointSlice
// for which some proxy may have made remote endpoints; Services, if anybody asks for them.
func CacheOptions(node string) cache.Options {
	unsafe := true // nobody changes what is in the cache, so that nothing has to be copied
	return cache.Options{
		ReaderFailOnMissingInformer:  true,
		DefaultUnsafeDisableDeepCopy: &unsafe,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}: {
				Field:     fields.OneTermEqualSelector("spec.nodeName", node),
				Transform: strip(stripPod),
			},
			&discoveryv1.EndpointSlice{}: {Label: sliceSelector(), Transform: strip(stripSlice)},
			&corev1.Service{}:            {Transform: strip(stripService)},
		},
	}
}

// sliceSelector is kube-proxy's own selector less one term. Slices of headless Services make no endpoints. Those that
// are labelled for another proxy do not concern kube-proxy either, but that proxy may be a second kube-proxy, whose
// endpoints look the same: they must not be taken for orphans.
func sliceSelector() labels.Selector {
	notHeadless, err := labels.NewRequirement(corev1.IsHeadlessService, selection.DoesNotExist, nil)
	if err != nil {
		panic(err) // a constant is not a valid label
	}
	return labels.NewSelector().Add(*notHeadless)
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

func stripSlice(s *discoveryv1.EndpointSlice) {
	meta := identity(s.ObjectMeta)
	meta.Labels = map[string]string{}
	for _, label := range []string{discoveryv1.LabelServiceName, flush.LabelServiceProxyName} {
		if value, has := s.Labels[label]; has {
			meta.Labels[label] = value
		}
	}
	s.ObjectMeta = meta
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		*e = discoveryv1.Endpoint{
			Addresses: e.Addresses, Conditions: e.Conditions, NodeName: e.NodeName, TargetRef: e.TargetRef,
		}
	}
}

func stripService(s *corev1.Service) {
	s.ObjectMeta = identity(s.ObjectMeta)
	s.Spec = corev1.ServiceSpec{
		ClusterIP: s.Spec.ClusterIP, ClusterIPs: s.Spec.ClusterIPs, ExternalIPs: s.Spec.ExternalIPs,
	}
	s.Status = corev1.ServiceStatus{LoadBalancer: s.Status.LoadBalancer}
}
