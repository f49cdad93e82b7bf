// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hnsguard "github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/eviction"
	"github.com/hnsguard/hnsguard/internal/guard"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/observe"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/slicewatch"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Only this file assembles an agent: it does the same as package agent, with the world instead of the manager.

// guardNamespace is the namespace of hnsguard's own slices.
const guardNamespace = "hnsguard"

// product is the assembled program under test.
type product struct {
	guard     *guard.Guard
	index     *cluster.Index
	watch     *slicewatch.Watch
	balancers *loadbalancer.Reader
	flusher   *stalerecord.Flusher
	detector  *detect.Detector
	meter     *history.ReuseMeter
	registry  *prometheus.Registry
}

// policy returns the configuration of the agents in a history.
func policy(s Setup) config.Config {
	c := config.Default()
	c.Orphan.GracePeriod.Duration = s.OrphanGrace
	if s.Tight {
		c.Orphan.MaxPerPass, c.Pace.OrphansPerStep, c.Removals.PerSecond, c.Pace.Burst = 1, 1, 0.1, 1
	}
	if s.Observe {
		c.Mode = config.Observe
	}
	if s.Evict {
		c.Eviction.Mode = config.Enforce
	}
	if s.Reprogram {
		c.Reprogram.Mode = config.Enforce
	}
	return c
}

// assemble assembles the program and starts its background parts.
func assemble(ctx context.Context, a *Agent) (*product, error) {
	w, c := a.node.world, policy(a.node.world.Setup)
	scheme, err := hnsguard.Scheme()
	if err != nil {
		return nil, err
	}
	api := apiClient{agent: a, scheme: scheme}
	p := &product{registry: prometheus.NewRegistry(), index: cluster.NewIndex(a.node.Name)}
	deadline := hns.WithDeadline(hnsClient{a}, hns.DeadlineOptions{
		Call: c.HNS.CallTimeout.Duration, List: config.ListTimeout, MaxHung: config.MaxHungCalls, Clock: w.clock,
	})
	service := observe.WithMetrics(deadline, observe.NewMetrics(p.registry), w.clock)
	options := a.kubeProxy()
	options.Server, options.Registerer = api, p.registry
	detector := detect.New(options)
	go func() { _ = detector.Start(ctx) }() // it returns only when the context ends
	p.detector = detector
	p.build(a, c, api, service, detector, deadline)
	return p, nil
}

// build connects the guard and its actions like package agent.
func (p *product) build(
	a *Agent, c config.Config, api apiClient, service hns.Client, detector *detect.Detector, deadline *hns.Deadline,
) {
	w := a.node.world
	const maxGapInPolls = 4
	measurements := stalerecord.NewMetrics(p.registry)
	p.flusher = stalerecord.NewFlusher(stalerecord.FlusherOptions{
		Node: a.node.Name, Namespace: guardNamespace, Enforce: c.Enforces(c.Flush.Mode), Client: api,
		Settle: stalerecord.Settle, Spread: stalerecord.Spread, UrgentSpread: stalerecord.UrgentSpread, Random: a.random,
		Metrics: measurements, Clock: w.clock,
	})
	p.meter = history.NewReuseMeter(a.node.Name, p.index, nil, p.registry, w.clock)
	p.watch = slicewatch.New(slicewatch.Options{Index: p.index, Selector: slicewatch.Selector()})
	freshness := slicewatch.NewFreshness(slicewatch.FreshnessOptions{
		Server: api, Watch: p.watch, Selector: slicewatch.Selector(), Clock: w.clock,
	})
	tracker := stalerecord.NewTracker(stalerecord.TrackerOptions{
		Node: a.node.Name, Namespace: guardNamespace, Flusher: p.flusher, Interval: c.Poll.FastInterval.Duration,
		Metrics: measurements, Clock: w.clock,
	})
	pods := removal.PodReader{Server: api}
	keeper := stalerecord.NewKeeper(stalerecord.KeeperOptions{
		Node: a.node.Name, Enforce: c.Enforces(c.Keep.Mode), Client: api, Freshness: freshness, Users: pods.Users,
		Server: api, Events: a, Random: a.random, Metrics: measurements, Clock: w.clock,
	})
	p.balancers = loadbalancer.NewReader(loadbalancer.ReaderOptions{
		HNS: service, Syncs: detector.Syncs, Revision: p.index.Revision, WatchLag: loadbalancer.WatchLag, Clock: w.clock,
	})
	collector := pass.NewCollector(pass.Options{
		Inventory: inventory.New(service, inventory.Options{
			Network: c.Network, RereadEvery: config.RereadInterval, NetworksEvery: c.Poll.SlowInterval.Duration,
			MaxGap: maxGapInPolls * c.Poll.SlowInterval.Duration, Clock: w.clock,
		}),
		Index: p.index, KubeProxy: detector.Profile, Record: tracker, LoadBalancers: p.balancers,
		Policy: verdict.Policy{
			Exclusions: c.ExcludedPrefixes(), OrphanGrace: c.Orphan.GracePeriod.Duration, OrphanGraceUrgent: c.Orphan.GracePeriodWhileWaiting.Duration,
		},
		FreshlyWaiting: config.FastDuration, Clock: w.clock,
	})
	confirmer := removal.Confirmer{
		Node: a.node.Name, HNS: service, Evidence: collector, Pods: pods, KubeProxy: detector.Current,
	}
	limiter := removal.NewLimiter(c)
	remover := removal.New(removal.Options{
		Node: a.node.Name, Config: c, Confirmer: confirmer, HNS: service, Limiter: limiter, Freshness: freshness,
		LoadBalancers: p.balancers, Events: a, Metrics: removal.NewMetrics(p.registry), Clock: w.clock, Random: a.random,
	})
	p.watch.Observe(p.flusher, tracker, p.meter, remover)
	words := report.Words{Node: a.node.Name, Config: c, KubeProxy: detector.Profile}
	p.guard = guard.New(guard.Options{
		Words:  words,
		Config: c, Collector: collector,
		Actions: []pass.Action{
			remover, keeper, tracker, p.flusher, p.balancers,
			loadbalancer.NewReprogrammer(loadbalancer.ReprogrammerOptions{
				Node: a.node.Name, Enforce: c.Enforces(c.Reprogram.Mode), LoadBalancers: p.balancers, Index: p.index, Server: api,
				Client: api,
				Events: a, Metrics: loadbalancer.NewMetrics(p.registry), Clock: w.clock,
				HNSVersion: func(context.Context) (string, error) { return "13.0", nil },
				Describe:   words.Balancer,
			}),
			p.meter,
		},
		Victims: eviction.New(eviction.Options{
			Enforce: c.Enforces(c.Eviction.Mode), After: c.Eviction.After.Duration, Interval: c.Pace.EvictionInterval,
			MaxGap: maxGapInPolls * c.Poll.SlowInterval.Duration, Client: api, Events: a, Metrics: eviction.NewMetrics(p.registry),
			Clock: w.clock, Describe: words.Pod,
		}),
		Status: report.NewBoard(report.BoardOptions{Node: a.node.Name, Config: c, Clock: w.clock}),
		Hung:   deadline.Saturated, Events: a, Metrics: guard.NewMetrics(p.registry), Clock: w.clock,
	})
}

