// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/metrics"
)

// ErrUnrestricted says that the API server accepts a write that an admission policy has to refuse.
var ErrUnrestricted = errors.New("the API server accepts a write that an admission policy has to refuse: the policy " +
	"is missing, not bound, or that of another version; install the policies of the chart (admissionPolicy.enabled)")

// Valid is how long a proof remains valid.
const Valid = 10 * time.Minute

// The backoff of a closed gate.
const (
	backoffFirst = 10 * time.Second
	backoffMost  = 10 * time.Minute
)

// The acts that have a gate.
const (
	Flush     = "flush"
	Keep      = "keep"
	Reprogram = "reprogram"
	Eviction  = "eviction"
)

// NewMetric returns the metric of all gates, by act.
func NewMetric(reg prometheus.Registerer) *prometheus.GaugeVec {
	unrestricted := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: metrics.Namespace, Name: "unrestricted_writes",
		Help: "Whether an act is off (1) because the API server accepts writes that an admission policy has to refuse.",
	}, []string{"act"})
	reg.MustRegister(unrestricted)
	for _, act := range []string{Flush, Keep, Reprogram, Eviction} {
		unrestricted.WithLabelValues(act)
	}
	return unrestricted
}

// Gate is the gate of one act. It is not safe for concurrent use. A nil gate is always open, for the API servers of the
// demo and of tests, which have no policies.
type Gate struct {
	act          string
	unrestricted prometheus.Gauge
	clock        clock.Clock
	backoff      *flowcontrol.Backoff
	// proved is when the API server last refused the forbidden write.
	proved time.Time
	// closed is set while the API server accepts the forbidden write.
	closed bool
}

// NewGate returns the gate of an act, with the metric of [NewMetric].
func NewGate(act string, unrestricted *prometheus.GaugeVec, c clock.Clock) *Gate {
	return &Gate{
		act: act, unrestricted: unrestricted.WithLabelValues(act), clock: c,
		backoff: flowcontrol.NewFakeBackOff(backoffFirst, backoffMost, c), // the only constructor that takes a clock
	}
}

// Pass returns nil if the act may write now. forbidden tries a write that the admission policy has to refuse, as a dry
// run.
func (g *Gate) Pass(ctx context.Context, forbidden func(context.Context) error) error {
	if g == nil || !g.closed && !g.proved.IsZero() && g.clock.Since(g.proved) < Valid {
		return nil
	}
	if g.closed && g.backoff.IsInBackOffSinceUpdate(g.act, g.clock.Now()) {
		return ErrUnrestricted
	}
	err := forbidden(ctx)
	switch {
	case apierrors.IsInvalid(err):
		g.open(ctx)
		return nil
	case err == nil, apierrors.IsAlreadyExists(err): // existence is checked after admission
		g.close(ctx)
		return ErrUnrestricted
	default:
		return fmt.Errorf("testing whether an admission policy restricts %s: %w", g.act, err)
	}
}

func (g *Gate) open(ctx context.Context) {
	if g.closed {
		logf.FromContext(ctx).Info("The admission policy is in force again", "act", g.act)
	}
	g.closed, g.proved = false, g.clock.Now()
	g.unrestricted.Set(0)
	g.backoff.Reset(g.act)
}

func (g *Gate) close(ctx context.Context) {
	if !g.closed {
		logf.FromContext(ctx).Error(ErrUnrestricted, "An act stays off", "act", g.act)
	}
	g.closed = true
	g.unrestricted.Set(1)
	g.backoff.Next(g.act, g.clock.Now())
}
