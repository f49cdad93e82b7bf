// SPDX-License-Identifier: Apache-2.0

package detect_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
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

const buildInfo = kubernetesInfo + "kubeproxy_sync_proxy_rules_iptables_total 0\n"

// kubernetesInfo is what every component of Kubernetes serves.
const kubernetesInfo = `# HELP kubernetes_build_info [ALPHA] A metric with a constant '1' value.
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

const syncs = `# TYPE kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge
kubeproxy_sync_proxy_rules_last_timestamp_seconds 41
`

// byFamily is what kube-proxy serves from 1.34 on.
const byFamily = `# TYPE kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge
kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} 41
kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv6"} 39
`

// Invariant 5.
func TestFromMetrics(t *testing.T) {
	good, _ := proxy(t, http.StatusOK, buildInfo+syncs)
	forbidden, _ := proxy(t, http.StatusForbidden, "")
	empty, _ := proxy(t, http.StatusOK, syncs)
	kubelet, _ := proxy(t, http.StatusOK, kubernetesInfo+"kubelet_running_pods 3\n")
	garbage, _ := proxy(t, http.StatusOK, "<html>")
	NewWithT(t).Expect(detect.FromMetrics(t.Context(), nil, good)).To(Equal("v1.32.3-eks-abc"))
	for name, tc := range map[string]struct{ url, complaint string }{
		"forbidden":         {forbidden, "403 Forbidden"},
		"no version":        {empty, "have no kubernetes_build_info"},
		"another component": {kubelet, "is not kube-proxy"},
		"no metrics at all": {garbage, "reading the metrics of"},
		"nothing listens":   {"http://127.0.0.1:1/metrics", `reading kube-proxy's metrics: Get "http://127.0.0.1:1/metrics"`},
		"not an address":    {"http://%zz", "reading kube-proxy's metrics"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := detect.FromMetrics(t.Context(), nil, tc.url)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tc.complaint)))
		})
	}
}

// Invariant 5: another process may listen where kube-proxy does not.
func TestRedirectsAreNotFollowed(t *testing.T) {
	g := NewWithT(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the detector follows")
	}))
	defer elsewhere.Close()
	redirect := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer redirect.Close()
	_, err := detect.FromMetrics(t.Context(), nil, redirect.URL)
	g.Expect(err).To(MatchError(ContainSubstring("302 Found")))
}

// Invariant 8.
func TestAHostileAnswerTakesLittle(t *testing.T) {
	for name, tc := range map[string]struct{ head, part, complaint string }{
		"many metrics":   {syncs + buildInfo, "a 1\n", ""},
		"many times":     {syncs + buildInfo, syncs, "they have more than 64 KiB"},
		"a long line":    {syncs + buildInfo, "a", "token too long"},
		"a long version": {syncs + `kubernetes_build_info{git_version="v1.37.2-` + strings.Repeat("a", 100) + "\"} 1\n", "\n", "have no"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			part := []byte(strings.Repeat(tc.part, 1000))
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, err := io.WriteString(w, tc.head)
				for sent := 0; err == nil && sent < 16<<20; sent += len(part) {
					_, err = w.Write(part)
				}
			}))
			defer server.Close()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			version, err := detect.FromMetrics(t.Context(), nil, server.URL)
			runtime.ReadMemStats(&after)
			if tc.complaint == "" {
				g.Expect(version, err).To(Equal("v1.32.3-eks-abc"))
			} else {
				g.Expect(err).To(MatchError(ContainSubstring(tc.complaint)))
			}
			g.Expect(after.TotalAlloc - before.TotalAlloc).To(BeNumerically("<", 8<<20))
		})
	}
}

// Invariant 6.
func TestSyncs(t *testing.T) {
	g := NewWithT(t)
	url, body := proxy(t, http.StatusOK, "")
	d := detect.New(detect.Options{URL: url, Registerer: prometheus.NewRegistry()})
	count := func(metrics string) uint64 {
		t.Helper()
		body.Store(metrics)
		n, err := d.Syncs(t.Context())
		g.Expect(err).NotTo(HaveOccurred())
		return n
	}
	at := func(n string) string { return strings.ReplaceAll(syncs, "41", n) }
	g.Expect(count(at("0"))).To(BeZero(), "it has not synced yet")
	g.Expect(count(at("41"))).To(BeEquivalentTo(1))
	g.Expect(count(at("41"))).To(BeEquivalentTo(1), "nothing has ended since")
	g.Expect(count(at("101.5"))).To(BeEquivalentTo(2), "several that ended since count once")
	g.Expect(count(at("0"))).To(BeZero(), "it was restarted")
	g.Expect(count(at("130"))).To(BeEquivalentTo(1))
	g.Expect(count(at("160")+"process_start_time_seconds 150\n")).To(BeEquivalentTo(1), "it was restarted, and has synced since")
	body.Store(buildInfo)
	_, err := d.Syncs(t.Context())
	g.Expect(err).To(MatchError(ContainSubstring("have no kubeproxy_sync_proxy_rules_last_timestamp_seconds")))
}

