// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

var webName = types.NamespacedName{Namespace: "default", Name: "web-5c8d7f6b9-q4w2z"}

// lost returns a node that has lost the endpoint of the running pod web, whose address is 10.240.0.11.
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

// Invariant 4: only a running pod on this node with its own address can lack its network.
func TestTheStateOfAPod(t *testing.T) {
	hostProcess := &corev1.PodSecurityContext{WindowsOptions: &corev1.WindowsSecurityContextOptions{HostProcess: new(true)}}
	for name, tc := range map[string]struct {
		change func(*report.Input, *corev1.Pod)
		want   verdict.PodState
	}{
		"without endpoint": {func(*report.Input, *corev1.Pod) {}, verdict.PodWithoutNetwork},
		"a remote endpoint has its address": {func(in *report.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses = []netip.Addr{netip.MustParseAddr("10.240.0.11")}
			in.HNS.Endpoints[0].Flags |= hns.FlagRemote
		}, verdict.PodWithoutNetwork},
		"a local endpoint has its address": {func(in *report.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses = []netip.Addr{netip.MustParseAddr("10.240.0.11")}
			in.HNS.Endpoints[0].Flags &^= hns.FlagRemote
		}, verdict.PodNotAttached},
		"one that is attached": {func(in *report.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses = []netip.Addr{netip.MustParseAddr("10.240.0.11")}
			in.HNS.Endpoints[0].Flags &^= hns.FlagRemote
			in.HNS.Endpoints[0].SharedContainers = 1
		}, verdict.PodAttached},
		"its address is that of an endpoint not recorded whole": {func(in *report.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses, in.HNS.Endpoints[0].Flags = nil, 0
			in.HNS.Incomplete = map[hns.EndpointID]string{in.HNS.Endpoints[0].ID: "address"}
		}, verdict.PodUnknown},
		"HNS says something odd about an endpoint": {func(in *report.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses, in.HNS.Endpoints[0].Flags = nil, 0
			in.HNS.Endpoints[0].Untranslated = "an address"
		}, verdict.PodUnknown},
		"a remote endpoint is not recorded whole": {func(in *report.Input, _ *corev1.Pod) {
			in.HNS.Endpoints[0].Addresses, in.HNS.Endpoints[0].Flags = nil, hns.FlagRemote
			in.HNS.Incomplete = map[hns.EndpointID]string{in.HNS.Endpoints[0].ID: "MAC address"}
		}, verdict.PodWithoutNetwork},
		"on another node": {func(_ *report.Input, p *corev1.Pod) { p.Spec.NodeName = "aks-agentpool-000000" }, verdict.PodElsewhere},
		"unscheduled":     {func(_ *report.Input, p *corev1.Pod) { p.Spec.NodeName = "" }, verdict.PodUnscheduled},
		"hostNetwork":     {func(_ *report.Input, p *corev1.Pod) { p.Spec.HostNetwork = true }, verdict.PodHostNetwork},
		"HostProcess":     {func(_ *report.Input, p *corev1.Pod) { p.Spec.SecurityContext = hostProcess }, verdict.PodHostNetwork},
		"succeeded":       {func(_ *report.Input, p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }, verdict.PodEnded},
		"failed":          {func(_ *report.Input, p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, verdict.PodEnded},
		"started, but HNS was recorded before": {func(in *report.Input, p *corev1.Pod) {
			in.HNSRecorded = in.Now.Add(-time.Hour)
			p.Status.StartTime = &metav1.Time{Time: in.HNSRecorded.Add(-29 * time.Second)}
		}, verdict.PodUnknown},
		"started before HNS was recorded": {func(in *report.Input, p *corev1.Pod) {
			in.HNSRecorded = in.Now.Add(-time.Hour)
			p.Status.StartTime = &metav1.Time{Time: in.HNSRecorded.Add(-30 * time.Second)}
		}, verdict.PodWithoutNetwork},
		"pending":         {func(_ *report.Input, p *corev1.Pod) { p.Status.Phase = corev1.PodPending }, verdict.PodStarting},
		"without address": {func(_ *report.Input, p *corev1.Pod) { p.Status.PodIP, p.Status.PodIPs = "", nil }, verdict.PodStarting},
		"just started": {func(in *report.Input, p *corev1.Pod) {
			p.Status.StartTime = &metav1.Time{Time: in.Now.Add(-29 * time.Second)}
		}, verdict.PodStarting},
		"started": {func(in *report.Input, p *corev1.Pod) {
			p.Status.StartTime = &metav1.Time{Time: in.Now.Add(-30 * time.Second)}
		}, verdict.PodWithoutNetwork},
		"being deleted": {func(in *report.Input, p *corev1.Pod) {
			p.DeletionTimestamp = &metav1.Time{Time: in.Now}
		}, verdict.PodDeleting},
		"ending for days": {func(in *report.Input, p *corev1.Pod) {
			p.DeletionTimestamp = &metav1.Time{Time: in.Now.Add(-72 * time.Hour)}
		}, verdict.PodEndingTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in := lost(t)
			in.Filter.Pods = []types.NamespacedName{webName}
			tc.change(&in, podOf(t, in, webName))
			found := judge(t, in)
			g.Expect(found.Pods).To(ConsistOf(HaveField("State", tc.want)))
			ofPods := HaveField("Kind", report.FindingPod)
			if tc.want.LacksNetwork() || tc.want == verdict.PodEndingTooLong {
				g.Expect(found.Findings).To(ContainElement(And(ofPods, HaveField("Reason", string(tc.want)),
					HaveField("Objects", ConsistOf(webName.String())))))
			} else {
				g.Expect(found.Findings).NotTo(ContainElement(ofPods))
			}
			g.Expect(found.Judged()).To(Equal(tc.want != verdict.PodUnknown))
		})
	}
}

