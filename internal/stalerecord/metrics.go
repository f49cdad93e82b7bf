// SPDX-License-Identifier: Apache-2.0

package stalerecord

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
)

// Metrics are the flusher's measurements.
type Metrics struct {
	changes *prometheus.CounterVec
	pending prometheus.Gauge
}

// NewMetrics makes the measurements, registers them and starts every series at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "flushes_total",
			Help: "Flushes of kube-proxy's record of terminated addresses that were needed, by result; suppressed means that " +
				"another EndpointSlice change did it.",
		}, []string{"result"}),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "flushes_pending",
			Help: "IP families in which kube-proxy's record of terminated addresses may be stale now.",
		}),
	}
	reg.MustRegister(m.changes, m.pending)
	for _, result := range []string{written, conflicted, failed, forbidden, observed, suppressed, unrestricted} {
		m.changes.WithLabelValues(result)
	}
	return m
}
