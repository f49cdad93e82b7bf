// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/doctor"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// proxyMetrics is what the doctor reads of kube-proxy's metrics.
const proxyMetrics = `kubernetes_build_info{git_version="v1.37.2"} 1
# TYPE kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge
kubeproxy_sync_proxy_rules_last_timestamp_seconds 1772334000
`

// examined is what the doctor checks as the agent of an installation.
func (i installed) examined(ctx context.Context, node string) doctor.Options {
	GinkgoHelper()
	api := i.agentOn(ctx, node)
	windows := &corev1.Node{}
	Expect(i.cp.client.Get(ctx, client.ObjectKey{Name: node}, windows)).To(Succeed())
	windows.Status.NodeInfo.OperatingSystem, windows.Status.NodeInfo.KubeletVersion = "windows", "v1.37.2"
	Expect(i.cp.client.Status().Update(ctx, windows)).To(Succeed())
	service := hnstest.New(hnstest.Options{})
	service.CreateNetwork("azure", hns.NetworkL2Bridge)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(proxyMetrics))
	}))
	DeferCleanup(proxy.Close)
	policy := config.Default()
	policy.Eviction.Mode, policy.Reprogram.Mode = config.Enforce, config.Enforce
	return doctor.Options{
		Node: node, Namespace: i.namespace, Config: policy, HNS: service, API: api, MetricsURL: proxy.URL,
		MetricsSecure: true, Timeout: 20 * time.Second, Clock: clock.RealClock{},
	}
}

var _ = Describe("The doctor", func() {
	It("finds nothing wrong with what the chart installs, and names a right that is missing", func(ctx SpecContext) {
		it := install(ctx, shared, "--set", "config.eviction.mode=enforce,config.reprogram.mode=enforce")
		o := it.examined(ctx, fmt.Sprintf("win-%d", corners.Add(1)))
		Eventually(func(g Gomega) { // the API server's own view of its roles lags behind
			report, err := doctor.Run(ctx, o)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(report.Checks).To(HaveEach(HaveField("Status", doctor.Pass)))
		}).Should(Succeed())

		By("recording the node with the same rights")
		recorded := &bytes.Buffer{}
		bundle := recording.Bundle{Manifest: recording.Manifest{Node: o.Node, Recorded: o.Clock.Now()}}
		bundle.HNS, bundle.HNSErr = report.ReadHNS(ctx, o.HNS)
		bundle.Cluster, bundle.ClusterErr = report.ReadCluster(ctx, clientOf(o.API), o.Node, nil)
		manifest, err := bundle.Write(recorded)
		Expect(err).NotTo(HaveOccurred())
		Expect(manifest.Failed()).To(BeEmpty())
		read, err := recording.ReadBundle(recording.File{Name: "recorded", Data: recorded.Bytes()})
		Expect(err).NotTo(HaveOccurred())
		Expect(read.Missing()).To(Succeed())
		Expect(read.Cluster.Slices).NotTo(BeEmpty())
		Expect(read.Cluster.Pods).To(ConsistOf(HaveField("Name", "hnsguard-"+o.Node)))

		role := &rbacv1.ClusterRole{}
		Expect(shared.client.Get(ctx, client.ObjectKey{Name: "hnsguard"}, role)).To(Succeed())
		for i, rule := range role.Rules {
			if slices.Contains(rule.Resources, "services") {
				role.Rules[i].Verbs = []string{"list"}
			}
		}
		Expect(shared.client.Update(ctx, role)).To(Succeed())
		Eventually(func(g Gomega) {
			report, err := doctor.Run(ctx, o)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(report.Failed).To(Equal(1))
			g.Expect(report.Checks).To(ContainElement(And(
				HaveField("Check", doctor.CheckPermissions), HaveField("Status", doctor.Fail),
				HaveField("Found", HavePrefix("missing 1 of 18 rights: watch services (for ")),
			)))
		}).Should(Succeed())
	})
})
