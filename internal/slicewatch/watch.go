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
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/pass"
)

// Selector selects the EndpointSlices for which some proxy may have made remote endpoints. It is kube-proxy's own
// selector less one term. Slices of headless Services make no endpoints. Those that are labelled for another proxy do
// not concern kube-proxy either, but that proxy may be a second kube-proxy, whose endpoints look the same: they must
// not be taken for orphans.
func Selector() labels.Selector {
	notHeadless, err := labels.NewRequirement(corev1.IsHeadlessService, selection.DoesNotExist, nil)
	if err != nil {
		panic(err) // a constant is not a valid label
	}
	return labels.NewSelector().Add(*notHeadless)
}

// Options configure a watch.
type Options struct {
	// Client lists and watches on the API server. Required.
	Client client.WithWatch
	// Index gets every slice, and has no others; and every Service, where they are watched. Required.
	Index *cluster.Index
	// Selector limits which slices are watched, usually [Selector]. All by default.
	Selector labels.Selector
	// NoWatchList makes the initial list an ordinary one, for a server that does not stream lists.
	NoWatchList bool
}

// Watch keeps an index of EndpointSlices current. It is the store of a reflector. It is safe for concurrent use.
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

// New returns a watch that has to be started by [Source].
func New(o Options) *Watch {
	return &Watch{opts: o, synced: make(chan struct{}), notify: func() {}}
}

// Observe adds observers of every change, which see it in their order. It must be called before the watch starts.
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

// Source returns the watch as the source of a controller, which enqueues a request after each change.
func Source[R comparable](
	w *Watch, enqueue func(workqueue.TypedRateLimitingInterface[R]),
) source.TypedSyncingSource[R] {
	return &watchSource[R]{watch: w, enqueue: enqueue}
}

type watchSource[R comparable] struct {
	watch   *Watch
	enqueue func(workqueue.TypedRateLimitingInterface[R])
}

// Start implements [source.TypedSource].
func (s *watchSource[R]) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[R]) error {
	s.watch.mu.Lock()
	s.watch.notify = func() { s.enqueue(queue) }
	s.watch.mu.Unlock()
	w := s.watch
	runReflector(ctx, w.opts, w.opts.Selector, &discoveryv1.EndpointSlice{}, &discoveryv1.EndpointSliceList{}, w)
	return nil
}

// WaitForSync implements [source.TypedSyncingSource].
func (s *watchSource[R]) WaitForSync(ctx context.Context) error {
	select {
	case <-s.watch.synced:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the first list of EndpointSlices: %w", ctx.Err())
	}
}

// runReflector keeps a store current until the context ends. The type of the list is that of an empty one.
func runReflector(
	ctx context.Context, o Options, selector labels.Selector, kind client.Object, empty client.ObjectList,
	store toolscache.ReflectorStore,
) {
	options := func(raw metav1.ListOptions) *client.ListOptions {
		return &client.ListOptions{LabelSelector: selector, Limit: raw.Limit, Continue: raw.Continue, Raw: &raw}
	}
	server := toolscache.ToListWatcherWithWatchListSemantics(&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			list := empty.DeepCopyObject().(client.ObjectList) //nolint:forcetypeassert // a copy has the same type
			return list, o.Client.List(ctx, list, options(raw))
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
			return o.Client.Watch(ctx, empty, options(raw))
		},
	}, watchListSemantics(o.NoWatchList))
	log := logf.FromContext(ctx)
	reflector := toolscache.NewReflectorWithOptions(server, kind, store,
		toolscache.ReflectorOptions{Name: fmt.Sprintf("%T", kind), Logger: &log})
	go reflector.RunWithContext(ctx)
}

// watchListSemantics tells client-go whether the server streams lists.
type watchListSemantics bool

// IsWatchListSemanticsUnSupported is the method that client-go looks for.
func (unsupported watchListSemantics) IsWatchListSemanticsUnSupported() bool {
	return bool(unsupported)
}

// compact is a slice as the reflector keeps it until a streamed list is complete, which it does by name.
type compact struct{ *cluster.Slice }

// GetObjectMeta implements [metav1.ObjectMetaAccessor].
func (c compact) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: c.Key.Namespace, Name: c.Key.Name}
}

// Transformer implements [toolscache.TransformingStore]: of a streamed list no whole slices are kept either.
func (w *Watch) Transformer() toolscache.TransformFunc {
	return func(obj any) (any, error) {
		slice, err := sliceOf(obj)
		return compact{slice}, err
	}
}

// sliceOf returns what is kept of an object: that of a list or an event, or one that was transformed.
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

// Replace implements [toolscache.ReflectorStore]: the slices are those of a list. Observers see what changed.
func (w *Watch) Replace(objects []any, version string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	present := make(map[types.NamespacedName]bool, len(objects))
	for _, obj := range objects {
		slice, err := sliceOf(obj)
		if err != nil {
			return err
		}
		present[slice.Key] = true
		w.set(slice)
	}
	for _, key := range w.opts.Index.SliceKeys() {
		if !present[key] {
			w.remove(key)
		}
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

// Resync implements [toolscache.ReflectorStore]. There is nothing to do.
func (w *Watch) Resync() error { return nil }

func (w *Watch) set(slice *cluster.Slice) { w.observe(w.opts.Index.SetSlice(slice), slice) }

func (w *Watch) remove(key types.NamespacedName) {
	if before := w.opts.Index.DeleteSlice(key); before != nil {
		w.observe(before, nil)
	}
}

func (w *Watch) observe(before, after *cluster.Slice) {
	for _, o := range w.observers {
		o.SliceChanged(before, after)
	}
}

func (w *Watch) advance(version string) {
	w.version = version
	w.notify()
}