// Invariant 6.
func TestSyncsOfBothFamilies(t *testing.T) {
	g := NewWithT(t)
	url, body := proxy(t, http.StatusOK, byFamily)
	d := detect.New(detect.Options{URL: url, Registerer: prometheus.NewRegistry()})
	g.Expect(d.Syncs(t.Context())).To(BeEquivalentTo(2))
	body.Store(strings.ReplaceAll(byFamily, "39", "71"))
	g.Expect(d.Syncs(t.Context())).To(BeEquivalentTo(3))
}

// A sync that was given up is observed like one that has ended, and proves nothing.
func TestTheDurationOfSyncsCountsNone(t *testing.T) {
	const givenUp = "kubeproxy_sync_proxy_rules_duration_seconds_count 41\n"
	url, _ := proxy(t, http.StatusOK, buildInfo+givenUp)
	_, err := detect.LastSync(t.Context(), url)
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring("last_timestamp_seconds")))
}

func TestLastSync(t *testing.T) {
	g := NewWithT(t)
	url, body := proxy(t, http.StatusOK, byFamily)
	g.Expect(detect.LastSync(t.Context(), url)).To(BeTemporally("==", time.Unix(41, 0)))
	body.Store(strings.ReplaceAll(syncs, "41", "0"))
	g.Expect(detect.LastSync(t.Context(), url)).To(BeZero())
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

// Invariant 7.
func TestWhatTheMetricsSaidIsReadAgain(t *testing.T) {
	g := NewWithT(t)
	url, body := proxy(t, http.StatusOK, buildInfo)
	d := detect.New(detect.Options{Node: "win-1", URL: url, Every: time.Hour, Registerer: prometheus.NewRegistry()})
	g.Expect(d.Look(t.Context())).To(Succeed())
	body.Store(strings.ReplaceAll(buildInfo, "v1.32.3-eks-abc", "v1.32.5"))
	g.Expect(d.Current(t.Context())).To(HaveField("Version", "v1.32.5"))
	g.Expect(d.Profile()).To(HaveField("Version", "v1.32.5"), "for the passes too")

	body.Store("")
	_, err := d.Current(t.Context())
	g.Expect(err).To(MatchError(ContainSubstring("reading kube-proxy's version again")))
	g.Expect(d.Profile()).To(HaveField("Version", "v1.32.5"), "one failure is no doubt yet")
}

// Invariant 7: what was configured needs no metrics.
func TestAConfiguredVersionIsCurrent(t *testing.T) {
	d := detect.New(detect.Options{Version: "v1.37.2", URL: "http://127.0.0.1:1", Registerer: prometheus.NewRegistry()})
	NewWithT(t).Expect(d.Current(t.Context())).To(HaveField("Version", "v1.37.2"))
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
	at := func(n string) string { return buildInfo + strings.ReplaceAll(syncs, "41", n) }
	url, body := proxy(t, http.StatusOK, at("0"))
	registry := prometheus.NewRegistry()
	d := detect.New(detect.Options{URL: url, Every: time.Minute, Registerer: registry})
	look := func(metrics string) float64 {
		t.Helper()
		body.Store(metrics)
		_ = d.Look(t.Context()) // whether the version is found does not matter here
		return lastSync(t, registry)
	}
	g.Expect(lastSync(t, registry)).To(BeZero())
	g.Expect(look(at("0"))).To(BeZero(), "it has not synced yet")
	g.Expect(look(at("41"))).To(BeEquivalentTo(41))
	g.Expect(look("")).To(BeEquivalentTo(41), "it has stopped")
	g.Expect(look(at("0"))).To(BeEquivalentTo(41), "it was restarted")
	g.Expect(look(at("131"))).To(BeEquivalentTo(131))
}
