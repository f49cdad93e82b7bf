// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Metrics are the reprogrammer's measurements.
type Metrics struct {
	attempts *prometheus.CounterVec
	verdicts *prometheus.GaugeVec
}

// NewMetrics makes the measurements, registers them and starts every series at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "reprograms_total",
			Help: "Attempts to make kube-proxy program a Service with a broken load balancer again, by result.",
		}, []string{"result"}),
		verdicts: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "load_balancers",
			Help: "Load balancers by verdict, missing ones included. One counts as broken after two readings in a row, and " +
				"as missing or stale only after kube-proxy has processed its Service.",
		}, []string{"verdict"}),
	}
	reg.MustRegister(m.attempts, m.verdicts)
	for _, result := range results() {
		m.attempts.WithLabelValues(result)
	}
	m.show(nil)
	return m
}

// show shows how many load balancers have each verdict.
func (m *Metrics) show(counts map[verdict.BalancerKind]int) {
	for _, kind := range verdict.BalancerKinds() {
		m.verdicts.WithLabelValues(string(kind)).Set(float64(counts[kind]))
	}
}
