// SPDX-License-Identifier: Apache-2.0

package config

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
)

// Register registers the metric of enforced classes of acts. It distinguishes a node that only observes from a node
// that has nothing to do.
func (c Config) Register(reg prometheus.Registerer) {
	enforcing := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: metrics.Namespace, Name: "enforcing",
		Help: "Whether a class of acts is enforced (1) or only observed (0).",
	}, []string{"class"})
	reg.MustRegister(enforcing)
	for _, class := range c.classes() {
		value := 0.0
		if c.Enforces(class.mode) {
			value = 1
		}
		enforcing.WithLabelValues(class.name).Set(value)
	}
}
