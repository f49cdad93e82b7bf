// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	hnsguard "github.com/hnsguard/hnsguard/internal/agent"
)

// Connect returns an agent of the node with the dependencies of package agent's. The caller builds and starts that one,
// which the world knows by its name.
func (n *Node) Connect(name string, o hnsguard.Options) (hnsguard.Options, hnsguard.Dependencies, error) {
	a := &Agent{Name: name, node: n, account: newAccount(policy(n.world.Setup), n.world.Now())}
	o.Node, o.Namespace, o.HNS, o.KubeProxy = n.Name, guardNamespace, hnsClient{a}, a.kubeProxy()
	options, err := hnsguard.ManagerOptions(o)
	if err != nil {
		return o, hnsguard.Dependencies{}, err
	}
	api := apiClient{agent: a, scheme: options.Scheme}
	options.NewClient = func(*rest.Config, client.Options) (client.Client, error) { return api, nil }
	options.Cache.NewInformer = api.informer
	mgr, err := manager.New(&rest.Config{Host: "http://in-process.invalid"}, options)
	if err != nil {
		return o, hnsguard.Dependencies{}, fmt.Errorf("building the manager: %w", err)
	}
	return o, hnsguard.Dependencies{Manager: mgr, Reader: api, Watcher: api, NoWatchList: true, Events: a}, nil
}

// informer makes the informers of a manager: of the node's pods, and of Services.
func (c apiClient) informer(_ toolscache.ListerWatcher, kind runtime.Object, resync time.Duration,
	indexers toolscache.Indexers,
) toolscache.SharedIndexInformer {
	selector := fields.Everything()
	list := func() client.ObjectList { return &corev1.ServiceList{} }
	if _, pods := kind.(*corev1.Pod); pods {
		selector = fields.OneTermEqualSelector("spec.nodeName", c.agent.node.Name)
		list = func() client.ObjectList { return &corev1.PodList{} }
	}
	return toolscache.NewSharedIndexInformer(toolscache.ToListWatcherWithWatchListSemantics(&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			all := list()
			return all, c.List(ctx, all, &client.ListOptions{FieldSelector: selector, Raw: &raw})
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
			return c.Watch(ctx, list(), &client.ListOptions{FieldSelector: selector, Raw: &raw})
		},
	}, noWatchList{}), kind, resync, indexers)
}

// noWatchList makes informers list before they watch: the world's API server does not stream lists.
type noWatchList struct{}

// IsWatchListSemanticsUnSupported implements the check that client-go makes.
func (noWatchList) IsWatchListSemanticsUnSupported() bool { return true }
