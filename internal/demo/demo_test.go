// SPDX-License-Identifier: Apache-2.0

package demo_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/demo"
)

func options(scenario string, out *buffer) demo.Options {
	return demo.Options{Scenario: scenario, Speed: 8, MetricsAddress: "0", Out: out, Clock: clock.RealClock{}}
}

// buffer is written to by the agent's goroutines while a test reads it.
type buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestEveryScenario(t *testing.T) {
	t.Parallel()
	for _, name := range demo.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			out := &buffer{}
			o := options(name, out)
			o.Verdicts = true
			g.Expect(demo.Play(t.Context(), o)).To(Succeed(), out.String())
			g.Expect(out.String()).To(And(ContainSubstring("Result: as it should be."), ContainSubstring("hnsguard    Decided")))
		})
	}
}

// A guard that may not act does not do its job, and the demo has to say so: it is a check that can fail.
func TestAGuardThatDoesNothingFails(t *testing.T) {
	g := NewWithT(t)
	out := &buffer{}
	o := options("incident", out)
	o.Observe = true
	err := demo.Play(t.Context(), o)
	g.Expect(err).To(MatchError(demo.ErrGuardFailed))
	g.Expect(err).To(MatchError(ContainSubstring("the stale endpoint")))
	g.Expect(out.String()).To(ContainSubstring("Event Normal StaleEndpointFound"))
}

func TestWithoutTheFlushThePodLosesItsEndpoint(t *testing.T) {
	g := NewWithT(t)
	out := &buffer{}
	o := options("stale-record", out)
	o.Observe = true
	err := demo.Play(t.Context(), o)
	g.Expect(err).To(MatchError(demo.ErrGuardFailed))
	g.Expect(err).To(MatchError(ContainSubstring("the local endpoint")), out.String())
}

func TestMetricsAreServedMeanwhile(t *testing.T) {
	g := NewWithT(t)
	out := &buffer{}
	o := options("leaked-local", out)
	o.MetricsAddress = "127.0.0.1:0"
	ended := make(chan error, 1)
	go func() { ended <- demo.Play(t.Context(), o) }()
	g.Eventually(func() (int, error) {
		_, rest, found := strings.Cut(out.String(), "Metrics are at ")
		if !found {
			return 0, nil
		}
		url, _, _ := strings.Cut(rest, "\n")
		response, err := http.Get(url)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}, 10*time.Second).Should(Equal(http.StatusOK))
	g.Eventually(ended, 30*time.Second).Should(Receive(BeNil()))
}

func TestItCanBeInterrupted(t *testing.T) {
	g := NewWithT(t)
	ctx, stop := context.WithCancel(t.Context())
	o := options("incident", &buffer{})
	o.Speed = 0.001
	time.AfterFunc(500*time.Millisecond, stop)
	start := time.Now()
	g.Expect(demo.Play(ctx, o)).To(MatchError(context.Canceled))
	g.Expect(time.Since(start)).To(BeNumerically("<", 10*time.Second))
}
