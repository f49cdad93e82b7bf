// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	crmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/guard"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/observe"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/metrics"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/server"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Name is the agent's name in Events and in requests to the API server.
const Name = "hnsguard"

// ShutdownTimeout is the longest time that the agent takes to stop. A HostProcess container is believed to be killed
// five seconds after it was signaled, whatever its grace period.
const ShutdownTimeout = 4 * time.Second

// Options configure an agent.
type Options struct {
	// Node is the name of this node. Required.
	Node string
	// Namespace is the namespace of the EndpointSlices that the agent writes. Required if it may flush.
	Namespace string
	// Config is the configuration. Required; see [config.Default].
	Config config.Config
	// HNS is the client of the Host Networking Service. The agent adds deadlines and metrics. Required.
	HNS hns.Client
	// KubeProxy configures the detection of kube-proxy's version. The agent sets Node, Server and Registerer.
	KubeProxy detect.Options
	// MetricsAddress is the address that serves metrics. Required; "0" serves none.
	MetricsAddress string
	// MetricsTLS is the certificate for serving metrics. With it, only clients that the API server authorizes can read
	// them.
	// Default: plain HTTP, for every client that can connect.
	MetricsTLS *server.Certificate
	// ProbeAddress is the address that serves probes. Required; "0" serves none.
	ProbeAddress string
	// PageAddress is the address that serves the node page. Unless it is a loopback address, it requires MetricsTLS.
	// Default: the page is not served, as with "0".
	PageAddress string
	// Logger is the logger. Required.
	Logger logr.Logger
	// Clock is the clock. Required.
	Clock clock.Clock
}

// GCPercent is the garbage collection target (GOGC) of a process with an agent. The agent makes little garbage, so
// collecting it twice as often as by default costs little time, and memory is scarce on many nodes.
const GCPercent = 50

// Agent is an agent that can be started once.
type Agent struct {
	deps     Dependencies
	registry *prometheus.Registry
	board    *report.Board
	// metrics and page are the servers, or nil.
	metrics, page *server.Server
}

// Scheme returns a scheme with only the types that the agent reads and writes.
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

// New returns an agent.
func New(o Options, deps Dependencies) (*Agent, error) {
	a := &Agent{deps: deps, registry: prometheus.NewRegistry()}
	metrics.RegisterBuildInfo(a.registry, version.Get())
	o.Config.Register(a.registry)

	o.KubeProxy.Node, o.KubeProxy.Server, o.KubeProxy.Registerer = o.Node, a.deps.Reader, a.registry
	detector := detect.New(o.KubeProxy)
	if err := a.deps.Manager.Add(detector); err != nil {
		return nil, fmt.Errorf("adding the kube-proxy detector: %w", err)
	}
	if err := a.addGuard(o, detector); err != nil {
		return nil, fmt.Errorf("adding the guard: %w", err)
	}
	if err := a.makeServers(o); err != nil {
		return nil, err
	}
	if o.MetricsTLS != nil {
		if err := a.deps.Manager.Add(o.MetricsTLS); err != nil {
			return nil, fmt.Errorf("adding the serving certificate: %w", err)
		}
	}
	if a.deps.Identity != nil {
		if err := a.deps.Manager.Add(a.deps.Identity); err != nil {
			return nil, fmt.Errorf("adding the identity check: %w", err)
		}
	}
	return a, nil
}

// addGuard builds the guard from the outside in: HNS and the index of the cluster, the evidence, the actions.
func (a *Agent) addGuard(o Options, detector *detect.Detector) error {
	deadline, measured := a.decorate(o)
	service := observe.WithMetrics(deadline, measured, o.Clock)
	p := &parts{
		Options: o, Dependencies: a.deps, registry: a.registry, client: a.deps.Manager.GetClient(), service: service,
		index: cluster.NewIndex(o.Node), history: history.NewRing(history.Options{Clock: o.Clock}),
		unrestricted: admission.NewMetric(a.registry),
	}
	watch, freshness := p.slices()
	measurements := stalerecord.NewMetrics(a.registry)
	flusher := p.flusher(measurements)
	tracker := stalerecord.NewTracker(stalerecord.TrackerOptions{
		Node: o.Node, Namespace: o.Namespace, Flusher: flusher, Interval: o.Config.Poll.FastInterval.Duration,
		Metrics: measurements, Clock: o.Clock,
	})
	meter := history.NewReuseMeter(o.Node, p.index, p.history, a.registry, o.Clock)
	balancers := loadbalancer.NewReader(loadbalancer.ReaderOptions{
		HNS: service, Syncs: detector.Syncs, Revision: p.index.Revision, WatchLag: loadbalancer.WatchLag, Clock: o.Clock,
	})
	if err := a.deps.Manager.Add(balancers); err != nil {
		return fmt.Errorf("adding the reader of load balancers: %w", err)
	}
	collector := p.collector(detector, tracker, balancers)
	remover := p.remover(collector, freshness, balancers, detector.Current)
	watch.Observe(flusher, tracker, meter, remover)
	words := report.Words{Node: o.Node, Config: o.Config, KubeProxy: detector.Profile}
	evictor, reprogrammer := p.evictor(words), p.reprogrammer(balancers, words)
	a.board = report.NewBoard(report.BoardOptions{
		Node: o.Node, Config: o.Config, KubeProxy: detector.Profile, History: p.history, Victims: evictor.Lacking,
		LoadBalancers: reprogrammer.Found, Clock: o.Clock,
		HNS: func() report.HNS { return report.HNS{Health: measured.Health(), HungCalls: deadline.Hung()} },
	})
	a.registry.MustRegister(report.NewCollector(a.board))
	g := guard.New(guard.Options{
		Config: o.Config, Collector: collector, Slices: watch,
		Actions: []pass.Action{
			remover, p.keeper(freshness, measurements), tracker, flusher, balancers, reprogrammer, meter,
		},
		Victims: evictor, Hung: deadline.Saturated, Words: words, Events: p.Events, History: p.history, Status: a.board,
		Metrics: guard.NewMetrics(a.registry), Clock: o.Clock,
	})
	if err := g.SetupWithManager(a.deps.Manager); err != nil {
		return err
	}
	return a.addProbes(map[string]func(*http.Request) error{"ready": g.Ready, "live": g.Live})
}

