// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Metrics are the remover's measurements.
type Metrics struct {
	removals  *prometheus.CounterVec
	skips     *prometheus.CounterVec
	detection *prometheus.HistogramVec
	orphaned  prometheus.Counter
}

// NewMetrics registers the measurements, with every series at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		removals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "removals_total",
			Help: "Attempts to remove a remote endpoint, by its verdict and by the result.",
		}, []string{"verdict", "result"}),
		skips: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "removals_skipped_total",
			Help: "Endpoints that could be removed and were kept in a pass, by the brake that kept them. " +
				"One endpoint counts once for each pass.",
		}, []string{"verdict", "brake"}),
		detection: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: metrics.Namespace, Name: "detection_to_removal_seconds",
			Help: "Time from when a stale remote endpoint was first seen as such until it was deleted.",
			// From one pass to the minutes that a slice may take to drop the address.
			Buckets:                         prometheus.ExponentialBuckets(0.05, 2.5, 10),
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: metrics.NativeHistogramMinReset,
		}, []string{"verdict"}),
		orphaned: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "load_balancers_left_dangling_total",
			Help: "Load balancers that referred to an endpoint which hnsguard removed.",
		}),
	}
	reg.MustRegister(m.removals, m.skips, m.detection, m.orphaned)
	for _, kind := range verdict.Kinds() {
		if kind.Removes() {
			m.zero(string(kind))
		}
	}
	return m
}

// zero creates every series of a verdict.
func (m *Metrics) zero(kind string) {
	m.detection.WithLabelValues(kind)
	for _, result := range results() {
		m.removals.WithLabelValues(kind, string(result))
	}
	for _, brake := range brakes() {
		m.skips.WithLabelValues(kind, string(brake))
	}
}

func (m *Metrics) skipped(kind verdict.Kind, brake Brake, n int) {
	m.skips.WithLabelValues(string(kind), string(brake)).Add(float64(n))
}
