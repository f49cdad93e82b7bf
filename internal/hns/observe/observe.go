// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/metrics"
)

// Metrics are the metrics of HNS calls.
type Metrics struct {
	duration *prometheus.HistogramVec
	errors   *prometheus.CounterVec
	outcomes outcomes
}

// Health returns a summary of the outcomes of calls.
func (m *Metrics) Health() Health { return m.outcomes.health() }

// NewMetrics registers the metrics, with every series at zero.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: metrics.Namespace,
			Name:      "hns_call_duration_seconds",
			Help:      "How long HNS calls took, abandoned ones until they were abandoned.",
			// From a quick query to a list of thousands of load balancers on a slow node: 1 ms to 65 s.
			Buckets:                         prometheus.ExponentialBuckets(0.001, 4, 9),
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: metrics.NativeHistogramMinReset,
		}, []string{"operation"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: metrics.Namespace,
			Name:      "hns_call_errors_total",
			Help:      "HNS calls that failed, by the way they failed. not_found is a proper answer and mostly a race.",
		}, []string{"operation", "class"}),
	}
	reg.MustRegister(m.duration, m.errors)
	for _, op := range hns.Operations() {
		m.duration.WithLabelValues(string(op))
		for _, class := range hns.ErrorClasses() {
			m.errors.WithLabelValues(string(op), string(class))
		}
	}
	return m
}

// RegisterHung registers the metric of abandoned calls that still hang.
func RegisterHung(reg prometheus.Registerer, d *hns.Deadline) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: metrics.Namespace,
		Name:      "hns_calls_hung",
		Help:      "Abandoned HNS calls that have not returned yet. Above zero for long means that HNS hangs.",
	}, func() float64 { return float64(d.Hung()) }))
}

// instrumented is a [hns.Client] that measures the calls of another one.
type instrumented struct {
	next    hns.Client
	metrics *Metrics
	clock   clock.PassiveClock
}

var _ hns.Client = (*instrumented)(nil)

// WithMetrics wraps a client to measure its calls. It must wrap the client with the deadline, so that abandoned calls
// count.
func WithMetrics(next hns.Client, m *Metrics, clk clock.PassiveClock) hns.Client {
	return &instrumented{next: next, metrics: m, clock: clk}
}

func (i *instrumented) Networks(ctx context.Context) ([]hns.Network, error) {
	return measure(i, hns.OpNetworks, func() ([]hns.Network, error) { return i.next.Networks(ctx) })
}

func (i *instrumented) ListEndpointIDs(ctx context.Context) ([]hns.EndpointID, error) {
	return measure(i, hns.OpListEndpointIDs, func() ([]hns.EndpointID, error) { return i.next.ListEndpointIDs(ctx) })
}

func (i *instrumented) Endpoint(ctx context.Context, id hns.EndpointID) (hns.Endpoint, error) {
	return measure(i, hns.OpEndpoint, func() (hns.Endpoint, error) { return i.next.Endpoint(ctx, id) })
}

func (i *instrumented) LoadBalancers(ctx context.Context) ([]hns.LoadBalancer, error) {
	return measure(i, hns.OpLoadBalancers, func() ([]hns.LoadBalancer, error) { return i.next.LoadBalancers(ctx) })
}

func (i *instrumented) DeleteEndpoint(ctx context.Context, id hns.EndpointID) error {
	_, err := measure(i, hns.OpDeleteEndpoint, func() (struct{}, error) {
		return struct{}{}, i.next.DeleteEndpoint(ctx, id)
	})
	return err
}

func (i *instrumented) Version(ctx context.Context) (string, error) { return i.next.Version(ctx) }

func measure[T any](i *instrumented, op hns.Operation, call func() (T, error)) (T, error) {
	start := i.clock.Now()
	value, err := call()
	i.metrics.duration.WithLabelValues(string(op)).Observe(i.clock.Since(start).Seconds())
	i.metrics.outcomes.record(op, err, i.clock.Now())
	if err != nil {
		i.metrics.errors.WithLabelValues(string(op), string(hns.ClassOf(err))).Inc()
	}
	return value, err
}