func TestPodsWithoutNetworkAreReported(t *testing.T) {
	g := NewWithT(t)
	in := lost(t)
	podOf(t, in, webName).Status.StartTime = &metav1.Time{Time: time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)}
	found := judge(t, in)
	g.Expect(found.Pods).To(ConsistOf(And(
		HaveField("Name", webName.String()), HaveField("Node", "akswin000001"), HaveField("NodeOS", "windows"),
	)))
	g.Expect(found.Wrong()).To(BeTrue())
	g.Expect(found.Notes).NotTo(ContainElement(ContainSubstring("seems to have a network")))
	var out strings.Builder
	g.Expect(found.Print(&out)).To(Succeed())
	g.Expect(out.String()).To(MatchRegexp(`POD +IP +STATE +STARTED\n` + webName.String() + ` +10\.240\.0\.11 +without-network +2026-03-01 02:00:00Z\n`))
	g.Expect(out.String()).To(ContainSubstring("\n1 pod without network: " + webName.String() + "\n  because "))

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
		lacking := slices.DeleteFunc(judge(t, in).Findings, func(f report.Finding) bool { return f.Kind != report.FindingPod })
		g.Expect(lacking).To(HaveLen(tc.want), name)
	}

	in.Filter = report.Filter{}
	again := podOf(t, in, webName).DeepCopy()
	again.Name, again.UID = "web-again", "again"
	in.Cluster.Pods = append(in.Cluster.Pods, again)
	g.Expect(judge(t, in).Notes).To(ContainElement(HavePrefix("no pod of akswin000001 seems to have a network")))
}

// titles returns the titles of the findings.
func titles(r report.Report) string {
	all := []string{}
	for _, f := range r.Findings {
		all = append(all, f.Title)
	}
	return strings.Join(all, ", ")
}

