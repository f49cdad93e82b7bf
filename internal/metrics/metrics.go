// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hnsguard/hnsguard/internal/version"
)

// Namespace is the first word of every metric's name.
const Namespace = "hnsguard"

// NativeHistogramMinReset is the minimum time before a native histogram may reset its buckets to shrink.
const NativeHistogramMinReset = time.Hour

// RegisterBuildInfo registers the metric that identifies the running build.
func RegisterBuildInfo(reg prometheus.Registerer, info version.Info) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: Namespace,
		Name:      "build_info",
		Help:      "Always 1; the labels say which build runs.",
		ConstLabels: prometheus.Labels{
			"version":   info.Version,
			"commit":    info.Commit,
			"goversion": info.GoVersion,
			"goos":      info.OS,
			"goarch":    info.Arch,
		},
	}, func() float64 { return 1 }))
}
