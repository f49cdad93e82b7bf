// SPDX-License-Identifier: Apache-2.0

package detect_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
)

const buildInfo = `# HELP kubernetes_build_info [ALPHA] A metric with a constant '1' value.
# TYPE kubernetes_build_info gauge
kubernetes_build_info{build_date="",compiler="gc",git_version="v1.32.3-eks-abc",major="1",minor="32",platform="windows/amd64"} 1
`

// proxy serves metrics as kube-proxy does; the body can change.
func proxy(t *testing.T, status int, body string) (string, *atomic.Value) {
	t.Helper()
	var present atomic.Value
	present.Store(body)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(present.Load().(string)))
	}))
	t.Cleanup(server.Close)
	return server.URL, &present
}

func nodes(version string) client.Reader {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "win-1"}}
	node.Status.NodeInfo.KubeProxyVersion = version //nolint:staticcheck // what old kubelets report
	return fake.NewClientBuilder().WithObjects(node).Build()
}

const syncs = `# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram
kubeproxy_sync_proxy_rules_duration_seconds_bucket{le="+Inf"} 41
kubeproxy_sync_proxy_rules_duration_seconds_sum 12.5
kubeproxy_sync_proxy_rules_duration_seconds_count 41
`

// byFamily is what kube-proxy serves from 1.34 on.
const byFamily = `# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram
kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family="IPv4",le="+Inf"} 7
kubeproxy_sync_proxy_rules_duration_seconds_sum{ip_family="IPv4"} 1
kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"} 7
kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family="IPv6",le="+Inf"} 5
kubeproxy_sync_proxy_rules_duration_seconds_sum{ip_family="IPv6"} 1
kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv6"} 5
`

func TestFromMetrics(t *testing.T) {
	good, _ := proxy(t, http.StatusOK, buildInfo)
	forbidden, _ := proxy(t, http.StatusForbidden, "")
	empty, _ := proxy(t, http.StatusOK, "up 1\n")
	garbage, _ := proxy(t, http.StatusOK, "<html>")
	NewWithT(t).Expect(detect.FromMetrics(t.Context(), good)).To(Equal("v1.32.3-eks-abc"))
	for name, tc := range map[string]struct{ url, complaint string }{
		"forbidden":                 {forbidden, "403 Forbidden"},
		"metrics of something else": {empty, "have no kubernetes_build_info"},
		"no metrics at all":         {garbage, "reading the metrics of"},
		"nothing listens":           {"http://127.0.0.1:1/metrics", `reading kube-proxy's metrics: Get "http://127.0.0.1:1/metrics"`},
		"not an address":            {"http://%zz", "reading kube-proxy's metrics"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := detect.FromMetrics(t.Context(), tc.url)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tc.complaint)))
		})
	}
}

// Another process may listen where kube-proxy does not.
func TestRedirectsAreNotFollowed(t *testing.T) {
	g := NewWithT(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the detector follows")
	}))
	defer elsewhere.Close()
	redirect := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer redirect.Close()
	_, err := detect.FromMetrics(t.Context(), redirect.URL)
	g.Expect(err).To(MatchError(ContainSubstring("302 Found")))
}

func TestSyncs(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		want uint64
	}{"both families in one": {syncs, 41}, "by family": {byFamily, 12}} {
		t.Run(name, func(t *testing.T) {
			url, _ := proxy(t, http.StatusOK, tc.body)
			d := detect.New(detect.Options{URL: url, Registerer: prometheus.NewRegistry()})
			NewWithT(t).Expect(d.Syncs(t.Context())).To(Equal(tc.want))
		})
	}
	url, _ := proxy(t, http.StatusOK, buildInfo)
	d := detect.New(detect.Options{URL: url, Registerer: prometheus.NewRegistry()})
	_, err := d.Syncs(t.Context())
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring("have no kubeproxy_sync")))
}

// Invariants 1 and 2.
func TestADoubtTakesNoFaultAway(t *testing.T) {
	affected := HaveField("StaleRecord", true)
	for name, tc := range map[string]struct {
		version string // in the metrics, as long as they can be read
		node    string // in the status of the node, afterwards
		age     time.Duration
		want    types.GomegaMatcher
	}{
		"affected, and the node's kubelet is not": {"v1.32.3", "v1.32.5", time.Minute, And(HaveField("Version", "v1.32.3"), affected)},
		"affected, and the node does not say":     {"v1.32.3", "", time.Hour, And(HaveField("Version", "v1.32.3"), affected)},
		"not affected, for a moment":              {"v1.32.5", "", 10 * time.Minute, And(HaveField("Known", true), Not(affected))},
		"not affected, for long":                  {"v1.32.5", "", 10*time.Minute + 1, And(HaveField("Version", "v1.32.5"), affected)},
		"not affected, and the node's kubelet is": {"v1.34.2", "v1.31.0", time.Minute, affected},
		"never found, and the node is good":       {"", "v1.37.2", time.Minute, And(HaveField("Known", false), affected)},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			url, body := proxy(t, http.StatusOK, strings.ReplaceAll(buildInfo, "v1.32.3-eks-abc", tc.version))
			clk := testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
			d := detect.New(detect.Options{
				Node: "win-1", Server: nodes(tc.node), URL: url, Registerer: prometheus.NewRegistry(), Clock: clk,
			})
			if tc.version != "" {
				g.Expect(d.Look(t.Context())).To(Succeed())
			}
			body.Store("")
			clk.SetTime(clk.Now().Add(tc.age))
			g.Expect(d.Look(t.Context())).NotTo(Succeed())
			g.Expect(d.Profile()).To(tc.want)
		})
	}
}

