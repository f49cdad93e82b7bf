// SPDX-License-Identifier: Apache-2.0

package slicewatch

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// Pods returns a controller's source that keeps the pods on the node current in a watch's index, and enqueues a request
// after each change.
func Pods[R comparable](
	w *Watch, enqueue func(workqueue.TypedRateLimitingInterface[R]),
) source.TypedSyncingSource[R] {
	index := w.opts.Index
	pods := newObjects(index.SetPod, index.DeletePod, index.ReplacePods)
	ofNode := client.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", index.Node())}
	return &reflection[R]{"pods", pods.synced, enqueue, func(ctx context.Context, notify func()) {
		pods.notify = notify
		w.reflect(ctx, ofNode, &corev1.Pod{}, &corev1.PodList{}, pods)
	}}
}

// Services returns a controller's source that keeps the Services current in a watch's index, and enqueues a request
// after each change.
func Services[R comparable](
	w *Watch, enqueue func(workqueue.TypedRateLimitingInterface[R]),
) source.TypedSyncingSource[R] {
	index := w.opts.Index
	all := services{newObjects(index.SetService, index.DeleteService, index.ReplaceServices)}
	return &reflection[R]{"Services", all.synced, enqueue, func(ctx context.Context, notify func()) {
		all.notify = notify
		w.reflect(ctx, client.ListOptions{}, &corev1.Service{}, &corev1.ServiceList{}, all)
	}}
}

// objects is the store of a reflector for one kind. The objects themselves are only in the index.
type objects[T client.Object] struct {
	set, remove func(T)
	replace     func([]T)
	notify      func()
	synced      chan struct{}
	once        sync.Once
}

func newObjects[T client.Object](set, remove func(T), replace func([]T)) *objects[T] {
	return &objects[T]{set: set, remove: remove, replace: replace, synced: make(chan struct{})}
}

// Add implements [toolscache.ReflectorStore].
func (o *objects[T]) Add(obj any) error { return o.Update(obj) }

// Update implements [toolscache.ReflectorStore].
func (o *objects[T]) Update(obj any) error { return o.change(obj, o.set) }

// Delete implements [toolscache.ReflectorStore].
func (o *objects[T]) Delete(obj any) error { return o.change(obj, o.remove) }

func (o *objects[T]) change(obj any, change func(T)) error {
	change(obj.(T)) //nolint:forcetypeassert // the reflector passes on objects of its type only
	o.notify()
	return nil
}

// Replace implements [toolscache.ReflectorStore].
func (o *objects[T]) Replace(list []any, _ string) error {
	all := make([]T, 0, len(list))
	for _, obj := range list {
		all = append(all, obj.(T)) //nolint:forcetypeassert // as above
	}
	o.replace(all)
	o.notify()
	o.once.Do(func() { close(o.synced) })
	return nil
}

// Resync implements [toolscache.ReflectorStore]. It does nothing.
func (*objects[T]) Resync() error { return nil }

// services is the store of Services.
type services struct{ *objects[*corev1.Service] }

var _ toolscache.TransformingStore = services{}

// Transformer implements [toolscache.TransformingStore]: while the reflector collects a streamed list, it keeps no more
// of each Service than the index does.
func (services) Transformer() toolscache.TransformFunc {
	return func(obj any) (any, error) {
		return cluster.TrimService(obj.(*corev1.Service)), nil //nolint:forcetypeassert // as above
	}
}
