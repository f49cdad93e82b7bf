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

// buffer can be written by the agent's goroutines while a test reads it.
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

// Invariant 1: the demo is a check that can fail. Here an endpoint is expected to go that the guard rightly keeps.
func TestAnUnexpectedEndFails(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	err := demo.PlayExpectingRemoval(t.Context(), options("incident", &buffer{}), "neighbor")
	g.Expect(err).To(MatchError(demo.ErrGuardFailed))
	g.Expect(err).To(MatchError(ContainSubstring("the neighbor endpoint")))
}

// Invariant 2: without hnsguard every scenario but the harmless one ends badly, and the demo says how.
func TestObservingShowsWhatIsLost(t *testing.T) {
	t.Parallel()
	for name, result := range map[string]string{
		"incident":     "Result without hnsguard: the stale endpoint",
		"stale-record": "Result without hnsguard: the local endpoint",
		"held":         "Result without hnsguard: the stale endpoint",
		"orphan":       "Result without hnsguard: the stale endpoint",
		"leaked-local": "Result: as it should be. Nothing was removed.",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			out := &buffer{}
			o := options(name, out)
			o.Observe = true
			g.Expect(demo.Play(t.Context(), o)).To(Succeed())
			g.Expect(out.String()).To(And(ContainSubstring("hnsguard only observes"), ContainSubstring(result)))
			g.Expect(out.String()).NotTo(ContainSubstring(`result="removed"`))
		})
	}
}

func TestObservingReportsTheConflict(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	out := &buffer{}
	o := options("incident", out)
	o.Observe = true
	g.Expect(demo.Play(t.Context(), o)).To(Succeed())
	g.Expect(out.String()).To(ContainSubstring("Event Normal StaleEndpointFound"))
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

func TestItCanBeInterruptedBeforeTheAgentHasStarted(t *testing.T) {
	g := NewWithT(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	g.Expect(demo.Play(ctx, options("incident", &buffer{}))).To(MatchError(context.Canceled))
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