// podChanged does what the guard's watch of pods does with a change.
func (p *product) podChanged(before, after client.Object) {
	if after != nil {
		p.index.SetPod(after.(*corev1.Pod))
		return
	}
	p.index.DeletePod(before.(*corev1.Pod))
}

// servicesListed does what the guard's watch of Services does with its first list. In a history, no Service changes.
func (p *product) servicesListed(all []client.Object) {
	services := make([]*corev1.Service, 0, len(all))
	for _, obj := range all {
		services = append(services, obj.(*corev1.Service))
	}
	p.index.ReplaceServices(services)
}

// sliceChanged does what the guard's watch of EndpointSlices does with a change.
func (p *product) sliceChanged(before, after client.Object) error {
	if after != nil {
		return p.watch.Update(after.DeepCopyObject())
	}
	return p.watch.Delete(before.DeepCopyObject())
}

// slicesListed does what that watch does with a list, after the changes that the list brought.
func (p *product) slicesListed(all []client.Object, version string) error {
	objects := make([]any, 0, len(all))
	for _, obj := range all {
		objects = append(objects, obj.DeepCopyObject())
	}
	return p.watch.Replace(objects, version)
}

// sliceDelay is how long the guard collects changes of slices before a pass.
const sliceDelay = 2 * time.Second

// sliceWanted is the selector of the guard's watch of EndpointSlices.
func sliceWanted(obj client.Object) bool {
	_, headless := obj.GetLabels()[corev1.IsHeadlessService]
	return !headless
}

// pass runs one pass of the program.
func (p *product) pass(ctx context.Context) (time.Duration, error) {
	result, err := p.guard.Reconcile(ctx, guard.Request{})
	if err != nil {
		return 0, fmt.Errorf("a pass returned an error: %w", err)
	}
	if p.balancers.Requested() {
		go func() { _ = p.balancers.Read(ctx) }() // the program requests a failed reading again
	}
	return result.RequeueAfter, nil
}

// ready is the program's readiness probe.
func (p *product) ready() error { return p.guard.Ready(nil) }

// mayWrite reports whether hnsguard may write the object.
func mayWrite(obj client.Object) bool {
	slice, ok := obj.(*discoveryv1.EndpointSlice)
	by := obj.GetLabels()[discoveryv1.LabelManagedBy]
	return ok && (by == stalerecord.ManagedBy && slice.Namespace == guardNamespace || by == loadbalancer.ManagedBy || by == cluster.ManagedByKeep)
}

// removedMessage is what the program logs for every removed endpoint.
const removedMessage = "Removed a stale remote endpoint"

// removals returns the number of endpoints that the program has counted as removed.
func (p *product) removals() (int, error) {
	families, err := p.registry.Gather()
	if err != nil {
		return 0, fmt.Errorf("gathering metrics: %w", err)
	}
	total := 0.0
	for _, family := range families {
		if family.GetName() == "hnsguard_removals_total" {
			total += counted(family, string(removal.Removed))
		}
	}
	return int(total), nil
}

// counted returns the sum of a counter for a result.
func counted(family *dto.MetricFamily, result string) (total float64) {
	for _, m := range family.GetMetric() {
		for _, label := range m.GetLabel() {
			if label.GetName() == "result" && label.GetValue() == result {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return total
}
