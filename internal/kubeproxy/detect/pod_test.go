// SPDX-License-Identifier: Apache-2.0

package detect_test

import (
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
)

// proxyPod is a pod that runs an image on win-1, as sig-windows-tools' DaemonSet makes it.
func proxyPod(name, image string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name},
		Spec: corev1.PodSpec{
			NodeName: "win-1", HostNetwork: true, Containers: []corev1.Container{{Name: "kube-proxy", Image: image}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning,
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "kube-proxy", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
			}},
		},
	}
	for _, c := range change {
		c(pod)
	}
	return pod
}

func TestInPods(t *testing.T) {
	const unclear = "does not show which kube-proxy it runs"
	for name, tc := range map[string]struct {
		pods []*corev1.Pod
		want string
		err  string
	}{
		"sig-windows-tools": {
			pods: []*corev1.Pod{proxyPod("a", "sigwindowstools/kube-proxy:v1.32.3-calico-hostprocess")},
			want: "v1.32.3-calico-hostprocess",
		},
		"a registry with a port, and a digest": {
			pods: []*corev1.Pod{proxyPod("a", "registry.example:5000/acs/kube-proxy-windows:v1.31.9-aliyun.1@sha256:0123")},
			want: "v1.31.9-aliyun.1",
		},
		"two pods of one version": {
			pods: []*corev1.Pod{proxyPod("a", "x/kube-proxy:v1.34.8"), proxyPod("b", "x/kube-proxy:v1.34.8")}, want: "v1.34.8",
		},
		"another that has ended": {
			pods: []*corev1.Pod{
				proxyPod("a", "x/kube-proxy:v1.34.8"),
				proxyPod("b", "x/kube-proxy:v1.31.0", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
			}, want: "v1.34.8",
		},
		"while one replaces the other": {
			pods: []*corev1.Pod{proxyPod("a", "x/kube-proxy:v1.34.8"), proxyPod("b", "x/kube-proxy:v1.32.3")},
			err:  "several versions of kube-proxy: v1.32.3, v1.34.8",
		},
		"no tag":         {pods: []*corev1.Pod{proxyPod("a", "localhost:5000/kube-proxy")}, err: unclear},
		"a digest only":  {pods: []*corev1.Pod{proxyPod("a", "x/kube-proxy@sha256:0123")}, err: unclear},
		"latest":         {pods: []*corev1.Pod{proxyPod("a", "x/kube-proxy:latest")}, err: unclear},
		"without patch":  {pods: []*corev1.Pod{proxyPod("a", "x/kube-proxy:v1.34")}, err: unclear},
		"not running":    {pods: []*corev1.Pod{proxyPod("a", "x/kube-proxy:v1.34.8", waiting)}, err: unclear},
		"one is unclear": {pods: []*corev1.Pod{proxyPod("a", "x/kube-proxy:v1.34.8"), proxyPod("b", "x/kube-proxy:dev")}, err: unclear},
		"another node": {
			pods: []*corev1.Pod{proxyPod("a", "x/kube-proxy:v1.34.8", func(p *corev1.Pod) { p.Spec.NodeName = "win-2" })},
			err:  "no pod on node win-1 is known to run kube-proxy",
		},
		"a pod with a network of its own": {
			pods: []*corev1.Pod{proxyPod("a", "x/kube-proxy:v1.34.8", func(p *corev1.Pod) { p.Spec.HostNetwork = false })},
			err:  "no pod on node win-1",
		},
		"a helper beside it": {
			pods: []*corev1.Pod{proxyPod("a", "x/kube-proxy-exporter:v1.34.8")}, err: "no pod on node win-1",
		},
		"another image": {pods: []*corev1.Pod{proxyPod("a", "kube-proxy.example/pause:v1.34.8")}, err: "no pod on node win-1"},
		"none":          {err: "no pod on node win-1"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			version, err := detect.InPods(tc.pods, "win-1")
			g.Expect(version).To(Equal(tc.want))
			if tc.err == "" {
				g.Expect(err).NotTo(HaveOccurred())
			} else {
				g.Expect(err).To(MatchError(ContainSubstring(tc.err)))
			}
		})
	}
}

func waiting(p *corev1.Pod) {
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
}

