// SPDX-License-Identifier: Apache-2.0

package config

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
)

// Register registers which classes of acts the policy lets hnsguard enforce, so that a node that only observes can be
// told from one that has nothing to do.
func (c Config) Register(reg prometheus.Registerer) {
	enforcing := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: metrics.Namespace, Name: "enforcing",
		Help: "Whether a class of acts is enforced (1) or only observed (0).",
	}, []string{"class"})
	reg.MustRegister(enforcing)
	for class, mode := range map[string]Mode{
		"conflict": c.Conflict.Mode, "orphan": c.Orphan.Mode, "flush": c.Flush.Mode,
		"shield": c.Shield.Mode, "reprogram": c.Reprogram.Mode, "repair": c.Repair.Mode,
	} {
		value := 0.0
		if c.Enforces(mode) {
			value = 1
		}
		enforcing.WithLabelValues(class).Set(value)
	}
}
