// SPDX-License-Identifier: Apache-2.0

package slicewatch

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// Services returns the source of a controller that keeps the Services in the index of a watch current, and enqueues a
// request after each change.
func Services[R comparable](
	w *Watch, enqueue func(workqueue.TypedRateLimitingInterface[R]),
) source.TypedSource[R] {
	return source.TypedFunc[R](func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[R]) error {
		store := services{w.opts.Index, func() { enqueue(queue) }}
		runReflector(ctx, w.opts, nil, &corev1.Service{}, &corev1.ServiceList{}, store)
		return nil
	})
}

// services are the Services of an index, as the store of a reflector: nothing else keeps them.
type services struct {
	index  *cluster.Index
	notify func()
}

var _ toolscache.TransformingStore = services{}

// Transformer implements [toolscache.TransformingStore]: until a streamed list is complete, the reflector keeps of each
// Service only its name and addresses.
func (services) Transformer() toolscache.TransformFunc {
	return func(obj any) (any, error) {
		service, err := serviceOf(obj)
		if err != nil {
			return nil, err
		}
		small := &corev1.Service{}
		small.Namespace, small.Name = service.Namespace, service.Name
		small.Spec.ClusterIP, small.Spec.ClusterIPs = service.Spec.ClusterIP, service.Spec.ClusterIPs
		small.Spec.ExternalIPs = cluster.ExternalAddresses(service)
		return small, nil
	}
}

func serviceOf(obj any) (*corev1.Service, error) {
	service, is := obj.(*corev1.Service)
	if !is {
		return nil, fmt.Errorf("keeping the index of Services current: unexpected %T", obj)
	}
	return service, nil
}

// Add implements [toolscache.ReflectorStore].
func (s services) Add(obj any) error { return s.Update(obj) }

// Update implements [toolscache.ReflectorStore].
func (s services) Update(obj any) error { return s.change(obj, s.index.SetService) }

// Delete implements [toolscache.ReflectorStore].
func (s services) Delete(obj any) error { return s.change(obj, s.index.DeleteService) }

func (s services) change(obj any, change func(*corev1.Service)) error {
	service, err := serviceOf(obj)
	if err != nil {
		return err
	}
	change(service)
	s.notify()
	return nil
}

// Replace implements [toolscache.ReflectorStore].
func (s services) Replace(objects []any, _ string) error {
	all := make([]*corev1.Service, 0, len(objects))
	for _, obj := range objects {
		service, err := serviceOf(obj)
		if err != nil {
			return err
		}
		all = append(all, service)
	}
	s.index.ReplaceServices(all)
	s.notify()
	return nil
}

// Resync implements [toolscache.ReflectorStore]. There is nothing to do.
func (services) Resync() error { return nil }
