// SPDX-License-Identifier: Apache-2.0

package stalerecord

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
)

// Metrics are the measurements of this package.
type Metrics struct {
	changes *prometheus.CounterVec
	pending prometheus.Gauge
	behind  prometheus.Gauge
	holds   prometheus.Histogram
	keeps   *prometheus.CounterVec
	kept    prometheus.Gauge
	unused  prometheus.Gauge
}

// NewMetrics registers the measurements, with every series at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "flushes_total",
			Help: "Flushes of kube-proxy's record of terminated addresses that were needed, by result; suppressed means that " +
				"another EndpointSlice change did it.",
		}, []string{"result"}),
		pending: gauge("flushes_pending",
			"IP families in which kube-proxy's record of terminated addresses may be stale now."),
		behind: gauge("kube_proxy_behind_since_timestamp_seconds",
			"Since when HNS has not shown a flush that a conflict or an orphan waits for: kube-proxy has not processed it, or "+
				"HNS refuses its address; 0 if there is none."),
		holds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: metrics.Namespace, Name: "hold_duration_seconds",
			Help:    "How long removals were held because kube-proxy would have deleted the pod's own endpoint.",
			Buckets: []float64{0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600},
		}),
		keeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace, Name: "keeps_total",
			Help: "Keep-slices that were to be created or deleted, by act and result.",
		}, []string{"act", "result"}),
		kept: gauge("keep_slices", "Keep-slices of this node that keep kube-proxy from recording a pod's address."),
		unused: gauge("keep_slices_unused_since_timestamp_seconds",
			"When the keep-slice of this node that has been unused for the longest time became unused; 0 if there "+
				"is none."),
	}
	reg.MustRegister(m.changes, m.pending, m.behind, m.holds, m.keeps, m.kept, m.unused)
	for _, result := range []string{written, conflicted, failed, forbidden, observed, suppressed, unrestricted} {
		m.changes.WithLabelValues(result)
	}
	for _, result := range []string{written, present, failed, forbidden, observed, unrestricted} {
		for _, act := range []string{actCreate, actDelete} {
			m.keeps.WithLabelValues(act, result)
		}
	}
	return m
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: metrics.Namespace, Name: name, Help: help})
}

// setSince sets a gauge to a time, or to zero.
func setSince(g prometheus.Gauge, since time.Time) {
	if since.IsZero() {
		g.Set(0)
		return
	}
	g.Set(float64(since.UnixMilli()) / 1000)
}
