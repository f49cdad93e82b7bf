// SPDX-License-Identifier: Apache-2.0

package main_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"

	demo "github.com/hnsguard/hnsguard/cmd/hnsguard-demo"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/report"
)

func options(scenario string, out *buffer) demo.Options {
	return demo.Options{
		Scenario: scenario, Node: demo.Nodes()[0], Speed: 8, MetricsAddress: "0", PageAddress: "0", Out: out,
	}
}

// buffer can be read by a test while the agent's goroutines write to it.
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

// inBubble plays a scenario in a bubble, where hours take no time, and returns the output.
func inBubble(t *testing.T, o demo.Options) (text string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		out := &buffer{}
		o.Out = out
		NewWithT(t).Expect(demo.Play(t.Context(), o)).To(Succeed(), out.String())
		text = out.String()
	})
	return text
}

func TestEveryScenario(t *testing.T) {
	for _, name := range demo.Names() {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			for _, speed := range []float64{1, 8, 1000} {
				o := options(name, nil)
				o.Verdicts, o.Speed = true, speed
				g.Expect(inBubble(t, o)).To(And(
					ContainSubstring("Result: as it should be."), ContainSubstring("hnsguard          Decided")))
			}
		})
	}
}

// The guard finds the pod network by itself, whatever its name, the spelling of its type, and other networks.
func TestEveryNode(t *testing.T) {
	for node, network := range map[string]string{"aks": "azure", "eks": "vpcbr0a1b2c3d4e5f"} {
		t.Run(node, func(t *testing.T) {
			o := options("incident", nil)
			o.Node = node
			NewWithT(t).Expect(inBubble(t, o)).To(And(
				ContainSubstring(", network "+network+" as on "+strings.ToUpper(node)+".\n"),
				ContainSubstring("Result: as it should be."), ContainSubstring(`result="removed"`),
			))
		})
	}
	o := options("incident", &buffer{})
	o.Node = "openstack"
	NewWithT(t).Expect(o.Validate()).To(MatchError(`--node "openstack": must be aks or eks`))
}

// Invariant 1: the demo can fail.
func TestAPodThatIsLostFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		err := demo.PlayInVain(t.Context(), options("held", &buffer{}))
		g.Expect(err).To(MatchError(demo.ErrGuardFailed))
		g.Expect(err).To(MatchError(ContainSubstring("pod billing-0 has lost its endpoint to kube-proxy")))
	})
}

// Invariant 2: without hnsguard every scenario but the harmless one ends badly, and the demo says how. Real
// kube-proxies had the same results, with and without hnsguard.
func TestObservingShowsWhatIsLost(t *testing.T) {
	matrix, err := os.ReadFile("../../docs/results/kube-proxy-matrix.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ result, measured, version string }{
		"incident":     {"Result without hnsguard: the stale endpoint", "leaked duplicate", "1.34.0"},
		"stale-record": {"Result without hnsguard: pod billing-0 has lost its endpoint to kube-proxy", "stale record", "1.32.3"},
		"held": {
			"Result without hnsguard: pod billing-0 has lost its endpoint to kube-proxy",
			"reuse before drop, local enumerated last", "1.32.3",
		},
		"orphan": {"Result without hnsguard: the stale endpoint", "kube-proxy restarted while an address is dropped", "1.34.0"},
		"leaked-local": {
			"Result: as it should be. Nothing was removed.", "leaked local with a valid remote", "1.34.0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			o := options(name, nil)
			o.Observe = true
			text := inBubble(t, o)
			g.Expect(text).To(And(ContainSubstring(", kube-proxy v"+tc.version+","),
				ContainSubstring("hnsguard only observes"), ContainSubstring(tc.result)))
			marks := "✗ ✓"
			if strings.Contains(tc.result, "as it should be") {
				marks = "✓ ✓"
			}
			g.Expect(marksIn(string(matrix), tc.measured, tc.version)).To(Equal(marks))
			g.Expect(text).NotTo(ContainSubstring(`result="removed"`))
			if name == "incident" {
				g.Expect(text).To(ContainSubstring("Event Normal StaleEndpointFound"))
			}
		})
	}
}

// marksIn returns the marks of a scenario and a version in the table of measurements.
func marksIn(matrix, scenario, version string) string {
	column := 0
	for line := range strings.Lines(matrix) {
		cells := strings.Split(line, " | ")
		if strings.HasPrefix(line, "| scenario ") {
			column = slices.IndexFunc(cells, func(c string) bool { return strings.Trim(c, " |\n") == version })
		}
		if column > 0 && strings.HasPrefix(line, "| ["+scenario+"](") {
			return strings.Trim(cells[column], " |\n")
		}
	}
	return "not measured"
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
	var status report.Report
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

// An interrupt during the wait for the end is not reported as a failure of the guard.
func TestItCanBeInterruptedAtTheEnd(t *testing.T) {
	g := NewWithT(t)
	ctx, stop := context.WithCancel(t.Context())
	out := &buffer{}
	o := options("orphan", out)
	o.Speed = 1000 // the scene ends long before the grace period
	ended := make(chan error, 1)
	go func() { ended <- demo.Play(ctx, o) }()
	g.Eventually(out.String, 30*time.Second).Should(ContainSubstring("has given 10.240.0.11 back"))
	stop()
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
