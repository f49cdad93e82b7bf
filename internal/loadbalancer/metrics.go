// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
)

// Metrics are the reprogrammer's measurements.
type Metrics struct {
	attempts *prometheus.CounterVec
	missing  prometheus.Gauge
}

// NewMetrics makes the measurements, registers them and starts every series at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "reprograms_total",
			Help: "Times that kube-proxy was to be made to program a Service again whose load balancer dangles or is missing, " +
				"by what came of it.",
		}, []string{"result"}),
		missing: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "missing_load_balancers",
			Help: "Load balancers that Services with ready endpoints had on this node, and have no more.",
		}),
	}
	reg.MustRegister(m.attempts, m.missing)
	for _, result := range results() {
		m.attempts.WithLabelValues(result)
	}
	return m
}
