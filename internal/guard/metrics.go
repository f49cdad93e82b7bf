// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Metrics are the guard's measurements.
type Metrics struct {
	found     *prometheus.CounterVec
	passes    *prometheus.CounterVec
	duration  prometheus.Histogram
	lastPass  prometheus.Gauge
	oversized prometheus.Gauge
}

// The outcomes of a pass.
const (
	passComplete = "complete"
	passUnknown  = "unknown"
	// passIdle: there is no pod network, whether or not pods need one.
	passIdle = "idle"
)

// NewMetrics registers the measurements, with every series at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		found: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "stale_endpoints_found_total",
			Help: "Remote endpoints found to be stale, by the first such verdict. The rate is how fast the node accumulates " +
				"them.",
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
		oversized: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "oversized_services",
			Help: "Services with more than 1,000 external addresses, where the pod network is an overlay. While there is one, " +
				"any address may be that of a Service, and no endpoint is removed.",
		}),
	}
	reg.MustRegister(m.found, m.passes, m.duration, m.lastPass, m.oversized)
	for _, kind := range verdict.Kinds() {
		if kind.Stale() {
			m.found.WithLabelValues(string(kind))
		}
	}
	m.passes.WithLabelValues(passComplete)
	m.passes.WithLabelValues(passUnknown)
	m.passes.WithLabelValues(passIdle)
	return m
}
