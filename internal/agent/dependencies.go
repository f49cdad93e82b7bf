// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"

	discoveryv1 "k8s.io/api/discovery/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/hnsguard/hnsguard/internal/guard"
	"github.com/hnsguard/hnsguard/internal/identity"
)

// Dependencies connect an agent to its API server. [FromCluster] makes those of a real one. The demo and unit tests
// make their own, for an API server in their process.
type Dependencies struct {
	// Manager runs the parts of the agent. It must be made with [ManagerOptions].
	Manager manager.Manager
	// Reader reads from the API server, not from the cache of the manager.
	Reader client.Reader
	// Events records Events.
	Events events.EventRecorder
	// Freshness verifies that the watch of EndpointSlices is current.
	Freshness guard.Freshness
	// Identity checks that the API server knows the agent as itself.
	// Default: no check.
	Identity *identity.Checker
}

// FromCluster returns the dependencies of an agent that uses a real API server.
func FromCluster(api *rest.Config, o Options) (Dependencies, error) {
	options, err := ManagerOptions(o)
	if err != nil {
		return Dependencies{}, err
	}
	mgr, err := manager.New(api, options)
	if err != nil {
		return Dependencies{}, fmt.Errorf("building the manager: %w", err)
	}
	authentication, err := authenticationclient.NewForConfigAndClient(api, mgr.GetHTTPClient())
	if err != nil {
		return Dependencies{}, fmt.Errorf("building the authentication client: %w", err)
	}
	return Dependencies{
		Manager:   mgr,
		Reader:    mgr.GetAPIReader(),
		Events:    mgr.GetEventRecorder(Name),
		Freshness: freshness(mgr, o.Clock),
		Identity:  identity.New(authentication.SelfSubjectReviews(), o.Node, identity.Every),
	}, nil
}

// ManagerOptions returns the options of the manager that runs an agent.
func ManagerOptions(o Options) (manager.Options, error) {
	scheme, err := Scheme()
	if err != nil {
		return manager.Options{}, err
	}
	served := metricsserver.Options{BindAddress: o.MetricsAddress}
	if o.MetricsTLS != nil {
		o.MetricsTLS.Secure(&served)
	}
	return manager.Options{
		Scheme:                  scheme,
		Logger:                  o.Logger,
		Cache:                   guard.CacheOptions(o.Node),
		Metrics:                 served,
		HealthProbeBindAddress:  o.ProbeAddress,
		GracefulShutdownTimeout: new(ShutdownTimeout),
		// The names of controllers must be unique in a process, but the demo runs several agents one after the other.
		Controller: crconfig.Controller{SkipNameValidation: new(true)},
	}, nil
}

// freshness compares the informer of EndpointSlices with the API server.
func freshness(mgr manager.Manager, clk clock.Clock) guard.Freshness {
	return guard.NewFreshness(mgr.GetAPIReader(), func(ctx context.Context) (guard.Watch, error) {
		informer, err := mgr.GetCache().GetInformer(ctx, &discoveryv1.EndpointSlice{}, cache.BlockUntilSynced(false))
		if err != nil {
			return nil, err
		}
		watch, ok := informer.(guard.Watch)
		if !ok {
			return nil, fmt.Errorf("%T does not report its resource version", informer)
		}
		return watch, nil
	}, clk)
}