func TestWhatNeedsAttention(t *testing.T) {
	g := NewWithT(t)
	found := judge(t, input(t, "akswin000000", "aks-1367.json", "aks-1367-l2bridge-remotes.json"))
	g.Expect(titles(found)).To(Equal("1 pod without network, 1 contested remote endpoint"))
	in := input(t, "akswin000001", "derived-v2-duplicate.json", "derived-v2-duplicate.json")
	found = judge(t, in)
	g.Expect(titles(found)).To(Equal("1 stale remote endpoint"))
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

// Invariant 2: a filter records only a part of HNS, so missing endpoints may exist. Then a ready pod is not a victim.
func TestHNSRecordedInPart(t *testing.T) {
	ready := func(status corev1.ConditionStatus) []corev1.PodCondition {
		return []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}
	}
	remotes := func(in *report.Input, listed, recorded int) {
		slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "many", Labels: map[string]string{discoveryv1.LabelServiceName: "many"},
		}}
		for i := range listed {
			addr := netip.AddrFrom4([4]byte{10, 9, 9, byte(i)})
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{addr.String()}})
			if i < recorded {
				in.HNS.Endpoints = append(in.HNS.Endpoints, hns.Endpoint{
					ID: hns.EndpointID(addr.String()), Network: in.HNS.Networks[0].ID, Flags: hns.FlagRemote,
					MAC: kubeproxy.RemoteMAC(addr), Addresses: []netip.Addr{addr},
				})
			}
		}
		in.Cluster.Slices = []*discoveryv1.EndpointSlice{slice}
	}
	for name, tc := range map[string]struct {
		change func(*report.Input, *corev1.Pod)
		want   verdict.PodState
	}{
		"most of what slices list is missing": {func(in *report.Input, _ *corev1.Pod) { remotes(in, 5, 2) }, verdict.PodUnknown},
		"half of it is":                       {func(in *report.Input, _ *corev1.Pod) { remotes(in, 4, 2) }, verdict.PodWithoutNetwork},
		"but the pod is not ready": {func(in *report.Input, p *corev1.Pod) {
			remotes(in, 5, 2)
			p.Status.Conditions = ready(corev1.ConditionFalse)
		}, verdict.PodWithoutNetwork},
		"but hnsguard has read HNS itself": {func(in *report.Input, _ *corev1.Pod) {
			remotes(in, 5, 2)
			in.HNS.Whole = true
		}, verdict.PodWithoutNetwork},
		"what is missing is not ready": {func(in *report.Input, _ *corev1.Pod) {
			remotes(in, 5, 2)
			for i := range in.Cluster.Slices[0].Endpoints {
				in.Cluster.Slices[0].Endpoints[i].Conditions.Ready = new(false)
			}
		}, verdict.PodWithoutNetwork},
		"what is missing is on this node": {func(in *report.Input, _ *corev1.Pod) {
			remotes(in, 5, 2)
			for i := range in.Cluster.Slices[0].Endpoints {
				in.Cluster.Slices[0].Endpoints[i].NodeName = &in.Node
			}
		}, verdict.PodWithoutNetwork},
		"what is missing is of no Service": {func(in *report.Input, _ *corev1.Pod) {
			remotes(in, 5, 2)
			in.Cluster.Slices[0].Labels = nil
		}, verdict.PodWithoutNetwork},
		"all has one address": {func(in *report.Input, _ *corev1.Pod) {
			remotes(in, 0, 0)
			in.HNS.Endpoints = in.HNS.Endpoints[:1]
		}, verdict.PodUnknown},
		"there is nothing at all": {func(in *report.Input, _ *corev1.Pod) {
			remotes(in, 5, 0)
			in.HNS.Endpoints = nil
		}, verdict.PodWithoutNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in := lost(t)
			pod := podOf(t, in, webName)
			pod.Status.Conditions = ready(corev1.ConditionTrue)
			tc.change(&in, pod)
			in.Filter.Pods = []types.NamespacedName{webName}
			found := judge(t, in)
			g.Expect(found.Pods).To(ConsistOf(HaveField("State", tc.want)))
			g.Expect(found.Judged()).To(Equal(tc.want != verdict.PodUnknown))
		})
	}
}

