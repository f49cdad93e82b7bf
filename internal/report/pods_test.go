// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

var webName = types.NamespacedName{Namespace: "default", Name: "web-5c8d7f6b9-q4w2z"}

// lost is a node on which the endpoint of the running pod web is gone: its address is 10.240.0.11.
func lost(t *testing.T) report.Input {
	t.Helper()
	in := input(t, "akswin000001", "derived-v2-duplicate.json", "derived-v2-duplicate.json")
	var left []hns.Endpoint
	for _, e := range in.HNS.Endpoints {
		if !e.Has(netip.MustParseAddr("10.240.0.11")) {
			left = append(left, e)
		}
	}
	in.HNS.Endpoints = left
	return in
}

func podOf(t *testing.T, in report.Input, name types.NamespacedName) *corev1.Pod {
	t.Helper()
	for _, pod := range in.Cluster.Pods {
		if pod.Namespace == name.Namespace && pod.Name == name.Name {
			return pod
		}
	}
	t.Fatalf("there is no pod %s", name)
	return nil
}

// Invariant 4: only a running pod of this node that has an address of its own can be without network.
func TestTheStateOfAPod(t *testing.T) {
	hostProcess := &corev1.PodSecurityContext{WindowsOptions: &corev1.WindowsSecurityContextOptions{HostProcess: new(true)}}
	for name, tc := range map[string]struct {
		change func(*report.Input, *corev1.Pod)
		want   report.PodState
	}{
		"without endpoint": {func(*report.Input, *corev1.Pod) {}, report.PodWithoutNetwork},
		"a remote endpoint has its address": {func(in *report.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses = []netip.Addr{netip.MustParseAddr("10.240.0.11")}
			in.HNS.Endpoints[0].Flags |= hns.FlagRemote
		}, report.PodWithoutNetwork},
		"a local endpoint has its address": {func(in *report.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses = []netip.Addr{netip.MustParseAddr("10.240.0.11")}
			in.HNS.Endpoints[0].Flags &^= hns.FlagRemote
		}, report.PodAttached},
		"its address is that of an endpoint not recorded whole": {func(in *report.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses, in.HNS.Endpoints[0].Flags = nil, 0
			in.HNS.Incomplete = map[hns.EndpointID]string{in.HNS.Endpoints[0].ID: "address"}
		}, report.PodUnknown},
		"HNS says something odd about an endpoint": {func(in *report.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses, in.HNS.Endpoints[0].Flags = nil, 0
			in.HNS.Endpoints[0].Untranslated = "an address"
		}, report.PodUnknown},
		"a remote endpoint is not recorded whole": {func(in *report.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses, in.HNS.Endpoints[0].Flags = nil, hns.FlagRemote
			in.HNS.Incomplete = map[hns.EndpointID]string{in.HNS.Endpoints[0].ID: "MAC address"}
		}, report.PodWithoutNetwork},
		"on another node": {func(_ *report.Input, p *corev1.Pod) { p.Spec.NodeName = "aks-agentpool-000000" }, report.PodElsewhere},
		"unscheduled":     {func(_ *report.Input, p *corev1.Pod) { p.Spec.NodeName = "" }, report.PodUnscheduled},
		"hostNetwork":     {func(_ *report.Input, p *corev1.Pod) { p.Spec.HostNetwork = true }, report.PodHostNetwork},
		"HostProcess":     {func(_ *report.Input, p *corev1.Pod) { p.Spec.SecurityContext = hostProcess }, report.PodHostNetwork},
		"succeeded":       {func(_ *report.Input, p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, report.PodEnded},
		"failed":          {func(_ *report.Input, p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, report.PodEnded},
		"pending":         {func(_ *report.Input, p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, report.PodStarting},
		"without address": {func(_ *report.Input, p *corev1.Pod) { p.Status.PodIP, p.Status.PodIPs = "", nil }, report.PodStarting},
		"just started": {func(in *report.Input, p *corev1.Pod) {
			p.Status.StartTime = &metav1.Time{Time: in.Now.Add(-29 * time.Second)}
		}, report.PodStarting},
		"started": {func(in *report.Input, p *corev1.Pod) {
			p.Status.StartTime = &metav1.Time{Time: in.Now.Add(-30 * time.Second)}
		}, report.PodWithoutNetwork},
		"being deleted": {func(_ *report.Input, p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }, report.PodDeleting},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in := lost(t)
			in.Filter.Pods = []types.NamespacedName{webName}
			tc.change(&in, podOf(t, in, webName))
			found := judge(t, in)
			g.Expect(found.Pods).To(ConsistOf(HaveField("State", tc.want)))
			if tc.want == report.PodWithoutNetwork {
				g.Expect(found.PodsWithoutNetwork).To(Equal(found.Pods))
			} else {
				g.Expect(found.PodsWithoutNetwork).To(BeEmpty())
			}
		})
	}
}

func TestPodsWithoutNetworkAreReported(t *testing.T) {
	g := NewWithT(t)
	in := lost(t)
	podOf(t, in, webName).Status.StartTime = &metav1.Time{Time: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)}
	found := judge(t, in)
	g.Expect(found.PodsWithoutNetwork).To(ConsistOf(And(
		HaveField("Name", webName.String()), HaveField("Node", "akswin000001"), HaveField("NodeOS", "windows"),
	)))
	g.Expect(found.Wrong()).To(BeTrue())
	g.Expect(found.Notes).NotTo(ContainElement(ContainSubstring("seems to have a network")))
	var out strings.Builder
	g.Expect(found.Print(&out)).To(Succeed())
	g.Expect(out.String()).To(MatchRegexp(`POD +IP +STARTED\n` + webName.String() + ` +10\.240\.0\.11 +2026-03-01 02:00:00Z\n`))
	g.Expect(out.String()).To(ContainSubstring("Needs attention: 1 pod(s) without network.\n"))

	for name, tc := range map[string]struct {
		filter report.Filter
		want   int
	}{
		"its address":     {report.Filter{Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")}}, 1},
		"another address": {report.Filter{Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.27")}}, 0},
		"its name":        {report.Filter{Pods: []types.NamespacedName{webName}}, 1},
		"another name":    {report.Filter{Pods: []types.NamespacedName{{Namespace: "default", Name: "batch-27h5x"}}}, 0},
		"a verdict":       {report.Filter{Verdicts: []verdict.Kind{verdict.Local}}, 0},
	} {
		in.Filter = tc.filter
		g.Expect(judge(t, in).PodsWithoutNetwork).To(HaveLen(tc.want), name)
	}

	in.Filter = report.Filter{}
	again := podOf(t, in, webName).DeepCopy()
	again.Name, again.UID = "web-again", "again"
	in.Cluster.Pods = append(in.Cluster.Pods, again)
	g.Expect(judge(t, in).Notes).To(ContainElement(HavePrefix("no pod of akswin000001 seems to have a network")))
}

func TestWhatNeedsAttention(t *testing.T) {
	g := NewWithT(t)
	found := judge(t, input(t, "akswin000000", "aks-1367.json", "aks-1367-l2bridge-remotes.json"))
	g.Expect(found.Attention).To(Equal("1 contested, 1 pod(s) without network"))
	in := input(t, "akswin000001", "derived-v2-duplicate.json", "derived-v2-duplicate.json")
	found = judge(t, in)
	g.Expect(found.Attention).To(BeEmpty(), "what is removed is counted as that")
	g.Expect(found.Wrong()).To(BeTrue())
	in.Filter.Verdicts = []verdict.Kind{verdict.InUse}
	g.Expect(judge(t, in).Wrong()).To(BeFalse())
}

func TestTheMode(t *testing.T) {
	for name, tc := range map[string]struct {
		change           func(*config.Config)
		header, observes string
		modes            config.Mode
	}{
		"enforce": {func(*config.Config) {}, "Mode: enforce\n", "", "enforce"},
		"observe": {func(c *config.Config) { c.Mode = config.Observe }, "Mode: observe\n", "mode: observe", "observe"},
		"of conflicts": {
			func(c *config.Config) { c.Conflict.Mode = config.Observe },
			"Mode: enforce, conflict.mode: observe\n", "conflict.mode: observe", "observe",
		},
		"of orphans": {
			func(c *config.Config) { c.Orphan.Mode = config.Observe },
			"Mode: enforce, orphan.mode: observe\n", "", "enforce",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in := input(t, "akswin000001", "derived-v2-duplicate.json", "derived-v2-duplicate.json")
			tc.change(&in.Config)
			found := judge(t, in)
			g.Expect(found.Modes).To(HaveKeyWithValue("conflict", tc.modes))
			var out strings.Builder
			g.Expect(found.Print(&out)).To(Succeed())
			g.Expect(out.String()).To(ContainSubstring("\n" + tc.header))
			said := ContainSubstring("1 of 4 endpoints would be removed, but hnsguard only observes.")
			if tc.observes == "" {
				said = Not(said)
			}
			g.Expect(out.String()).To(said)
		})
	}
}
