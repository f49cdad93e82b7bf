// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"math/rand/v2"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/eviction"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/slicewatch"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// parts builds the parts of a guard from the agent's options.
type parts struct {
	Options
	Dependencies
	registry *prometheus.Registry
	client   client.Client
	service  hns.Client
	index    *cluster.Index
	history  *history.Ring
	// unrestricted is the metric of the gates.
	unrestricted *prometheus.GaugeVec
}

// gate returns the gate that keeps an act off unless it is restricted.
func (p *parts) gate(act string) *admission.Gate {
	if !p.Restricted {
		return nil
	}
	return admission.NewGate(act, p.unrestricted, p.Clock)
}

// maxGapInPolls is the maximum number of slow intervals between two passes for a state in both to count as unbroken.
const maxGapInPolls = 4

func (p *parts) collector(d *detect.Detector, record *stalerecord.Tracker, lbs *loadbalancer.Reader) *pass.Collector {
	return pass.NewCollector(pass.Options{
		Inventory: inventory.New(p.service, inventory.Options{
			Network: p.Config.Network, RereadEvery: config.RereadInterval,
			NetworksEvery: p.Config.Poll.SlowInterval.Duration,
			MaxGap:        maxGapInPolls * p.Config.Poll.SlowInterval.Duration, Clock: p.Clock,
		}),
		Index:         p.index,
		KubeProxy:     d.Profile,
		Record:        record,
		LoadBalancers: lbs,
		Policy: verdict.Policy{
			Exclusions: p.Config.ExcludedPrefixes(), OrphanGrace: p.Config.Orphan.GracePeriod.Duration,
			OrphanGraceUrgent: p.Config.Orphan.GracePeriodWhileWaiting.Duration,
		},
		FreshlyWaiting: config.FastDuration,
		Clock:          p.Clock,
	})
}

// slices returns the watch of EndpointSlices, and the proof of how current it is.
func (p *parts) slices() (*slicewatch.Watch, removal.Freshness) {
	watch := slicewatch.New(slicewatch.Options{
		Client: p.Watcher, Index: p.index, Selector: slicewatch.Selector(), NoWatchList: p.NoWatchList,
	})
	if p.Freshness != nil {
		return watch, p.Freshness
	}
	return watch, slicewatch.NewFreshness(slicewatch.FreshnessOptions{
		Server: p.Reader, Watch: watch, Selector: slicewatch.Selector(), Clock: p.Clock,
	})
}

// remover returns the action that removes endpoints.
func (p *parts) remover(
	e *pass.Collector, freshness removal.Freshness, lbs *loadbalancer.Reader,
	kubeProxy func(context.Context) (kubeproxy.Profile, error),
) *removal.Remover {
	confirmer := removal.Confirmer{
		Node: p.Node, HNS: p.service, Evidence: e, Pods: removal.PodReader{Server: p.Reader, Table: p.PodTable},
		KubeProxy: kubeProxy,
	}
	return removal.New(removal.Options{
		Node: p.Node, Config: p.Config, Confirmer: confirmer, HNS: p.service, Limiter: removal.NewLimiter(p.Config),
		Freshness: freshness, LoadBalancers: lbs, Events: p.Events, History: p.history,
		Metrics: removal.NewMetrics(p.registry), Clock: p.Clock, Random: rand.Float64,
	})
}

func (p *parts) flusher(m *stalerecord.Metrics) *stalerecord.Flusher {
	return stalerecord.NewFlusher(stalerecord.FlusherOptions{
		Node: p.Node, Namespace: p.Namespace, Enforce: p.Config.Enforces(p.Config.Flush.Mode), Client: p.client,
		Gate:   p.gate(admission.Flush),
		Settle: stalerecord.Settle, Spread: stalerecord.Spread, UrgentSpread: stalerecord.UrgentSpread, Random: rand.Float64,
		History: p.history, Metrics: m, Clock: p.Clock,
	})
}

func (p *parts) keeper(freshness removal.Freshness, m *stalerecord.Metrics) *stalerecord.Keeper {
	pods := removal.PodReader{Server: p.Reader, Table: p.PodTable}
	return stalerecord.NewKeeper(stalerecord.KeeperOptions{
		Node: p.Node, Enforce: p.Config.Enforces(p.Config.Keep.Mode), Client: p.client, Gate: p.gate(admission.Keep),
		Freshness: freshness, Users: pods.Users, Server: p.Reader, Events: p.Events, Random: rand.Float64,
		History: p.history, Metrics: m, Clock: p.Clock,
	})
}

func (p *parts) reprogrammer(lbs *loadbalancer.Reader, words report.Words) *loadbalancer.Reprogrammer {
	return loadbalancer.NewReprogrammer(loadbalancer.ReprogrammerOptions{
		Node: p.Node, Enforce: p.Config.Enforces(p.Config.Reprogram.Mode), LoadBalancers: lbs, Index: p.index,
		Server: p.Reader, Client: p.client, Gate: p.gate(admission.Reprogram), Events: p.Events, History: p.history,
		Metrics: loadbalancer.NewMetrics(p.registry), Clock: p.Clock,
		HNSVersion: p.service.Version, Describe: words.Balancer,
	})
}

func (p *parts) evictor(words report.Words) *eviction.Evictor {
	return eviction.New(eviction.Options{
		Enforce: p.Config.Enforces(p.Config.Eviction.Mode),
		After:   p.Config.Eviction.After.Duration, Interval: p.Config.Pace.EvictionInterval,
		Sandbox: p.Config.Pace.SandboxTime,
		MaxGap:  maxGapInPolls * p.Config.Poll.SlowInterval.Duration,
		Client:  p.client, Gate: p.gate(admission.Eviction), Describe: words.Pod, Events: p.Events, History: p.history,
		Metrics: eviction.NewMetrics(p.registry), Clock: p.Clock,
	})
}
