// SPDX-License-Identifier: Apache-2.0

package admission_test

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/admission"
)

// server is an API server that gives one answer to the forbidden write.
type server struct {
	answer error
	asked  int
}

func (s *server) forbidden(context.Context) error {
	s.asked++
	return s.answer
}

var (
	resource = discoveryv1.Resource("endpointslices")
	refused  = apierrors.NewInvalid(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice").GroupKind(), "x", nil)
)

func newGate() (*admission.Gate, *prometheus.GaugeVec, *testingclock.FakeClock) {
	clock := testingclock.NewFakeClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
	unrestricted := admission.NewMetric(prometheus.NewRegistry())
	return admission.NewGate(admission.Flush, unrestricted, clock), unrestricted, clock
}

// Invariants 1 and 2.
func TestWhatAnAnswerProves(t *testing.T) {
	for name, tc := range map[string]struct {
		answer             error
		open, unrestricted bool
	}{
		"a policy refuses":         {refused, true, false},
		"it is accepted":           {nil, false, true},
		"there is one of the name": {apierrors.NewAlreadyExists(resource, "x"), false, true},
		"no role allows it":        {apierrors.NewForbidden(resource, "x", errors.New("RBAC")), false, false},
		"too many requests":        {apierrors.NewTooManyRequestsError("slow down"), false, false},
		"there is no namespace":    {apierrors.NewNotFound(resource, "x"), false, false},
		"no answer":                {context.DeadlineExceeded, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			gate, unrestricted, _ := newGate()
			s := &server{answer: tc.answer}
			err := gate.Pass(t.Context(), s.forbidden)
			g.Expect(err == nil).To(Equal(tc.open))
			g.Expect(errors.Is(err, admission.ErrUnrestricted)).To(Equal(tc.unrestricted))
			want := 0.0
			if tc.unrestricted {
				want = 1
			}
			g.Expect(testutil.ToFloat64(unrestricted.WithLabelValues(admission.Flush))).To(Equal(want))
			if !tc.open && !tc.unrestricted {
				g.Expect(err).To(MatchError(tc.answer))
				s.answer = refused
				g.Expect(gate.Pass(t.Context(), s.forbidden)).To(Succeed(), "the next write tries again, without a backoff")
			}
		})
	}
}

// Invariant 1.
func TestAProofExpires(t *testing.T) {
	g := NewWithT(t)
	gate, unrestricted, clock := newGate()
	s := &server{answer: refused}
	g.Expect(gate.Pass(t.Context(), s.forbidden)).To(Succeed())
	clock.Step(admission.Valid - time.Second)
	s.answer = nil
	g.Expect(gate.Pass(t.Context(), s.forbidden)).To(Succeed())
	g.Expect(s.asked).To(Equal(1))
	clock.Step(time.Second)
	g.Expect(gate.Pass(t.Context(), s.forbidden)).To(MatchError(admission.ErrUnrestricted))
	g.Expect(testutil.ToFloat64(unrestricted.WithLabelValues(admission.Flush))).To(BeEquivalentTo(1))
}

// Invariant 4.
func TestAClosedGateAsksLessAndLessOften(t *testing.T) {
	g := NewWithT(t)
	gate, unrestricted, clock := newGate()
	s := &server{}
	for range 3600 {
		g.Expect(gate.Pass(t.Context(), s.forbidden)).To(MatchError(admission.ErrUnrestricted))
		clock.Step(time.Second)
	}
	g.Expect(s.asked).To(BeNumerically("~", 11, 2), "after 10s, 20s, 40s, 80s, 160s, 320s, and then every 10 minutes")
	s.answer = refused
	clock.Step(10 * time.Minute)
	g.Expect(gate.Pass(t.Context(), s.forbidden)).To(Succeed())
	g.Expect(testutil.ToFloat64(unrestricted.WithLabelValues(admission.Flush))).To(BeZero())
}

func TestWithoutAGateEverythingPasses(t *testing.T) {
	var none *admission.Gate
	NewWithT(t).Expect(none.Pass(t.Context(), (&server{}).forbidden)).To(Succeed())
}
