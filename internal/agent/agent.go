// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crconfig "sigs.k8s.io/controller-runtime/pkg/config"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	crmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/hnsguard/hnsguard/internal/action"
	"github.com/hnsguard/hnsguard/internal/clearance"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/guard"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/identity"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/metrics"
	"github.com/hnsguard/hnsguard/internal/reuse"
	"github.com/hnsguard/hnsguard/internal/serving"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Name is the agent's name in Events and in requests to the API server.
const Name = "hnsguard"

// ShutdownTimeout is how long the agent takes to stop at most. A HostProcess container is believed to be ended five
// seconds after it was asked to, whatever its grace period says.
const ShutdownTimeout = 4 * time.Second

// Options say what agent to make.
type Options struct {
	// Node is the name of this node, and Namespace where the agent keeps what it writes.
	Node, Namespace string
	Config          config.Config
	// API is how to reach the API server.
	API *rest.Config
	// HNS is the service, undecorated.
	HNS hns.Client
	// KubeProxy says how to find out about the node's kube-proxy; Node, Nodes and Registerer are filled in.
	KubeProxy detect.Options
	// MetricsAddress and ProbeAddress are where to listen; "0" means not to.
	MetricsAddress, ProbeAddress string
	// MetricsTLS is the certificate to serve metrics with, and only to those whom the API server lets read them. Without
	// one they are served to whoever can connect.
	MetricsTLS *serving.Certificate
	Logger     logr.Logger
	Clock      clock.Clock

	// InProcess replaces the API server with one in this process. The demo sets it.
	InProcess *InProcess
}

// InProcess is what stands in for an API server.
type InProcess struct {
	// Adjust replaces the means by which the manager reaches the API.
	Adjust func(*manager.Options)
	// Reader replaces the reader that asks the API server itself.
	Reader client.Reader
	Events events.EventRecorder
	// Watcher lists and watches EndpointSlices.
	Watcher client.WithWatch
	// Freshness replaces the comparison with the server's resource version.
	Freshness Freshness
}

// Agent is ready to be started.
type Agent struct {
	manager  manager.Manager
	watcher  client.WithWatch
	registry *prometheus.Registry
	serves   bool
	// identity is nil where no API server could tell.
	identity *identity.Checker
}

// Scheme knows the types that the agent reads and writes, and no others.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, discoveryv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("building the scheme: %w", err)
		}
	}
	return scheme, nil
}

// New makes an agent.
func New(o Options) (*Agent, error) {
	mgr, err := newManager(o)
	if err != nil {
		return nil, err
	}
	watcher, err := client.NewWithWatch(o.API, client.Options{
		Scheme: mgr.GetScheme(), HTTPClient: mgr.GetHTTPClient(), Mapper: mgr.GetRESTMapper(),
	})
	if err != nil {
		return nil, fmt.Errorf("building the client that watches EndpointSlices: %w", err)
	}
	a := &Agent{manager: mgr, watcher: watcher, registry: prometheus.NewRegistry(), serves: o.MetricsAddress != "0"}
	metrics.RegisterBuildInfo(a.registry, version.Get())
	o.Config.Register(a.registry)

	o.KubeProxy.Node, o.KubeProxy.Nodes, o.KubeProxy.Registerer = o.Node, mgr.GetAPIReader(), a.registry
	detector := detect.New(o.KubeProxy)
	if err := mgr.Add(detector); err != nil {
		return nil, fmt.Errorf("adding the detector of kube-proxy: %w", err)
	}
	if err := a.addGuard(o, detector); err != nil {
		return nil, fmt.Errorf("adding the guard: %w", err)
	}
	if err := a.addIdentity(o); err != nil {
		return nil, fmt.Errorf("adding the check of the agent's identity: %w", err)
	}
	return a, nil
}

func newManager(o Options) (manager.Manager, error) {
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	served := metricsserver.Options{BindAddress: o.MetricsAddress}
	if o.MetricsTLS != nil {
		o.MetricsTLS.Secure(&served)
	}
	options := manager.Options{
		Scheme:                  scheme,
		Logger:                  o.Logger,
		Cache:                   guard.CacheOptions(o.Node),
		Metrics:                 served,
		HealthProbeBindAddress:  o.ProbeAddress,
		GracefulShutdownTimeout: new(ShutdownTimeout),
		// Names are unique within a process that runs one agent; tests run several.
		Controller: crconfig.Controller{SkipNameValidation: new(true)},
	}
	if o.InProcess != nil {
		o.InProcess.Adjust(&options)
	}
	mgr, err := manager.New(o.API, options)
	if err != nil {
		return nil, fmt.Errorf("building the manager: %w", err)
	}
	if o.MetricsTLS != nil {
		if err := mgr.Add(o.MetricsTLS); err != nil {
			return nil, fmt.Errorf("adding the serving certificate: %w", err)
		}
	}
	return mgr, nil
}

