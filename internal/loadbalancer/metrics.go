// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
)

// Metrics are the reprogrammer's measurements.
type Metrics struct {
	attempts *prometheus.CounterVec
}

// NewMetrics registers the measurements, with every series at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "reprograms_total",
			Help: "Attempts to make kube-proxy program a Service with a broken load balancer again, by result.",
		}, []string{"result"}),
	}
	reg.MustRegister(m.attempts)
	for _, result := range results() {
		m.attempts.WithLabelValues(result)
	}
	return m
}
