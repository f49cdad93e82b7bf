// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	hnsguard "github.com/hnsguard/hnsguard/internal/agent"
)

// Connect returns options and dependencies for an agent of package agent on the node. The caller builds and starts the
// agent, which the world knows by its name.
func (n *Node) Connect(name string, o hnsguard.Options) (hnsguard.Options, hnsguard.Dependencies, error) {
	a := &Agent{Name: name, node: n, account: newAccount(policy(n.world.Setup), n.world.Now())}
	o.Node, o.Namespace, o.HNS, o.KubeProxy = n.Name, guardNamespace, hnsClient{a}, a.kubeProxy()
	options, err := hnsguard.ManagerOptions(o)
	if err != nil {
		return o, hnsguard.Dependencies{}, err
	}
	api := apiClient{agent: a, scheme: options.Scheme}
	options.NewClient = func(*rest.Config, client.Options) (client.Client, error) { return api, nil }
	mgr, err := manager.New(&rest.Config{Host: "http://in-process.invalid"}, options)
	if err != nil {
		return o, hnsguard.Dependencies{}, fmt.Errorf("building the manager: %w", err)
	}
	return o, hnsguard.Dependencies{Manager: mgr, Reader: api, Watcher: api, NoWatchList: true, Events: a}, nil
}