// What hnsguard has not read itself may be of one namespace: addresses that its slices do not list may be in use.
func TestTheClusterRecordedInPart(t *testing.T) {
	for name, tc := range map[string]struct {
		namespaces []string
		whole      bool
		later      time.Duration
		want       string
	}{
		"all namespaces":       {[]string{"default", "kube-system"}, false, 0, "orphan: unclaimed"},
		"one":                  {[]string{"kube-system", "kube-system"}, false, 0, "orphan_pending: no-slices-known"},
		"that of kubectl":      {[]string{"default"}, false, 0, "orphan_pending: no-slices-known"},
		"without the API's":    {[]string{"shop", "kube-system"}, false, 0, "orphan_pending: no-slices-known"},
		"one, read by ourself": {[]string{"shop"}, true, 0, "orphan: unclaimed"},
		"a minute before HNS":  {[]string{"default", "kube-system"}, true, time.Minute, "orphan_pending: no-slices-known"},
		"just before HNS":      {[]string{"default", "kube-system"}, true, time.Minute - 1, "orphan: unclaimed"},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(t, "akswin000000", "aks-1367.json", "aks-1367-l2bridge-remotes.json")
			in.Cluster.Pods, in.HNS.LoadBalancersRecorded, in.Cluster.Whole = nil, true, tc.whole
			in.Cluster.Slices, in.HNSRecorded = nil, in.Now.Add(tc.later)
			for i, namespace := range tc.namespaces {
				in.Cluster.Slices = append(in.Cluster.Slices, &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
					Namespace: namespace, Name: fmt.Sprint("slice-", i),
				}})
			}
			NewWithT(t).Expect(verdicts(judge(t, in))).To(HaveKeyWithValue("10.240.0.10 remote", tc.want))
		})
	}
}

// Of two local endpoints with one address, the report says which one no pod uses.
func TestTwoLocalEndpointsWithOneAddress(t *testing.T) {
	for name, tc := range map[string]struct {
		second    func(*hns.Endpoint)
		attention string
		said      string
	}{
		"one is not attached": {
			func(e *hns.Endpoint) { e.Namespace, e.SharedContainers = "", 0 },
			"1 local endpoint left behind, 1 address of several endpoints", "; no pod uses second",
		},
		"both are attached":  {func(*hns.Endpoint) {}, "1 address of several endpoints", "which of them its pod uses is unknown"},
		"on another network": {func(e *hns.Endpoint) { e.Network = "another" }, "", ""},
		"of kube-proxy":      {func(e *hns.Endpoint) { e.Flags = hns.FlagRemote }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in := input(t, "akswin000001", "derived-v2-duplicate.json", "derived-v2-duplicate.json")
			for _, e := range in.HNS.Endpoints {
				if e.Has(netip.MustParseAddr("10.240.0.11")) && !e.Remote() {
					e.ID = "second"
					tc.second(&e)
					in.HNS.Endpoints = append(in.HNS.Endpoints, e)
				}
			}
			found := judge(t, in)
			g.Expect(strings.TrimPrefix(strings.TrimPrefix(titles(found), "1 stale remote endpoint"), ", ")).To(Equal(tc.attention))
			var out strings.Builder
			g.Expect(found.Print(&out)).To(Succeed())
			g.Expect(strings.Join(strings.Fields(out.String()), " ")).To(ContainSubstring(tc.said))
		})
	}
}

// Invariant 14.
func TestWhatAFindingIsAboutCanBeExplained(t *testing.T) {
	in := lost(t)
	for _, f := range judge(t, in).Findings {
		for _, object := range f.Objects {
			g := NewWithT(t)
			target, err := report.ParseTarget(object)
			g.Expect(err).NotTo(HaveOccurred())
			about := in
			about.Filter = target
			explained := judge(t, about).Explain(target, nil)
			g.Expect(explained.Wrong()).To(BeTrue(), object)
			g.Expect(explained.Summary).NotTo(ContainSubstring("Nothing is wrong"), object)
		}
	}
}
