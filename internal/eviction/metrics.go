// SPDX-License-Identifier: Apache-2.0

package eviction

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
)

// The results of an eviction.
const (
	evictionDone    = "evicted"
	evictionGone    = "already_gone"
	evictionBlocked = "blocked_by_budget"
	evictionFailed  = "failed"
	// evictionUnrestricted: no admission policy restricts evictions, so hnsguard evicts no pod.
	evictionUnrestricted = "unrestricted"
)

// Metrics are the evictor's measurements.
type Metrics struct {
	evictions *prometheus.CounterVec
}

// NewMetrics registers the measurements, with every series at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		evictions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "evictions_total",
			Help: "Attempts to evict a pod that had lost its HNS endpoint, by result.",
		}, []string{"result"}),
	}
	reg.MustRegister(m.evictions)
	for _, result := range []string{evictionDone, evictionGone, evictionBlocked, evictionFailed, evictionUnrestricted} {
		m.evictions.WithLabelValues(result)
	}
	return m
}
