// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Metrics are the guard's measurements.
type Metrics struct {
	endpoints  *prometheus.GaugeVec
	found      *prometheus.CounterVec
	age        *prometheus.GaugeVec
	passes     *prometheus.CounterVec
	duration   prometheus.Histogram
	lastPass   prometheus.Gauge
	leaked     prometheus.Gauge
	left       prometheus.Gauge
	oversized  prometheus.Gauge
	duplicates *prometheus.GaugeVec
}

// The outcomes of a pass.
const (
	passComplete = "complete"
	passUnknown  = "unknown"
	// passIdle: there is no pod network, whether pods need one or not.
	passIdle = "idle"
)

// NewMetrics makes the measurements, registers them and starts every series at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		endpoints: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "endpoints",
			Help: "HNS endpoints on this node by verdict in the last complete pass.",
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
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "passes_total",
			Help: "Passes over the node: complete, unknown when HNS could not be read, or idle while there is no pod network.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: metrics.Namespace, Name: "pass_duration_seconds",
			Help:                            "How long a complete pass took, actions included.",
			Buckets:                         prometheus.ExponentialBuckets(0.001, 4, 9),
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: metrics.NativeHistogramMinReset,
		}),
		lastPass: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "last_pass_timestamp_seconds",
			Help: "When the last complete or idle pass ended; zero if there was none yet.",
		}),
		leaked: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "leaked_local_endpoints",
			Help: "Local endpoints whose address no pod on this node has and a slice lists as ready on another node.",
		}),
		left: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "left_behind_local_endpoints",
			Help: "Local endpoints that nothing has been attached to for 10 minutes, and that no pod uses. They keep their " +
				"addresses from the CNI's pods.",
		}),
		oversized: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "oversized_services",
			Help: "Services with more than 1,000 external addresses, where the pod network is an overlay. While there is one, " +
				"any address may be that of a Service, and no endpoint is removed.",
		}),
	}
	m.duplicates = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: metrics.Namespace, Name: "duplicate_addresses",
		Help: "Addresses of the pod network that several endpoints have: two local ones, a local and a remote one, or " +
			"remote ones only.",
	}, []string{"kind"})
	reg.MustRegister(m.endpoints, m.found, m.age, m.passes, m.duration, m.lastPass, m.leaked, m.left,
		m.oversized, m.duplicates)
	for _, kind := range verdict.DuplicateKinds() {
		m.duplicates.WithLabelValues(string(kind))
	}
	for _, kind := range verdict.Kinds() {
		m.endpoints.WithLabelValues(string(kind))
		if kind.Stale() {
			m.found.WithLabelValues(string(kind))
			m.age.WithLabelValues(string(kind))
		}
	}
	m.passes.WithLabelValues(passComplete)
	m.passes.WithLabelValues(passUnknown)
	m.passes.WithLabelValues(passIdle)
	return m
}
