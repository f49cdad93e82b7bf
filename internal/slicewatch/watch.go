// SPDX-License-Identifier: Apache-2.0

package slicewatch

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/pass"
)

// Selector selects the EndpointSlices for which a proxy may have created remote endpoints. It is kube-proxy's own
// selector without one term. No proxy creates endpoints for headless Services. Slices with the label of another proxy
// do not concern kube-proxy, but that proxy may be a second kube-proxy, whose endpoints look the same: they must not be
// taken for orphans.
func Selector() labels.Selector {
	notHeadless, err := labels.NewRequirement(corev1.IsHeadlessService, selection.DoesNotExist, nil)
	if err != nil {
		panic(err) // the constant is a valid label
	}
	return labels.NewSelector().Add(*notHeadless)
}

// Options configure a watch.
type Options struct {
	// Client lists and watches on the API server. Required.
	Client client.WithWatch
	// Index gets every slice, and has no others. It also gets the objects of [Pods] and [Services]. Required.
	Index *cluster.Index
	// Selector limits which slices are watched, usually [Selector]. All by default.
	Selector labels.Selector
	// NoWatchList makes the initial list an ordinary one, for a server that does not stream lists.
	NoWatchList bool
}

// Watch keeps an index of EndpointSlices current, as the store of a reflector. It is safe for concurrent use.
type Watch struct {
	opts   Options
	synced chan struct{}
	once   sync.Once

	mu        sync.Mutex
	observers []pass.SliceObserver
	version   string
	notify    func()
}

var (
	_ toolscache.ReflectorStore         = (*Watch)(nil)
	_ toolscache.ReflectorBookmarkStore = (*Watch)(nil)
	_ toolscache.TransformingStore      = (*Watch)(nil)
)

// New returns a watch. [Source] starts it.
func New(o Options) *Watch {
	return &Watch{opts: o, synced: make(chan struct{}), notify: func() {}}
}

// Observe adds observers of every change, which are notified in order. It must be called before the watch starts.
func (w *Watch) Observe(observers ...pass.SliceObserver) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observers = append(w.observers, observers...)
}

// Version returns the resource version up to which the index has everything (invariant 1). It is empty before the first
// list.
func (w *Watch) Version() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.version
}

// Source returns a controller's source that runs the watch, and enqueues a request after each change.
func Source[R comparable](
	w *Watch, enqueue func(workqueue.TypedRateLimitingInterface[R]),
) source.TypedSyncingSource[R] {
	return &reflection[R]{"EndpointSlices", w.synced, enqueue, func(ctx context.Context, notify func()) {
		w.mu.Lock()
		w.notify = notify
		w.mu.Unlock()
		selected := client.ListOptions{LabelSelector: w.opts.Selector}
		w.reflect(ctx, selected, &discoveryv1.EndpointSlice{}, &discoveryv1.EndpointSliceList{}, w)
	}}
}

// compact is the form in which the reflector keeps a slice, by name, while it collects a streamed list.
type compact struct{ *cluster.Slice }

// GetObjectMeta implements [metav1.ObjectMetaAccessor].
func (c compact) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: c.Key.Namespace, Name: c.Key.Name}
}

// Transformer implements [toolscache.TransformingStore], so that a streamed list keeps no whole slices either.
func (w *Watch) Transformer() toolscache.TransformFunc {
	return func(obj any) (any, error) {
		slice, err := sliceOf(obj)
		return compact{slice}, err
	}
}

// sliceOf returns the slice of an object from a list or an event, transformed or not.
func sliceOf(obj any) (*cluster.Slice, error) {
	switch obj := obj.(type) {
	case compact:
		return obj.Slice, nil
	case *discoveryv1.EndpointSlice:
		return cluster.SliceOf(obj), nil
	default:
		return nil, fmt.Errorf("keeping the index of EndpointSlices current: unexpected %T", obj)
	}
}

// Add implements [toolscache.ReflectorStore].
func (w *Watch) Add(obj any) error { return w.Update(obj) }

// Update implements [toolscache.ReflectorStore].
func (w *Watch) Update(obj any) error {
	slice, err := sliceOf(obj)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set(slice)
	w.advance(slice.ResourceVersion)
	return nil
}

// Delete implements [toolscache.ReflectorStore].
func (w *Watch) Delete(obj any) error {
	slice, err := sliceOf(obj)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remove(slice.Key)
	w.advance(slice.ResourceVersion)
	return nil
}

// Replace implements [toolscache.ReflectorStore]: the objects are a whole list. Observers see only what changed. The
// slices that hnsguard wrote come last (invariant 5).
func (w *Watch) Replace(objects []any, version string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	present := make(map[types.NamespacedName]bool, len(objects))
	var own []*cluster.Slice
	for _, obj := range objects {
		slice, err := sliceOf(obj)
		if err != nil {
			return err
		}
		if present[slice.Key] = true; slice.Own {
			own = append(own, slice)
			continue
		}
		w.set(slice)
	}
	for _, key := range w.opts.Index.SliceKeys() {
		if !present[key] {
			w.remove(key)
		}
	}
	for _, slice := range own {
		w.set(slice)
	}
	for _, o := range w.observers {
		if observer, is := o.(pass.RelistObserver); is {
			observer.SlicesRelisted()
		}
	}
	w.advance(version)
	w.once.Do(func() { close(w.synced) })
	return nil
}

// Bookmark implements [toolscache.ReflectorBookmarkStore].
func (w *Watch) Bookmark(version string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version = version
	return nil
}

// Resync implements [toolscache.ReflectorStore]. It does nothing.
func (w *Watch) Resync() error { return nil }

func (w *Watch) set(slice *cluster.Slice) { w.tellObservers(w.opts.Index.SetSlice(slice), slice) }

func (w *Watch) remove(key types.NamespacedName) {
	if before := w.opts.Index.DeleteSlice(key); before != nil {
		w.tellObservers(before, nil)
	}
}

func (w *Watch) tellObservers(before, after *cluster.Slice) {
	for _, o := range w.observers {
		o.SliceChanged(before, after)
	}
}

func (w *Watch) advance(version string) {
	w.version = version
	w.notify()
}
