// SPDX-License-Identifier: Apache-2.0

package demo

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

// api is an API server in this process: a fake client, with informers that list and watch through it.
type api struct {
	client.WithWatch
	// watched is done when the watches that the agent starts with are established. The fake server does not replay what
	// happened between a list and its watch, so that nothing may happen before.
	watched sync.WaitGroup
}

// watches is how many kinds the agent watches from the start: pods and EndpointSlices.
const watches = 2

func newAPI() (*api, error) {
	scheme, err := agent.Scheme()
	if err != nil {
		return nil, err
	}
	a := &api{WithWatch: fake.NewClientBuilder().WithScheme(scheme).Build()}
	a.watched.Add(watches)
	return a, nil
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

// noWatchList tells informers to list and then watch: the fake server does not stream lists.
type noWatchList struct{}

// IsWatchListSemanticsUnSupported is how client-go asks.
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

// CaughtUp implements the guard's Freshness: what happens in this process is seen at once.
func (a *api) CaughtUp(context.Context) (bool, error) { return true, nil }

// Listed implements the guard's Freshness.
func (a *api) Listed(ctx context.Context) (sets.Set[netip.Addr], error) {
	var list discoveryv1.EndpointSliceList
	if err := a.List(ctx, &list); err != nil {
		return nil, err
	}
	listed := sets.New[netip.Addr]()
	for i := range list.Items {
		listed.Insert(cluster.AddressesOf(list.Items[i].Endpoints)...)
	}
	return listed, nil
}
