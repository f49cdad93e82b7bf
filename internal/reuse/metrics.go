// SPDX-License-Identifier: Apache-2.0

package reuse

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/metrics"
)

// Metrics are the meter's measurements.
type Metrics struct {
	reuse prometheus.Histogram
}

// NewMetrics returns the measurements, registered.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{reuse: prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: metrics.Namespace, Name: "address_reuse_seconds",
		Help: "Time from when EndpointSlices ceased to list an address for another node until a pod of this node had it; " +
			"zero if they still listed it then. Reuse after more than an hour is not counted.",
		// From before kube-proxy can have processed it to the horizon. Its periodic sync comes every 30 seconds.
		Buckets:                         []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600},
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: metrics.NativeHistogramMinReset,
	})}
	reg.MustRegister(m.reuse)
	return m
}