func TestItFollowsTheNode(t *testing.T) {
	g := NewWithT(t)
	url, body := proxy(t, http.StatusOK, buildInfo)
	registry := prometheus.NewPedanticRegistry()
	d := detect.New(detect.Options{Node: "win-1", URL: url, Every: 10 * time.Millisecond, Registerer: registry})
	g.Expect(d.Profile().Known).To(BeFalse())
	g.Expect(d.Profile().StaleRecord).To(BeTrue())

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Start(ctx) }()
	g.Eventually(d.Profile).Should(And(HaveField("Known", true), HaveField("Version", "v1.32.3-eks-abc")))
	g.Expect(testutil.GatherAndCount(registry, "hnsguard_kube_proxy_info")).To(Equal(1))
	body.Store(strings.ReplaceAll(buildInfo, "v1.32.3-eks-abc", "v1.32.5"))
	g.Eventually(d.Profile).Should(And(HaveField("Version", "v1.32.5"), HaveField("StaleRecord", false)))
	g.Expect(testutil.GatherAndCount(registry, "hnsguard_kube_proxy_info")).To(Equal(1), "one series at a time")
	g.Expect(testutil.GatherAndLint(registry)).To(BeEmpty())
	stop()
	g.Expect(<-ended).To(Succeed())
}

func TestTheOperatorKnowsBest(t *testing.T) {
	g := NewWithT(t)
	url, _ := proxy(t, http.StatusOK, buildInfo+syncs)
	registry := prometheus.NewRegistry()
	d := detect.New(detect.Options{Version: "v1.37.2", URL: url, Every: 10 * time.Millisecond, Registerer: registry})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Start(ctx) }()
	g.Eventually(func() float64 { return lastSync(t, registry) }).Should(BeNumerically(">", 0), "syncs are watched")
	g.Expect(d.Profile()).To(And(HaveField("Version", "v1.37.2"), HaveField("Known", true), HaveField("StaleRecord", false)))
	stop()
	g.Expect(<-ended).To(Succeed())
}

// Once, fifty agents of a test that did not say how often kept both cores busy.
func TestWithoutAnIntervalItLooksSeldom(t *testing.T) {
	g := NewWithT(t)
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(server.Close)
	d := detect.New(detect.Options{Version: "v1.37.2", URL: server.URL, Registerer: prometheus.NewRegistry()})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Start(ctx) }()
	g.Eventually(asked.Load).Should(BeNumerically("==", 1))
	g.Consistently(asked.Load, "200ms").Should(BeNumerically("==", 1))
	stop()
	g.Expect(<-ended).To(Succeed())
}

func lastSync(t *testing.T, registry *prometheus.Registry) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "hnsguard_kube_proxy_last_sync_timestamp_seconds" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no such metric")
	return 0
}

// A kube-proxy that hangs still serves its metrics, and one that has stopped does not.
func TestWhenKubeProxyLastSynced(t *testing.T) {
	g := NewWithT(t)
	count := func(n string) string { return buildInfo + strings.ReplaceAll(syncs, "41", n) }
	url, body := proxy(t, http.StatusOK, count("0"))
	clk := testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
	began := float64(clk.Now().Unix())
	registry := prometheus.NewRegistry()
	d := detect.New(detect.Options{URL: url, Every: time.Minute, Registerer: registry, Clock: clk})
	look := func(metrics string) float64 {
		t.Helper()
		clk.SetTime(clk.Now().Add(time.Minute))
		body.Store(metrics)
		_ = d.Look(t.Context()) // whether the version is found does not matter here
		return lastSync(t, registry)
	}
	g.Expect(lastSync(t, registry)).To(BeZero())
	g.Expect(look(count("0"))).To(BeZero(), "it has not synced yet")
	g.Expect(look(count("41"))).To(Equal(began + 120))
	g.Expect(look(count("41"))).To(Equal(began+120), "it hangs")
	g.Expect(look("")).To(Equal(began+120), "it has stopped")
	g.Expect(look(count("43"))).To(Equal(began + 300))
	g.Expect(look(count("2"))).To(Equal(began+360), "it was restarted")
}
