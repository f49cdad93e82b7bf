// SPDX-License-Identifier: Apache-2.0

package slicewatch

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// reflection makes a reflector the source of a controller, and enqueues a request after each change.
type reflection[R comparable] struct {
	what    string
	synced  <-chan struct{}
	enqueue func(workqueue.TypedRateLimitingInterface[R])
	run     func(ctx context.Context, notify func())
}

// Start implements [source.TypedSource].
func (r *reflection[R]) Start(ctx context.Context, queue workqueue.TypedRateLimitingInterface[R]) error {
	r.run(ctx, func() { r.enqueue(queue) })
	return nil
}

// WaitForSync implements [source.TypedSyncingSource].
func (r *reflection[R]) WaitForSync(ctx context.Context) error {
	select {
	case <-r.synced:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the first list of %s: %w", r.what, ctx.Err())
	}
}

// reflect runs a reflector that keeps a store current until the context ends.
func (w *Watch) reflect(
	ctx context.Context, selected client.ListOptions, kind client.Object, empty client.ObjectList,
	store toolscache.ReflectorStore,
) {
	options := func(raw metav1.ListOptions) *client.ListOptions {
		o := selected
		o.Limit, o.Continue, o.Raw = raw.Limit, raw.Continue, &raw
		return &o
	}
	server := toolscache.ToListWatcherWithWatchListSemantics(&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			list := empty.DeepCopyObject().(client.ObjectList) //nolint:forcetypeassert // a copy has the same type
			return list, w.opts.Client.List(ctx, list, options(raw))
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
			return w.opts.Client.Watch(ctx, empty, options(raw))
		},
	}, watchListSemantics(w.opts.NoWatchList))
	log := logf.FromContext(ctx)
	reflector := toolscache.NewReflectorWithOptions(server, kind, store,
		toolscache.ReflectorOptions{Name: fmt.Sprintf("%T", kind), Logger: &log})
	go reflector.RunWithContext(ctx)
}

// watchListSemantics tells client-go whether the server does not stream lists.
type watchListSemantics bool

// IsWatchListSemanticsUnSupported is the method that client-go looks for.
func (unsupported watchListSemantics) IsWatchListSemanticsUnSupported() bool {
	return bool(unsupported)
}
