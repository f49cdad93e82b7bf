// SPDX-License-Identifier: Apache-2.0

package scan_test

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
	"github.com/hnsguard/hnsguard/internal/scan"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

var webName = types.NamespacedName{Namespace: "default", Name: "web-5c8d7f6b9-q4w2z"}

// lost is a node on which the endpoint of the running pod web is gone: its address is 10.240.0.11.
func lost(t *testing.T) scan.Input {
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

func podOf(t *testing.T, in scan.Input, name types.NamespacedName) *corev1.Pod {
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
		change func(*scan.Input, *corev1.Pod)
		want   scan.PodState
	}{
		"without endpoint": {func(*scan.Input, *corev1.Pod) {}, scan.PodWithoutNetwork},
		"a remote endpoint has its address": {func(in *scan.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses = []netip.Addr{netip.MustParseAddr("10.240.0.11")}
			in.HNS.Endpoints[0].Flags |= hns.FlagRemote
		}, scan.PodWithoutNetwork},
		"a local endpoint has its address": {func(in *scan.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses = []netip.Addr{netip.MustParseAddr("10.240.0.11")}
			in.HNS.Endpoints[0].Flags &^= hns.FlagRemote
		}, scan.PodAttached},
		"its address is that of an endpoint not recorded whole": {func(in *scan.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses, in.HNS.Endpoints[0].Flags = nil, 0
			in.HNS.Incomplete = map[hns.EndpointID]string{in.HNS.Endpoints[0].ID: "address"}
		}, scan.PodUnknown},
		"HNS says something odd about an endpoint": {func(in *scan.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses, in.HNS.Endpoints[0].Flags = nil, 0
			in.HNS.Endpoints[0].Untranslated = "an address"
		}, scan.PodUnknown},
		"a remote endpoint is not recorded whole": {func(in *scan.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses, in.HNS.Endpoints[0].Flags = nil, hns.FlagRemote
			in.HNS.Incomplete = map[hns.EndpointID]string{in.HNS.Endpoints[0].ID: "MAC address"}
		}, scan.PodWithoutNetwork},
		"on another node": {func(_ *scan.Input, p *corev1.Pod) { p.Spec.NodeName = "aks-agentpool-000000" }, scan.PodElsewhere},
		"unscheduled":     {func(_ *scan.Input, p *corev1.Pod) { p.Spec.NodeName = "" }, scan.PodUnscheduled},
		"hostNetwork":     {func(_ *scan.Input, p *corev1.Pod) { p.Spec.HostNetwork = true }, scan.PodHostNetwork},
		"HostProcess":     {func(_ *scan.Input, p *corev1.Pod) { p.Spec.SecurityContext = hostProcess }, scan.PodHostNetwork},
		"succeeded":       {func(_ *scan.Input, p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, scan.PodEnded},
		"failed":          {func(_ *scan.Input, p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, scan.PodEnded},
		"pending":         {func(_ *scan.Input, p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, scan.PodStarting},
		"without address": {func(_ *scan.Input, p *corev1.Pod) { p.Status.PodIP, p.Status.PodIPs = "", nil }, scan.PodStarting},
		"just started": {func(in *scan.Input, p *corev1.Pod) {
			p.Status.StartTime = &metav1.Time{Time: in.Now.Add(-29 * time.Second)}
		}, scan.PodStarting},
		"started": {func(in *scan.Input, p *corev1.Pod) {
			p.Status.StartTime = &metav1.Time{Time: in.Now.Add(-30 * time.Second)}
		}, scan.PodWithoutNetwork},
		"being deleted": {func(_ *scan.Input, p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }, scan.PodDeleting},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in := lost(t)
			in.Filter.Pods = []types.NamespacedName{webName}
			tc.change(&in, podOf(t, in, webName))
			report := judge(t, in)
			g.Expect(report.Pods).To(ConsistOf(HaveField("State", tc.want)))
			if tc.want == scan.PodWithoutNetwork {
				g.Expect(report.PodsWithoutNetwork).To(Equal(report.Pods))
			} else {
				g.Expect(report.PodsWithoutNetwork).To(BeEmpty())
			}
		})
	}
}

func TestPodsWithoutNetworkAreReported(t *testing.T) {
	g := NewWithT(t)
	in := lost(t)
	podOf(t, in, webName).Status.StartTime = &metav1.Time{Time: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)}
	report := judge(t, in)
	g.Expect(report.PodsWithoutNetwork).To(ConsistOf(And(
		HaveField("Name", webName.String()), HaveField("Node", "akswin000001"), HaveField("NodeOS", "windows"),
	)))
	g.Expect(report.Attention).To(Equal(scan.Attention{PodsWithoutNetwork: 1}))
	g.Expect(report.Notes).NotTo(ContainElement(ContainSubstring("seems to have a network")))
	var out strings.Builder
	g.Expect(report.Print(&out)).To(Succeed())
	g.Expect(out.String()).To(MatchRegexp(`POD +IP +STARTED\n` + webName.String() + ` +10\.240\.0\.11 +2026-03-01 02:00:00Z\n`))
	g.Expect(out.String()).To(HaveSuffix("Needs attention: 1 pod without network.\n"))

	for name, tc := range map[string]struct {
		filter scan.Filter
		want   int
	}{
		"its address":     {scan.Filter{Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")}}, 1},
		"another address": {scan.Filter{Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.27")}}, 0},
		"its name":        {scan.Filter{Pods: []types.NamespacedName{webName}}, 1},
		"another name":    {scan.Filter{Pods: []types.NamespacedName{{Namespace: "default", Name: "batch-27h5x"}}}, 0},
		"a verdict":       {scan.Filter{Verdicts: []verdict.Kind{verdict.Local}}, 0},
	} {
		in.Filter = tc.filter
		g.Expect(judge(t, in).PodsWithoutNetwork).To(HaveLen(tc.want), name)
	}

	in.Filter = scan.Filter{}
	again := podOf(t, in, webName).DeepCopy()
	again.Name, again.UID = "web-again", "again"
	in.Cluster.Pods = append(in.Cluster.Pods, again)
	g.Expect(judge(t, in).Notes).To(ContainElement(HavePrefix("no pod of akswin000001 seems to have a network")))
}

func TestWhatNeedsAttention(t *testing.T) {
	g := NewWithT(t)
	g.Expect(scan.Attention{}.Needed()).To(BeFalse())
	a := scan.Attention{Contested: 1, Held: 2, LeakedLocal: 3, PodsWithoutNetwork: 4}
	g.Expect(a.Needed()).To(BeTrue())
	g.Expect(a.String()).To(Equal("1 contested, 2 held, 3 leaked local, 4 pods without network"))

	report := judge(t, input(t, "akswin000000", "aks-1367.json", "aks-1367-l2bridge-remotes.json"))
	g.Expect(report.Attention).To(Equal(scan.Attention{Contested: 1, PodsWithoutNetwork: 1}))
	in := input(t, "akswin000001", "derived-v2-duplicate.json", "derived-v2-duplicate.json")
	g.Expect(judge(t, in).Attention.Needed()).To(BeFalse(), "what is removed is counted as that")
}

func TestTheMode(t *testing.T) {
	for name, tc := range map[string]struct {
		change         func(*config.Config)
		header, orphan string
		observes       string
		modes          string
	}{
		"enforce": {func(*config.Config) {}, "Mode: enforce\n", "", "", "enforce"},
		"observe": {func(c *config.Config) { c.Mode = config.Observe }, "Mode: observe\n", "mode: observe", "mode: observe", "observe"},
		"of conflicts": {
			func(c *config.Config) { c.Conflict.Mode = config.Observe },
			"Mode: enforce, conflict.mode: observe\n", "", "conflict.mode: observe", "observe",
		},
		"of orphans": {
			func(c *config.Config) { c.Orphan.Mode = config.Observe },
			"Mode: enforce, orphan.mode: observe\n", "orphan.mode: observe", "", "enforce",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in := input(t, "akswin000001", "derived-v2-duplicate.json", "derived-v2-duplicate.json")
			tc.change(&in.Config)
			report := judge(t, in)
			g.Expect(report.Observes(verdict.Orphan)).To(Equal(tc.orphan))
			g.Expect(report.Observes(verdict.Conflict)).To(Equal(tc.observes))
			g.Expect(report.Modes).To(HaveKeyWithValue("conflict", tc.modes))
			var out strings.Builder
			g.Expect(report.Print(&out)).To(Succeed())
			g.Expect(out.String()).To(ContainSubstring("\n" + tc.header))
			said := ContainSubstring("1 of 4 endpoints would be removed, but hnsguard only observes.")
			if tc.observes == "" {
				said = Not(said)
			}
			g.Expect(out.String()).To(said)
		})
	}
}
