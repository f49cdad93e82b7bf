// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Metrics are the guard's measurements.
type Metrics struct {
	endpoints *prometheus.GaugeVec
	found     *prometheus.CounterVec
	age       *prometheus.GaugeVec
	removals  *prometheus.CounterVec
	skips     *prometheus.CounterVec
	detection *prometheus.HistogramVec
	passes    *prometheus.CounterVec
	duration  prometheus.Histogram
	lastPass  prometheus.Gauge
	dangling  prometheus.Gauge
	orphaned  prometheus.Counter
	shields   *prometheus.CounterVec
}

// The outcomes of a pass.
const (
	passComplete = "complete"
	passUnknown  = "unknown"
)

// NewMetrics makes the measurements, registers them and starts every series at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		endpoints: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "endpoints",
			Help: "HNS endpoints of this node by what was decided about them in the last complete pass.",
		}, []string{"verdict"}),
		found: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "stale_endpoints_found_total",
			Help: "Remote endpoints that were found to be stale, by the first such verdict. Its rate is how fast the node " +
				"collects them.",
		}, []string{"verdict"}),
		age: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "stale_endpoint_age_seconds",
			Help: "For how long the oldest stale remote endpoint has been known to be stale, by the present verdict; " +
				"zero if there is none.",
		}, []string{"verdict"}),
		removals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "removals_total",
			Help: "Attempts to remove a remote endpoint, by the verdict on it and by what came of it.",
		}, []string{"verdict", "result"}),
		skips: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "removals_skipped_total",
			Help: "Endpoints that could be removed and were kept in a pass, by the brake that kept them. " +
				"One endpoint counts once for each pass.",
		}, []string{"verdict", "brake"}),
		detection: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: metrics.Namespace, Name: "detection_to_removal_seconds",
			Help: "Time from when a stale remote endpoint was first seen as such until it was gone.",
			// From one pass to a slice that takes minutes to drop the address.
			Buckets:                         prometheus.ExponentialBuckets(0.05, 2.5, 10),
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: metrics.NativeHistogramMinReset,
		}, []string{"verdict"}),
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "passes_total",
			Help: "Looks at the node: complete, or unknown when HNS or the pod network could not be read.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: metrics.Namespace, Name: "pass_duration_seconds",
			Help:                            "How long a complete look at the node took, acts included.",
			Buckets:                         prometheus.ExponentialBuckets(0.001, 4, 9),
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: metrics.NativeHistogramMinReset,
		}),
		lastPass: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "last_pass_timestamp_seconds",
			Help: "When the last complete look at the node ended; zero if there was none yet.",
		}),
		dangling: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "dangling_load_balancers",
			Help: "Load balancers that named an endpoint which was gone, the last two times that they were read.",
		}),
		orphaned: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "load_balancers_left_dangling_total",
			Help: "Load balancers that referred to an endpoint which hnsguard removed.",
		}),
		shields: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "shields_total",
			Help: "Attempts to shield a pod's endpoint from kube-proxy's stale record, by what came of them.",
		}, []string{"result"}),
	}
	reg.MustRegister(m.endpoints, m.found, m.age, m.removals, m.skips, m.detection, m.passes, m.duration, m.lastPass,
		m.dangling, m.orphaned, m.shields)
	m.zero()
	return m
}

// zero makes every series of the closed sets exist.
func (m *Metrics) zero() {
	for _, kind := range verdict.Kinds() {
		m.endpoints.WithLabelValues(string(kind))
		if kind.Stale() {
			m.found.WithLabelValues(string(kind))
			m.age.WithLabelValues(string(kind))
		}
		if !kind.Removes() {
			continue
		}
		m.detection.WithLabelValues(string(kind))
		for _, result := range results() {
			m.removals.WithLabelValues(string(kind), string(result))
		}
		for _, brake := range brakes() {
			m.skips.WithLabelValues(string(kind), string(brake))
		}
	}
	for _, result := range shieldResults() {
		m.shields.WithLabelValues(string(result))
	}
	m.passes.WithLabelValues(passComplete)
	m.passes.WithLabelValues(passUnknown)
}

func (m *Metrics) skipped(kind verdict.Kind, brake Brake, n int) {
	m.skips.WithLabelValues(string(kind), string(brake)).Add(float64(n))
}
