// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/doctor"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// proxyMetrics are the metrics of kube-proxy that doctor reads.
const proxyMetrics = `kubernetes_build_info{git_version="v1.37.2"} 1
# TYPE kubeproxy_sync_proxy_rules_last_timestamp_seconds gauge
kubeproxy_sync_proxy_rules_last_timestamp_seconds 1772334000
`

// examined returns the inputs of doctor for the agent of an installation.
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

	It("examines a cluster before anything is installed there", func(ctx SpecContext) {
		n := corners.Add(1)
		metered, imaged, virtual := fmt.Sprintf("win-%d-metered", n), fmt.Sprintf("win-%d-imaged", n), fmt.Sprintf("win-%d-virtual", n)
		for _, node := range []string{metered, imaged, virtual} {
			object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node, Labels: map[string]string{corev1.LabelOSStable: "windows"}}}
			if node == virtual {
				object.Labels["type"] = "virtual-kubelet"
			}
			Expect(shared.client.Create(ctx, object)).To(Succeed())
			if node == metered {
				object.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: servesMetrics(ctx)}}
			}
			object.Status.NodeInfo.ContainerRuntimeVersion = "containerd://1.6.17"
			Expect(shared.client.Status().Update(ctx, object)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(shared.client.Delete(ctx, object)).To(Succeed()) })
		}
		namespace := shared.namespace(ctx)
		proxy := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "kube-proxy-windows"},
			Spec: corev1.PodSpec{
				NodeName: imaged, HostNetwork: true,
				Containers: []corev1.Container{{Name: "kube-proxy", Image: "nowhere.invalid/kube-proxy:v1.32.3"}},
			},
		}
		Expect(shared.client.Create(ctx, proxy)).To(Succeed())
		proxy.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "kube-proxy", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}}
		Expect(shared.client.Status().Update(ctx, proxy)).To(Succeed())

		options := doctor.ClusterOptions{
			API: shared.config, Namespace: namespace, Selector: labels.SelectorFromSet(labels.Set{"app.kubernetes.io/name": "hnsguard"}),
			Timeout: 20 * time.Second, Clock: clock.RealClock{},
		}
		examine := func() map[string]doctor.Result {
			GinkgoHelper()
			report, err := doctor.RunCluster(ctx, options)
			Expect(err).NotTo(HaveOccurred())
			Expect(report.Nodes).To(ContainElements(
				And(HaveField("Node", metered), HaveField("KubeProxy.Version", "v1.37.2"), HaveField("KubeProxy.Source", "metrics"),
					HaveField("Affected", doctor.AffectedUnknown)),
				And(HaveField("Node", imaged), HaveField("KubeProxy.Version", "v1.32.3"), HaveField("KubeProxy.Source", "image"),
					HaveField("KubeProxy.Faults", ContainElement("stale-record"))),
			))
			Expect(report.Nodes).NotTo(ContainElement(HaveField("Node", virtual)))
			results := map[string]doctor.Result{}
			for _, r := range report.Checks {
				results[r.Check] = r
			}
			return results
		}
		found := examine()
		Expect(found[doctor.CheckAPI].Status).To(Equal(doctor.Pass))
		Expect(found[doctor.CheckRights].Status).To(Equal(doctor.Pass))
		Expect(found[doctor.CheckPodSecurity].Status).To(Equal(doctor.Pass))
		Expect(found[doctor.CheckWindowsNodes]).To(And(HaveField("Status", doctor.Fail),
			HaveField("Found", ContainSubstring(imaged+": it has containerd 1.6.17; 1.6.18 or later is needed"))))

		By("in a namespace that refuses the agent")
		object := &corev1.Namespace{}
		Expect(shared.client.Get(ctx, client.ObjectKey{Name: namespace}, object)).To(Succeed())
		object.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
		Expect(shared.client.Update(ctx, object)).To(Succeed())
		Eventually(func() doctor.Result { return examine()[doctor.CheckPodSecurity] }).Should(And(
			HaveField("Status", doctor.Fail), HaveField("Found", ContainSubstring("violates PodSecurity")),
			HaveField("Advice", HavePrefix("kubectl label namespace "+namespace)),
		))

		By("as a person who may only look")
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "person"}}
		Expect(shared.client.Create(ctx, account)).To(Succeed())
		options.API = shared.as(ctx, account, nil)
		_, err := doctor.RunCluster(ctx, options)
		Expect(err).To(MatchError(ContainSubstring("listing the nodes: ")))
		role := &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "person-" + namespace},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list"}}},
		}
		Expect(shared.client.Create(ctx, role)).To(Succeed())
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: account.Name}},
		}
		binding.ResourceVersion = ""
		Expect(shared.client.Create(ctx, binding)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) {
			Expect(shared.client.Delete(ctx, role)).To(Succeed())
			Expect(shared.client.Delete(ctx, binding)).To(Succeed())
		})
		var report doctor.ClusterReport
		Eventually(func() (err error) {
			report, err = doctor.RunCluster(ctx, options)
			return err
		}).Should(Succeed())
		Expect(report.Nodes).To(ContainElement(And(HaveField("Node", imaged), HaveField("Affected", doctor.AffectedUnknown),
			HaveField("KubeProxy.Why", And(ContainSubstring("403 Forbidden"), ContainSubstring("cannot list resource"))),
			HaveField("Addresses.Why", ContainSubstring("the pods cannot be listed")))))
		Expect(report.Checks).To(ContainElements(
			And(HaveField("Check", doctor.CheckRights), HaveField("Status", doctor.Fail)),
			And(HaveField("Check", doctor.CheckPodSecurity), HaveField("Status", doctor.Warn)),
			And(HaveField("Check", doctor.CheckRelease), HaveField("Status", doctor.Warn)),
		))
	})
})

// servesMetrics serves kube-proxy's metrics at its port, on an address of this machine to which the API server
// connects: it refuses loopback.
func servesMetrics(ctx context.Context) string {
	GinkgoHelper()
	addresses, err := net.InterfaceAddrs()
	Expect(err).NotTo(HaveOccurred())
	for _, address := range addresses {
		network, is := address.(*net.IPNet)
		if !is || !network.IP.IsGlobalUnicast() || network.IP.To4() == nil {
			continue
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(network.IP.String(), "10249"))
		Expect(err).NotTo(HaveOccurred())
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(proxyMetrics))
		}))
		server.Listener = listener
		server.Start()
		DeferCleanup(server.Close)
		return network.IP.String()
	}
	Fail("this machine has no address but those of loopback")
	return ""
}
