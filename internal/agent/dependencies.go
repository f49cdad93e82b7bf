// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/kubernetes/scheme"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/internal/server"
)

// Dependencies connect an agent to its API server. [FromCluster] returns those for a real one. The demo and unit tests
// have their own, for an API server in their process.
type Dependencies struct {
	// Manager runs the parts of the agent. It must be created with [ManagerOptions].
	Manager manager.Manager
	// Reader reads from the API server, not from the cache of the manager.
	Reader client.Reader
	// PodTable lists all pods in a compact form.
	// Default: Reader lists them.
	PodTable removal.Table
	// Watcher lists and watches pods, EndpointSlices and Services.
	Watcher client.WithWatch
	// NoWatchList makes Watcher list before it watches, for an API server without streaming lists.
	// Default: a watch that begins with the list.
	NoWatchList bool
	// Events records Events.
	Events events.EventRecorder
	// Freshness proves how current the watch of EndpointSlices is.
	// Default: a comparison of the watch with Reader.
	Freshness removal.Freshness
	// Filter authorizes the clients of servers that have a certificate. Required if MetricsTLS is set.
	Filter *server.Filter
	// Restricted is set if admission policies restrict the agent's writes: every act that writes, except for Events, must
	// then prove this first.
	// Default: nothing is proved.
	Restricted bool
	// Identity checks the identity that the agent has for the API server.
	// Default: no check.
	Identity *IdentityChecker
}

// The rate limits of the agent's requests. They do not limit normal work: with client-go's defaults, 5 and 10, a pass
// would wait while a node with many stale endpoints reads and writes. They contain a fault that sends endless requests.
const (
	requestsPerSecond = 20
	requestBurst      = 50
)

// FromCluster returns the dependencies of an agent with a real API server.
func FromCluster(api *rest.Config, o Options) (Dependencies, error) {
	options, err := ManagerOptions(o)
	if err != nil {
		return Dependencies{}, err
	}
	api = rest.CopyConfig(api)
	api.QPS, api.Burst = requestsPerSecond, requestBurst
	mgr, err := manager.New(api, options)
	if err != nil {
		return Dependencies{}, fmt.Errorf("building the manager: %w", err)
	}
	return FromManager(api, o, mgr)
}

// FromManager is [FromCluster] with a manager that the caller has created with [ManagerOptions].
func FromManager(api *rest.Config, o Options, mgr manager.Manager) (Dependencies, error) {
	authentication, err := authenticationclient.NewForConfigAndClient(api, mgr.GetHTTPClient())
	if err != nil {
		return Dependencies{}, fmt.Errorf("building the authentication client: %w", err)
	}
	watcher, err := client.NewWithWatch(api, client.Options{
		Scheme: mgr.GetScheme(), HTTPClient: mgr.GetHTTPClient(), Mapper: mgr.GetRESTMapper(),
	})
	if err != nil {
		return Dependencies{}, fmt.Errorf("building the client that watches the cluster: %w", err)
	}
	table, err := podTable(api, mgr.GetHTTPClient())
	if err != nil {
		return Dependencies{}, err
	}
	filter, err := filterOf(o, api, mgr.GetHTTPClient())
	if err != nil {
		return Dependencies{}, err
	}
	return Dependencies{
		Manager:    mgr,
		Reader:     mgr.GetAPIReader(),
		PodTable:   table,
		Watcher:    watcher,
		Events:     mgr.GetEventRecorder(Name),
		Filter:     filter,
		Identity:   NewIdentityChecker(authentication.SelfSubjectReviews(), o.Node, identityEvery),
		Restricted: true,
	}, nil
}

// podTable returns a function that lists all pods as a table, which a client of objects cannot.
func podTable(api *rest.Config, httpClient *http.Client) (removal.Table, error) {
	config := rest.CopyConfig(api)
	config.APIPath, config.GroupVersion = "/api", &corev1.SchemeGroupVersion
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	core, err := rest.RESTClientForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("building the client that lists pods: %w", err)
	}
	return removal.PodTable{Client: core}.List, nil
}

// filterOf returns the filter of the secured servers, or nil without a certificate.
func filterOf(o Options, api *rest.Config, httpClient *http.Client) (*server.Filter, error) {
	if o.MetricsTLS == nil {
		return nil, nil //nolint:nilnil // there is nothing to protect
	}
	return server.NewFilter(api, httpClient, server.FilterOptions{Logger: o.Logger.WithName("server"), Clock: o.Clock})
}

// ManagerOptions returns the options of the manager that runs an agent.
func ManagerOptions(o Options) (manager.Options, error) {
	scheme, err := Scheme()
	if err != nil {
		return manager.Options{}, err
	}
	return manager.Options{
		Scheme:                  scheme,
		MapperProvider:          func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return resources(), nil },
		Logger:                  o.Logger,
		Cache:                   cache.Options{ReaderFailOnMissingInformer: true}, // nothing is cached
		Metrics:                 metricsserver.Options{BindAddress: "0"},          // the agent serves them
		HealthProbeBindAddress:  o.ProbeAddress,
		GracefulShutdownTimeout: new(ShutdownTimeout),
		// Controllers need unique names in a process, but the demo runs several agents one after the other.
		Controller: crconfig.Controller{SkipNameValidation: new(true)},
	}, nil
}

// resources maps the types that the agent reads and writes to their resources. The default mapper requests them from
// the API server, so an agent would stop if it starts while the API server cannot be reached: on a fresh Windows node
// the API server's address may not work before the node's first pod.
func resources() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []string{"Pod", "Service"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Node"), meta.RESTScopeRoot)
	mapper.Add(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), meta.RESTScopeNamespace)
	return mapper
}