// server serves the pods of a node.
func server(pods ...client.Object) client.Client {
	return fake.NewClientBuilder().WithObjects(pods...).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string {
			return []string{o.(*corev1.Pod).Spec.NodeName}
		}).Build()
}

// Without metrics the image decides; once they have been read, it can only confirm them or add faults (invariant 3).
func TestTheImageOfThePod(t *testing.T) {
	g := NewWithT(t)
	url, body := proxy(t, http.StatusOK, "")
	api := server(proxyPod("kube-proxy", "x/kube-proxy:v1.34.8"))
	clk := testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
	registry := prometheus.NewRegistry()
	d := detect.New(detect.Options{
		Node: "win-1", Server: api, URL: url, Every: time.Minute, Registerer: registry, Clock: clk,
	})
	look := func(after time.Duration) error {
		clk.SetTime(clk.Now().Add(after))
		return d.Look(t.Context())
	}
	run := func(image string) {
		t.Helper()
		pod := proxyPod("kube-proxy", "")
		g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pod), pod)).To(Succeed())
		pod.Spec.Containers[0].Image = image
		g.Expect(api.Update(t.Context(), pod)).To(Succeed())
	}
	sound := And(HaveField("StaleRecord", false), HaveField("Duplicates", false))

	g.Expect(look(0)).To(Succeed())
	g.Expect(d.Profile()).To(And(HaveField("Version", "v1.34.8"), HaveField("Known", true), sound))
	g.Expect(testutil.GatherAndCount(registry, "hnsguard_kube_proxy_info")).To(Equal(1))

	run("x/kube-proxy:v1.32.3")
	g.Expect(look(time.Minute - 1)).To(Succeed())
	g.Expect(d.Profile().Version).To(Equal("v1.34.8"), "the pods are read once a minute")
	g.Expect(look(1)).To(Succeed())
	g.Expect(d.Profile()).To(And(HaveField("Version", "v1.32.3"), HaveField("StaleRecord", true)), "it was replaced")

	body.Store(`kubernetes_build_info{git_version="v1.37.2"} 1` + "\nkubeproxy_up 1\n")
	g.Expect(look(time.Minute)).To(Succeed())
	g.Expect(d.Profile()).To(And(HaveField("Version", "v1.37.2"), sound))
	body.Store("")
	g.Expect(look(time.Minute)).To(MatchError(ContainSubstring("is not kube-proxy")))
	g.Expect(d.Profile()).To(And(HaveField("Version", "v1.37.2"), HaveField("StaleRecord", true)), "the image adds faults")

	run("x/kube-proxy:v1.37.2")
	g.Expect(look(time.Hour)).To(Succeed())
	g.Expect(d.Profile()).To(And(HaveField("Version", "v1.37.2"), sound), "the image confirms the metrics")

	g.Expect(api.Delete(t.Context(), proxyPod("kube-proxy", ""))).To(Succeed())
	g.Expect(look(time.Hour)).To(MatchError(ContainSubstring("no pod on node win-1 is known to run kube-proxy")))
	g.Expect(d.Profile().StaleRecord).To(BeTrue(), "nothing has confirmed it for an hour")
}

// Invariant 7: without metrics, the pod confirms the version or nothing does.
func TestThePodConfirmsWhatTheMetricsSaid(t *testing.T) {
	g := NewWithT(t)
	url, body := proxy(t, http.StatusOK, buildInfo)
	api := server(proxyPod("kube-proxy", "x/kube-proxy:v1.32.3-eks-abc"))
	d := detect.New(detect.Options{
		Node: "win-1", Server: api, URL: url, Every: time.Hour, Registerer: prometheus.NewRegistry(),
	})
	g.Expect(d.Look(t.Context())).To(Succeed())
	body.Store("")
	g.Expect(d.Current(t.Context())).To(HaveField("Version", "v1.32.3-eks-abc"))

	pod := proxyPod("kube-proxy", "")
	g.Expect(api.Get(t.Context(), client.ObjectKeyFromObject(pod), pod)).To(Succeed())
	pod.Spec.Containers[0].Image = "x/kube-proxy:v1.37.2"
	g.Expect(api.Update(t.Context(), pod)).To(Succeed())
	_, err := d.Current(t.Context())
	g.Expect(err).To(MatchError(ContainSubstring("its pod runs v1.37.2, and not v1.32.3-eks-abc as before")))
}