// addIdentity lets the agent find out who it is.
func (a *Agent) addIdentity(o Options) error {
	if o.InProcess != nil {
		return nil
	}
	api, err := authenticationclient.NewForConfigAndClient(o.API, a.manager.GetHTTPClient())
	if err != nil {
		return err
	}
	a.identity = identity.New(api.SelfSubjectReviews(), o.Node, identity.Every)
	return a.manager.Add(a.identity)
}

// addGuard builds the guard from the outside in: HNS and the view of the cluster, the evidence, the actions.
func (a *Agent) addGuard(o Options, detector *detect.Detector) error {
	deadline, service := a.decorate(o)
	p := &parts{
		Options: o, registry: a.registry, client: a.manager.GetClient(), api: a.api(o), service: service,
		index: cluster.NewIndex(o.Node),
	}
	watch, freshness := p.slices()
	flusher := p.flusher()
	tracker := clearance.New(clearance.Options{
		Node: o.Node, Freshness: freshness, Syncs: detector.Syncs, Version: freshness.Version, Flusher: flusher,
		HoldTimeout: o.Config.Conflict.HoldTimeout, Interval: o.Config.Poll.Slow, Clock: o.Clock,
	})
	meter := reuse.NewMeter(o.Node, p.index, reuse.NewMetrics(a.registry), o.Clock)
	watch.Observe(flusher, tracker, meter)
	balancers := loadbalancer.New(loadbalancer.Options{HNS: service, Registerer: a.registry, Clock: o.Clock})
	if err := a.manager.Add(balancers); err != nil {
		return fmt.Errorf("adding the reader of load balancers: %w", err)
	}
	collector := p.collector(detector, tracker, balancers)
	remover, shielder := p.removal(collector, freshness, balancers)
	g := guard.New(guard.Options{
		Config: o.Config, Collector: collector, Index: p.index, Slices: watch,
		Actions: []action.Action{
			remover, shielder, flusher, tracker, balancers, p.reprogrammer(balancers), p.evictor(), meter,
		},
		Hung: deadline.Saturated, Events: p.api.Events, Metrics: guard.NewMetrics(a.registry), Clock: o.Clock,
	})
	if err := g.SetupWithManager(a.manager); err != nil {
		return err
	}
	return a.addProbes(map[string]func(*http.Request) error{"ready": g.Ready, "live": g.Live})
}

// decorate puts the deadline around the service, and the measurement around both, so that abandoned calls count.
func (a *Agent) decorate(o Options) (*hns.Deadline, hns.Client) {
	deadline := hns.WithDeadline(o.HNS, hns.DeadlineOptions{
		Call: o.Config.HNS.CallTimeout, List: o.Config.HNS.ListTimeout, MaxHung: o.Config.HNS.MaxHungCalls, Clock: o.Clock,
	})
	hns.RegisterHung(a.registry, deadline)
	return deadline, hns.WithMetrics(deadline, hns.NewMetrics(a.registry), o.Clock)
}

// api is what the parts ask of the API besides the cache: of the server, or of what stands in for it.
func (a *Agent) api(o Options) InProcess {
	if o.InProcess != nil {
		return *o.InProcess
	}
	return InProcess{
		Reader: a.manager.GetAPIReader(), Events: a.manager.GetEventRecorder(Name), Watcher: a.watcher,
	}
}

func (a *Agent) addProbes(checks map[string]func(*http.Request) error) error {
	if err := a.manager.AddReadyzCheck("guard", checks["ready"]); err != nil {
		return fmt.Errorf("adding the readiness probe: %w", err)
	}
	if err := a.manager.AddHealthzCheck("guard", checks["live"]); err != nil {
		return fmt.Errorf("adding the liveness probe: %w", err)
	}
	return nil
}

// Start runs the agent until the context ends. Its metrics are among those that the manager serves meanwhile; an agent
// that serves none can run beside others in one process. An agent that is not itself does not start.
func (a *Agent) Start(ctx context.Context) error {
	if a.identity != nil {
		if err := a.identity.Check(logf.IntoContext(ctx, a.manager.GetLogger())); err != nil {
			return err
		}
	}
	if !a.serves {
		return a.manager.Start(ctx)
	}
	if err := crmetrics.Registry.Register(a.registry); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	defer crmetrics.Registry.Unregister(a.registry)
	return a.manager.Start(ctx)
}

// Metrics are the agent's own, without those of controller-runtime and Go.
func (a *Agent) Metrics() prometheus.Gatherer { return a.registry }
