// SPDX-License-Identifier: Apache-2.0

package reprogram

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
)

// Metrics are the reprogrammer's measurements.
type Metrics struct {
	attempts *prometheus.CounterVec
}

// NewMetrics makes the measurements, registers them and starts every series at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: metrics.Namespace, Name: "reprograms_total",
		Help: "Times that kube-proxy was to be made to program a Service again whose load balancer dangles, " +
			"by what came of it.",
	}, []string{"result"})}
	reg.MustRegister(m.attempts)
	for _, result := range results() {
		m.attempts.WithLabelValues(result)
	}
	return m
}
