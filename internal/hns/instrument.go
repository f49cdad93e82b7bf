// SPDX-License-Identifier: Apache-2.0

package hns

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/metrics"
)

// Metrics are the measurements of HNS calls.
type Metrics struct {
	duration *prometheus.HistogramVec
	errors   *prometheus.CounterVec
	outcomes outcomes
}

// Health returns how HNS has answered lately.
func (m *Metrics) Health() Health { return m.outcomes.health() }

// NewMetrics makes the measurements, registers them and starts every series at zero.
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
	for _, op := range Operations() {
		m.duration.WithLabelValues(string(op))
		for _, class := range ErrorClasses() {
			m.errors.WithLabelValues(string(op), string(class))
		}
	}
	return m
}

// RegisterHung registers the number of abandoned calls that still hang.
func RegisterHung(reg prometheus.Registerer, d *Deadline) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: metrics.Namespace,
		Name:      "hns_calls_hung",
		Help:      "Abandoned HNS calls that have not returned yet. Above zero for long means that HNS hangs.",
	}, func() float64 { return float64(d.Hung()) }))
}

// instrumented is a [Client] that measures the one behind it.
type instrumented struct {
	next    Client
	metrics *Metrics
	clock   clock.PassiveClock
}

var _ Client = (*instrumented)(nil)

// WithMetrics wraps a client so that its calls are measured. Put it outside the deadline, so that abandoned calls
// count.
func WithMetrics(next Client, m *Metrics, clk clock.PassiveClock) Client {
	return &instrumented{next: next, metrics: m, clock: clk}
}

func (i *instrumented) Networks(ctx context.Context) ([]Network, error) {
	return measure(i, OpNetworks, func() ([]Network, error) { return i.next.Networks(ctx) })
}

func (i *instrumented) ListEndpointIDs(ctx context.Context) ([]EndpointID, error) {
	return measure(i, OpListEndpointIDs, func() ([]EndpointID, error) { return i.next.ListEndpointIDs(ctx) })
}

func (i *instrumented) Endpoint(ctx context.Context, id EndpointID) (Endpoint, error) {
	return measure(i, OpEndpoint, func() (Endpoint, error) { return i.next.Endpoint(ctx, id) })
}

func (i *instrumented) LoadBalancers(ctx context.Context) ([]LoadBalancer, error) {
	return measure(i, OpLoadBalancers, func() ([]LoadBalancer, error) { return i.next.LoadBalancers(ctx) })
}

func (i *instrumented) DeleteEndpoint(ctx context.Context, id EndpointID) error {
	_, err := measure(i, OpDeleteEndpoint, func() (struct{}, error) {
		return struct{}{}, i.next.DeleteEndpoint(ctx, id)
	})
	return err
}

func (i *instrumented) CreateRemoteEndpoint(ctx context.Context, spec RemoteSpec) (Endpoint, error) {
	return measure(i, OpCreateRemoteEndpoint, func() (Endpoint, error) { return i.next.CreateRemoteEndpoint(ctx, spec) })
}

func measure[T any](i *instrumented, op Operation, call func() (T, error)) (T, error) {
	start := i.clock.Now()
	value, err := call()
	i.metrics.duration.WithLabelValues(string(op)).Observe(i.clock.Since(start).Seconds())
	i.metrics.outcomes.observe(op, err, i.clock.Now())
	if err != nil {
		i.metrics.errors.WithLabelValues(string(op), string(ClassOf(err))).Inc()
	}
	return value, err
}
