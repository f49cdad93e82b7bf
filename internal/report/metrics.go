// SPDX-License-Identifier: Apache-2.0

package report

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// collector counts the objects of a board's report at every scrape (invariant 15).
type collector struct {
	board *Board

	endpoints, age, leaked, left, duplicates, balancers, victims, ending *prometheus.Desc
}

// NewCollector returns a collector of the metrics that are counted from a board's report.
func NewCollector(b *Board) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(metrics.Namespace+"_"+name, help, labels, nil)
	}
	return collector{
		board: b,
		endpoints: desc("endpoints",
			"HNS endpoints on this node by verdict in the last complete pass.", "verdict"),
		age: desc("stale_endpoint_age_seconds",
			"For how long the oldest stale remote endpoint has been known to be stale, by the present verdict; zero if there "+
				"is none.", "verdict"),
		leaked: desc("leaked_local_endpoints",
			"Local endpoints whose address no pod on this node has and a slice lists as ready on another node."),
		left: desc("left_behind_local_endpoints",
			"Local endpoints that nothing has been attached to for 10 minutes, and that no pod uses. They keep their "+
				"addresses from the CNI's pods."),
		duplicates: desc("duplicate_addresses",
			"Addresses of the pod network that several endpoints have: two local ones, a local and a remote one, or remote "+
				"ones only.", "kind"),
		balancers: desc("load_balancers",
			"Load balancers by verdict, missing ones included. One counts as broken after two readings in a row, and as "+
				"missing or stale only after kube-proxy has processed its Service.", "verdict"),
		victims: desc("victims",
			"Running pods on this node that have had no attached local HNS endpoint for longer than eviction.after."),
		ending: desc("pods_ending_too_long",
			"Pods on this node that should have been deleted an hour ago, and have no local HNS endpoint any more."),
	}
}

// Describe implements [prometheus.Collector].
func (c collector) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect implements [prometheus.Collector].
func (c collector) Collect(to chan<- prometheus.Metric) {
	r := c.board.objects(c.board.current.Load())
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	ages, leaked := map[verdict.Kind]time.Duration{}, 0
	for _, e := range r.Endpoints {
		if e.Verdict.Stale() {
			ages[e.Verdict] = max(ages[e.Verdict], r.Time.Sub(e.StaleSince))
		}
		if e.Reason == verdict.ReasonLocalLeaked {
			leaked++
		}
	}
	for _, kind := range verdict.Kinds() {
		gauge(c.endpoints, float64(r.Counts[kind]), string(kind))
		if kind.Stale() {
			gauge(c.age, ages[kind].Seconds(), string(kind))
		}
	}
	gauge(c.leaked, float64(leaked))
	gauge(c.left, float64(r.leftBehind))
	for kind, count := range r.sharedAddresses() {
		gauge(c.duplicates, float64(count), kind)
	}
	for _, kind := range verdict.BalancerKinds() {
		gauge(c.balancers, float64(r.LoadBalancerCounts[kind]), string(kind))
	}
	ending := 0
	for _, p := range r.Pods {
		if p.State == verdict.PodEndingTooLong {
			ending++
		}
	}
	gauge(c.victims, float64(len(r.Pods)-ending))
	gauge(c.ending, float64(ending))
}