// decorate adds the deadline to the HNS client, and returns the metrics to wrap around it, so that abandoned calls
// count.
func (a *Agent) decorate(o Options) (*hns.Deadline, *observe.Metrics) {
	deadline := hns.WithDeadline(o.HNS, hns.DeadlineOptions{
		Call: o.Config.HNS.CallTimeout.Duration, List: config.ListTimeout,
		MaxHung: config.MaxHungCalls, Clock: o.Clock,
	})
	observe.RegisterHung(a.registry, deadline)
	return deadline, observe.NewMetrics(a.registry)
}

// makeServers builds the servers of the metrics and of the node page. On loopback the page needs no certificate, even
// if the metrics have one.
func (a *Agent) makeServers(o Options) (err error) {
	open := server.Options{Logger: o.Logger.WithName("server"), Clock: o.Clock}
	secured := open
	secured.Certificate, secured.Filter = o.MetricsTLS, a.deps.Filter
	var metrics prometheus.Gatherer = a.registry
	if o.MetricsAddress != "0" {
		metrics = crmetrics.Registry // it includes the agent's registry while the agent runs
		secured.Address = o.MetricsAddress
		if a.metrics, err = server.NewMetrics(secured, metrics); err != nil {
			return err
		}
	}
	if o.PageAddress == "" || o.PageAddress == "0" {
		return nil
	}
	options := secured
	if server.IsLoopback(o.PageAddress) {
		options = open
	}
	options.Address = o.PageAddress
	a.page, err = server.NewPage(options, a.board, metrics)
	return err
}

func (a *Agent) addProbes(checks map[string]func(*http.Request) error) error {
	if err := a.deps.Manager.AddReadyzCheck("guard", checks["ready"]); err != nil {
		return fmt.Errorf("adding the readiness probe: %w", err)
	}
	if err := a.deps.Manager.AddHealthzCheck("guard", checks["live"]); err != nil {
		return fmt.Errorf("adding the liveness probe: %w", err)
	}
	return nil
}

// Start runs the agent until the context ends, or returns an error if the agent has the wrong identity or cannot serve
// its metrics. Several agents can run in one process if they serve no metrics.
func (a *Agent) Start(ctx context.Context) error {
	// The servers do not wait for the caches of the manager: the page must show when the API server is down.
	group, ctx := errgroup.WithContext(ctx)
	ctx, end := context.WithCancel(ctx)
	defer end()
	if a.metrics != nil {
		if err := crmetrics.Registry.Register(a.registry); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
		defer crmetrics.Registry.Unregister(a.registry)
		group.Go(func() error { return a.metrics.Start(ctx) })
	}
	if a.page != nil {
		group.Go(func() error { a.page.Run(ctx); return nil })
	}
	group.Go(func() error {
		defer end()
		return a.guard(ctx)
	})
	return group.Wait()
}

// guard checks the identity and runs the manager.
func (a *Agent) guard(ctx context.Context) error {
	if a.deps.Identity != nil {
		if err := a.deps.Identity.Check(logf.IntoContext(ctx, a.deps.Manager.GetLogger())); err != nil {
			return err
		}
	}
	return a.deps.Manager.Start(ctx)
}

// Report returns a report on the node.
func (a *Agent) Report() report.Report { return a.board.Report() }

// Metrics returns the metrics of the agent, without those of controller-runtime and Go.
func (a *Agent) Metrics() prometheus.Gatherer { return a.registry }
