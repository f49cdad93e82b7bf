// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/cluster"
)

// api is an API server in this process: a fake client, and informers that list and watch through it.
type api struct {
	client.WithWatch
	// watched is done when all initial watches are established. The fake server does not replay what happened between a
	// list and its watch, so nothing may change before that.
	watched       sync.WaitGroup
	slicesWatched func()
}

// watches is how many kinds the agent watches from the start: pods and EndpointSlices.
const watches = 2

func newAPI() (*api, error) {
	scheme, err := agent.Scheme()
	if err != nil {
		return nil, err
	}
	a := &api{WithWatch: fake.NewClientBuilder().WithScheme(scheme).
		WithIndex(&corev1.Pod{}, "spec.nodeName", podIndex(func(p *corev1.Pod) string { return p.Spec.NodeName })).
		WithIndex(&corev1.Pod{}, "status.podIP", podIndex(func(p *corev1.Pod) string { return p.Status.PodIP })).Build()}
	a.watched.Add(watches)
	a.slicesWatched = sync.OnceFunc(a.watched.Done)
	return a, nil
}

// podIndex makes a field of pods one that the fake server selects by, as the real one does.
func podIndex(field func(*corev1.Pod) string) client.IndexerFunc {
	return func(obj client.Object) []string {
		pod, is := obj.(*corev1.Pod)
		if !is {
			return nil
		}
		return []string{field(pod)}
	}
}

// manager makes a manager that uses this API instead of a server.
func (a *api) manager(options agent.Options) (manager.Manager, error) {
	o, err := agent.ManagerOptions(options)
	if err != nil {
		return nil, err
	}
	o.MapperProvider = func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
		mapper := meta.NewDefaultRESTMapper(nil)
		for _, gvk := range []schema.GroupVersionKind{
			corev1.SchemeGroupVersion.WithKind("Pod"), corev1.SchemeGroupVersion.WithKind("Service"),
			discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"),
		} {
			mapper.Add(gvk, meta.RESTScopeNamespace)
		}
		return mapper, nil
	}
	o.NewClient = func(*rest.Config, client.Options) (client.Client, error) { return a.WithWatch, nil }
	o.Cache.NewInformer = a.informer
	mgr, err := manager.New(&rest.Config{Host: "http://in-process.invalid"}, o)
	if err != nil {
		return nil, fmt.Errorf("building the manager: %w", err)
	}
	return mgr, nil
}

// noWatchList makes informers list and then watch: the fake server does not support streaming lists.
type noWatchList struct{}

// IsWatchListSemanticsUnSupported implements the check that client-go makes.
func (noWatchList) IsWatchListSemanticsUnSupported() bool { return true }

func (a *api) informer(_ toolscache.ListerWatcher, kind runtime.Object, resync time.Duration,
	indexers toolscache.Indexers,
) toolscache.SharedIndexInformer {
	established := sync.OnceFunc(a.watched.Done)
	lw := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			list, err := listOf(kind)
			if err != nil {
				return nil, err
			}
			return list, a.List(ctx, list)
		},
		WatchFuncWithContext: func(ctx context.Context, _ metav1.ListOptions) (watch.Interface, error) {
			list, err := listOf(kind)
			if err != nil {
				return nil, err
			}
			defer established()
			return a.Watch(ctx, list)
		},
	}
	return toolscache.NewSharedIndexInformer(
		toolscache.ToListWatcherWithWatchListSemantics(lw, noWatchList{}), kind, resync, indexers)
}

func listOf(kind runtime.Object) (client.ObjectList, error) {
	switch kind.(type) {
	case *corev1.Pod:
		return &corev1.PodList{}, nil
	case *discoveryv1.EndpointSlice:
		return &discoveryv1.EndpointSliceList{}, nil
	case *corev1.Service:
		return &corev1.ServiceList{}, nil
	default:
		return nil, fmt.Errorf("the API of the demo has no %T", kind)
	}
}

// Watch counts the watches that are established.
func (a *api) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	if _, is := list.(*discoveryv1.EndpointSliceList); is {
		defer a.slicesWatched()
	}
	return a.WithWatch.Watch(ctx, list, opts...)
}

// Current implements [agent.Freshness]: what happens in this process is seen at once.
func (a *api) Current(context.Context, time.Time) (bool, error) { return true, nil }

// Version implements [agent.Freshness]. The fake server versions each object by itself: whatever was changed once is
// newer.
func (a *api) Version(context.Context) (string, error) { return "1", nil }

// ProvenVersion implements [agent.Freshness].
func (a *api) ProvenVersion() string { return "" }

// Listed implements [agent.Freshness].
func (a *api) Listed(ctx context.Context) (sets.Set[netip.Addr], bool, error) {
	var list discoveryv1.EndpointSliceList
	if err := a.List(ctx, &list); err != nil {
		return nil, false, err
	}
	listed := sets.New[netip.Addr]()
	for i := range list.Items {
		for addr := range cluster.Listings(&list.Items[i]) {
			listed.Insert(addr)
		}
	}
	return listed, true, nil
}
