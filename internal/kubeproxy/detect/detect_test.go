// SPDX-License-Identifier: Apache-2.0

package detect_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

func TestAsk(t *testing.T) {
	good, _ := proxy(t, http.StatusOK, buildInfo)
	forbidden, _ := proxy(t, http.StatusForbidden, "")
	empty, _ := proxy(t, http.StatusOK, "up 1\n")
	garbage, _ := proxy(t, http.StatusOK, "<html>")
	for name, tc := range map[string]struct {
		url, node string
		nodes     client.Reader
		want      string
		complaint string
	}{
		"its metrics tell":           {good, "win-1", nodes("v1.30.0"), "v1.32.3-eks-abc", ""},
		"the node tells":             {forbidden, "win-1", nodes("v1.30.0"), "v1.30.0", ""},
		"metrics of something else":  {empty, "win-1", nodes("v1.30.0"), "v1.30.0", ""},
		"no metrics at all":          {garbage, "win-1", nodes("v1.30.0"), "v1.30.0", ""},
		"nobody listens":             {"http://127.0.0.1:1/metrics", "win-1", nodes("v1.30.0"), "v1.30.0", ""},
		"neither tells":              {forbidden, "win-1", nodes(""), "", "403 Forbidden\nthe status of node win-1 does not say"},
		"there is no such node":      {empty, "win-9", nodes(""), "", `nodes "win-9" not found`},
		"the node cannot be asked":   {garbage, "win-1", nil, "", "the node was not asked"},
		"the address is no address ": {"http://%zz", "win-1", nil, "", "asking kube-proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			d := detect.New(detect.Options{Node: tc.node, Nodes: tc.nodes, URL: tc.url, Registerer: prometheus.NewRegistry()})
			got, err := d.Ask(t.Context())
			if tc.complaint != "" {
				g.Expect(err).To(MatchError(ContainSubstring(tc.complaint)))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(got).To(Equal(tc.want))
		})
	}
}

// Both invariants: unknown at first, unknown again when nobody answers.
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
	body.Store("up 1\n")
	g.Eventually(d.Profile).Should(HaveField("Known", false))
	g.Expect(testutil.GatherAndCount(registry, "hnsguard_kube_proxy_info")).To(Equal(1), "one series at a time")
	g.Expect(testutil.GatherAndLint(registry)).To(BeEmpty())
	stop()
	g.Expect(<-ended).To(Succeed())
}

func TestTheOperatorKnowsBest(t *testing.T) {
	g := NewWithT(t)
	d := detect.New(detect.Options{Version: "v1.37.2", URL: "http://127.0.0.1:1", Registerer: prometheus.NewRegistry()})
	g.Expect(d.Start(t.Context())).To(Succeed(), "there is nothing to ask")
	g.Expect(d.Profile()).To(And(HaveField("Known", true), HaveField("StaleRecord", false)))
}
