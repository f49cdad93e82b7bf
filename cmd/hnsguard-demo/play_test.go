// SPDX-License-Identifier: Apache-2.0

package main_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"

	demo "github.com/hnsguard/hnsguard/cmd/hnsguard-demo"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/report"
)

func options(scenario string, out *buffer) demo.Options {
	return demo.Options{
		Scenario: scenario, Node: demo.Nodes()[0], Speed: 8, MetricsAddress: "0", Out: out, Clock: clock.RealClock{},
	}
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

// The guard finds the network of the pods by itself, whatever its name, the spelling of its type, and what is beside it.
func TestEveryNode(t *testing.T) {
	t.Parallel()
	for node, network := range map[string]string{"aks": "azure", "eks": "vpcbr0a1b2c3d4e5f"} {
		t.Run(node, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			out := &buffer{}
			o := options("incident", out)
			o.Node = node
			g.Expect(demo.Play(t.Context(), o)).To(Succeed(), out.String())
			g.Expect(out.String()).To(And(
				ContainSubstring(", network "+network+" as on "+strings.ToUpper(node)+".\n"),
				ContainSubstring("Result: as it should be."), ContainSubstring(`result="removed"`),
			))
		})
	}
	g := NewWithT(t)
	o := options("incident", &buffer{})
	o.Node = "openstack"
	g.Expect(o.Validate()).To(MatchError(`--node "openstack": must be aks or eks`))
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
		url, _, _ := strings.Cut(rest, " ")
		response, err := http.Get(url)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}, 30*time.Second).Should(Equal(http.StatusOK))
	g.Eventually(ended, 30*time.Second).Should(Receive(BeNil()))
}

func TestThePageStaysIfItIsToldTo(t *testing.T) {
	g := NewWithT(t)
	ctx, stop := context.WithCancel(t.Context())
	out := &buffer{}
	o := options("incident", out)
	o.PageAddress, o.Stay = "127.0.0.1:0", true
	ended := make(chan error, 1)
	go func() { ended <- demo.Play(ctx, o) }()
	g.Eventually(out.String, 30*time.Second).Should(ContainSubstring("until you press Ctrl+C"))
	_, rest, _ := strings.Cut(out.String(), "The node page is at ")
	url, _, _ := strings.Cut(rest, "\n")
	response, err := http.Get(url + "api/v1/status")
	g.Expect(err).NotTo(HaveOccurred())
	defer response.Body.Close()
	var status report.NodeStatus
	g.Expect(json.NewDecoder(response.Body).Decode(&status)).To(Succeed())
	g.Expect(status.State).To(Equal(report.StateGuarding))
	g.Expect(status.History).To(ContainElement(And(HaveField("Act", history.Removal), HaveField("Result", "removed"))))
	g.Expect(status.History).To(ContainElement(HaveField("Act", history.Reuse)))
	stop()
	g.Eventually(ended, 30*time.Second).Should(Receive(BeNil()))
}

func TestItCanBeInterruptedBeforeTheAgentHasStarted(t *testing.T) {
	g := NewWithT(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	g.Expect(demo.Play(ctx, options("incident", &buffer{}))).To(MatchError(context.Canceled))
}

// Whoever interrupts the wait for the end is not told that the guard has failed.
func TestItCanBeInterruptedAtTheEnd(t *testing.T) {
	g := NewWithT(t)
	ctx, stop := context.WithCancel(t.Context())
	out := &buffer{}
	o := options("orphan", out)
	o.Speed = 1000 // the actors are ready long before the grace period is over
	ended := make(chan error, 1)
	go func() { ended <- demo.Play(ctx, o) }()
	g.Eventually(out.String, 30*time.Second).Should(ContainSubstring("its address is free"))
	time.AfterFunc(500*time.Millisecond, stop)
	var err error
	g.Eventually(ended, 30*time.Second).Should(Receive(&err))
	g.Expect(err).To(MatchError(context.Canceled))
	g.Expect(err).NotTo(MatchError(demo.ErrGuardFailed))
	g.Expect(out.String()).NotTo(ContainSubstring("What HNS holds at the end"))
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
