// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package monitoring_test

import (
	"errors"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"k8s.io/klog/v2"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/test/chart"
)

// The names in the chart's values, and those that it derives from them.
const (
	namespace   = chart.Namespace
	account     = chart.Release
	nodeName    = "win-1"
	scraper     = "prometheus"
	scraperHome = "monitoring"
)

// values are the chart's values for a cluster with a Prometheus.
var values = []string{
	"--set", "prometheusRule.enabled=true", "--set", "dashboards.enabled=true",
	"--set", "metrics.scraper.serviceAccount.name=" + scraper,
	"--set", "metrics.scraper.serviceAccount.namespace=" + scraperHome,
}

func TestMain(m *testing.M) {
	logf.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	log.SetOutput(io.Discard) // the HTTP server complains of clients that do as they should here
	os.Exit(m.Run())
}

func TestMonitoring(t *testing.T) {
	t.Cleanup(func() { expectNoChildren(t) })
	objects := render(t)
	rules := rulesOf(t, objects)
	t.Run("promtool accepts the rules", func(t *testing.T) { checkRules(t, rules) })
	t.Run("every alert fires when it should, and only then", func(t *testing.T) { testRules(t, rules) })

	cluster := startCluster(t, objects)
	address, authority := cluster.startAgent(t)
	known, stranger := cluster.token(t, scraperHome, scraper), cluster.token(t, scraperHome, "stranger")
	p := startPrometheus(t, []job{
		{name: "hnsguard", address: address, authority: authority, token: known},
		{name: "unverified", address: address, token: known},
		{name: "foreign-authority", address: address, authority: otherAuthority(t), token: known},
		{name: "no-token", address: address, authority: authority},
		{name: "no-rights", address: address, authority: authority, token: stranger},
		{name: "no-account", address: address, authority: authority, token: "made-up"},
		{name: "plain", address: address, scheme: "http", token: known},
		{name: "pprof", address: address, authority: authority, token: cluster.token(t, scraperHome, "curious"), path: "/debug/pprof/"},
	}, rules)
	t.Run("only who may read the metrics gets them", func(t *testing.T) { testTargets(t, p) })
	t.Run("the agent is seen at work", func(t *testing.T) { testAgentIsSeen(t, p) })
	t.Run("the rules are evaluated", func(t *testing.T) { p.evaluatesRules(t) })
	t.Run("the dashboards' queries are evaluated", func(t *testing.T) { testDashboards(t, p) })
	t.Run("the dashboards count what they say", func(t *testing.T) { testFleetCounts(t, p) })
}

func render(t *testing.T) chart.Objects {
	t.Helper()
	c, err := chart.In(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := c.Render(t.Context(), namespace, values...)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// testTargets checks the result of each job.
func testTargets(t *testing.T, p *prometheus) {
	t.Helper()
	for name, complaint := range map[string]string{
		"hnsguard":          "",
		"unverified":        "",
		"foreign-authority": "certificate",
		"no-token":          "server returned HTTP status 401 Unauthorized",
		"no-rights":         "server returned HTTP status 403 Forbidden",
		"no-account":        "server returned HTTP status 401 Unauthorized",
		"plain":             "server returned HTTP status 400 Bad Request",
		"pprof":             "server returned HTTP status 404 Not Found",
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.Eventually(func() (target, error) { return p.target(t, name) }, 20*time.Second, 100*time.Millisecond).
				Should(HaveField("Health", Not(Equal("unknown"))))
			got, err := p.target(t, name)
			g.Expect(err).NotTo(HaveOccurred())
			if complaint == "" {
				g.Expect(got).To(Equal(target{Health: "up"}))
				return
			}
			g.Expect(got.Health).To(Equal("down"))
			g.Expect(got.LastError).To(ContainSubstring(complaint))
		})
	}
}

// testAgentIsSeen reads the agent's acts and observations from Prometheus.
func testAgentIsSeen(t *testing.T, p *prometheus) {
	t.Helper()
	for query, want := range map[string]float64{
		`hnsguard_passes_total{job="hnsguard", result="complete"} > bool 0`:                       1,
		`hnsguard_endpoints{job="hnsguard", verdict="in_use"}`:                                    2, // one shows the last flush
		`hnsguard_keep_slices{job="hnsguard"}`:                                                    1,
		`hnsguard_keeps_total{job="hnsguard", act="create", result="written"}`:                    1,
		`hnsguard_hold_duration_seconds_count{job="hnsguard"}`:                                    1,
		`hnsguard_removals_total{job="hnsguard", verdict="conflict", result="removed"}`:           1,
		`hnsguard_stale_endpoints_found_total{job="hnsguard", verdict="held"}`:                    1,
		`hnsguard_kube_proxy_info{job="hnsguard", version="v1.32.3", stale_record="true"}`:        1,
		`hnsguard_address_reuse_seconds_count{job="hnsguard"}`:                                    1,
		`hnsguard_address_reuse_seconds_bucket{job="hnsguard", le="1"}`:                           1,
		`hnsguard_hns_calls_hung{job="hnsguard"}`:                                                 0,
		`time() - hnsguard_last_pass_timestamp_seconds{job="hnsguard"} < bool 60`:                 1,
		`certwatcher_read_certificate_total{job="hnsguard"} > bool 0`:                             1,
		`sum by (job) (rest_client_requests_total{job="hnsguard", code=~"401|403"}) or vector(0)`: 0,
	} {
		t.Run(query, func(t *testing.T) {
			NewWithT(t).Eventually(func() ([]float64, error) { return p.query(t, query) }, 20*time.Second, 200*time.Millisecond).
				Should(Equal([]float64{want}))
		})
	}
}

// expectNoChildren fails if a process outlives the test.
func expectNoChildren(t *testing.T) {
	t.Helper()
	// The test's context has ended.
	out, err := exec.Command("pgrep", "-l", "-P", strconv.Itoa(os.Getpid())).CombinedOutput()
	var status *exec.ExitError
	if !errors.As(err, &status) || status.ExitCode() != 1 { // 1 is: there is none
		t.Errorf("the test left processes behind: %v\n%s", err, out)
	}
}
