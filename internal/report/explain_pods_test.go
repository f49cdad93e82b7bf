// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

func podIn(state verdict.PodState, change func(*report.Pod)) report.Pod {
	p := report.Pod{
		Name: "shop/web", State: state, Node: "win-1", NodeOS: "windows", Phase: "Running", Addresses: []netip.Addr{ip},
		Created: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC),
	}
	if change != nil {
		change(&p)
	}
	return p
}

// Invariant 8: the advice to delete a pod is only for a pod that lacks its endpoint.
func TestThePodThatIsAskedAbout(t *testing.T) {
	inUse := row(remoteID, "remote", verdict.InUse, verdict.ReasonListedReady)
	orphan := row(remoteID, "remote", verdict.Orphan, verdict.ReasonUnclaimed)
	contested := row(remoteID, "remote", verdict.Contested, verdict.ReasonNoLocalEndpoint)
	on := func(node, os string) func(*report.Pod) { return func(p *report.Pod) { p.Node, p.NodeOS = node, os } }
	for name, tc := range map[string]struct {
		pod    report.Pod
		rows   []report.Endpoint
		want   string
		lethal bool
	}{
		"without network": {podIn(verdict.PodWithoutNetwork, nil), nil, "it has no network. Delete it", true},
		"without network, and a remote one has its address": {
			podIn(verdict.PodWithoutNetwork, nil), []report.Endpoint{contested}, "it has no network. Delete it", true,
		},
		"on a Linux node": {
			podIn(verdict.PodElsewhere, on("lin-1", "linux")),
			[]report.Endpoint{inUse},
			"runs on node lin-1, not on win-1. That is a Linux node, which has no HNS. Here it has a remote endpoint only if", false,
		},
		"on another Windows node": {
			podIn(verdict.PodElsewhere, on("win-2", "windows")),
			[]report.Endpoint{inUse},
			"runs on node win-2, not on win-1. Explain it there. Here it has", false,
		},
		"on another node, which has no endpoint here": {
			podIn(verdict.PodElsewhere, on("lin-1", "")), nil, "only if a Service leads to it.", false,
		},
		"on another node, which has an orphan here": {
			podIn(verdict.PodElsewhere, on("lin-1", "")), []report.Endpoint{orphan}, "No pod, EndpointSlice or load balancer uses the address", false,
		},
		"in the host's network": {podIn(verdict.PodHostNetwork, nil), nil, "the node's own network and has no HNS endpoint; nothing is wrong", false},
		"ended": {
			podIn(verdict.PodEnded, func(p *report.Pod) { p.Phase = "Succeeded" }), nil, "has ended (Succeeded)", false,
		},
		"ended, and its address is in conflict": {
			podIn(verdict.PodEnded, nil), conflictReport().Endpoints, "has ended (Running) and needs no endpoint any more. A running pod on this node has the address", false,
		},
		"pending": {
			podIn(verdict.PodStarting, func(p *report.Pod) { p.Phase, p.Addresses = "Pending", nil }), nil,
			"is Pending since 2026-03-01 03:00:00Z and has no address yet. If that does not change, look at the log of the CNI " +
				"on its node, and at 'kubectl -n shop describe pod web'.", false,
		},
		"pending with an address": {
			podIn(verdict.PodStarting, func(p *report.Pod) { p.Phase = "Pending" }), nil, "and has no endpoint yet", false,
		},
		"just started":     {podIn(verdict.PodStarting, nil), nil, "Ask again in half a minute", false},
		"being deleted":    {podIn(verdict.PodDeleting, nil), nil, "is being deleted", false},
		"unscheduled":      {podIn(verdict.PodUnscheduled, nil), nil, "'kubectl -n shop describe pod web' says why", false},
		"not known":        {podIn(verdict.PodUnknown, nil), nil, "is unknown", false},
		"attached":         {podIn(verdict.PodAttached, nil), []report.Endpoint{row(localID, "local", verdict.Local, verdict.ReasonLocalPod)}, "Nothing is wrong", false},
		"attached, beside": {podIn(verdict.PodAttached, nil), conflictReport().Endpoints, "hnsguard removes it", false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			r := reportOf(tc.rows...)
			r.Pods = []report.Pod{tc.pod}
			e := r.WithFindings().Explain(report.Filter{Pods: []types.NamespacedName{web}}, nil)
			g.Expect(e.Summary).To(ContainSubstring(tc.want))
			g.Expect(strings.Contains(e.Summary, "Delete it")).To(Equal(tc.lethal), e.Summary)
			data, err := json.Marshal(e)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(string(data)).To(ContainSubstring(`"pods":[{"name":"shop/web","state":"` + string(tc.pod.State) + `"`))
			var out strings.Builder
			g.Expect(e.Print(&out)).To(Succeed())
			g.Expect(out.String()).To(MatchRegexp(`\nPod shop/web\n  node            ` + tc.pod.Node + `.*\n  phase           ` + tc.pod.Phase + `\n`))
			for line := range strings.Lines(out.String()) {
				g.Expect(len(line)).To(BeNumerically("<=", 121), line)
			}
		})
	}
}

// A pod without network is also found by its address, with and without endpoints.
func TestTheAddressOfAPodWithoutNetwork(t *testing.T) {
	g := NewWithT(t)
	const lost = "Pod shop/web runs on this node without a local endpoint: it has no network. Delete it"
	r := reportOf()
	r.Pods = []report.Pod{podIn(verdict.PodWithoutNetwork, nil)}
	g.Expect(r.WithFindings().Explain(report.Filter{Addresses: []netip.Addr{ip}}, nil).Summary).To(HavePrefix(lost))
	g.Expect(reportOf().WithFindings().Explain(report.Filter{Addresses: []netip.Addr{ip}}, nil).Summary).To(Equal("HNS on this node has no such endpoint."))

	r.Endpoints = []report.Endpoint{row(remoteID, "remote", verdict.Contested, verdict.ReasonNoLocalEndpoint)}
	g.Expect(r.WithFindings().Explain(report.Filter{Addresses: []netip.Addr{ip}}, nil).Summary).To(HavePrefix(lost))
	g.Expect(r.WithFindings().Explain(report.Filter{Endpoint: remoteID}, nil).Summary).To(HavePrefix(lost))
}

// Invariant 9: an agent that only observes never says that it removes.
func TestTheModeIsRespected(t *testing.T) {
	held := row(remoteID, "remote", verdict.Held, verdict.ReasonStaleRecord)
	orphan := row(remoteID, "remote", verdict.Orphan, verdict.ReasonUnclaimed)
	for name, tc := range map[string]struct {
		row        report.Endpoint
		mode       config.Mode
		modes      map[string]config.Mode
		faults     []string
		summary    string
		next, doIt string
	}{
		"a conflict": {
			conflictReport().Endpoints[0], "observe", nil, nil, "would remove it; it only observes (mode: observe).",
			"hnsguard would remove it; it only observes (mode: observe).", "set mode in its configuration to enforce",
		},
		"a conflict, by its class": {
			conflictReport().Endpoints[0], "enforce",
			map[string]config.Mode{"conflict": "observe"},
			nil, "(conflict.mode: observe)",
			"it only observes (conflict.mode: observe).", "set conflict.mode in its configuration to enforce",
		},
		"a conflict that kube-proxy may remember": {
			conflictReport().Endpoints[0], "observe", nil, []string{"stale-record"}, "would remove it", "Do not delete it by hand", "",
		},
		"a held one": {held, "observe", nil, nil, "hnsguard would keep the address listed", "hnsguard would keep the address listed", "shop/web"},
		"a held one, without flushes": {
			row(remoteID, "remote", verdict.Held, verdict.ReasonMayRemember), "enforce",
			map[string]config.Mode{"flush": "observe"},
			nil, "(flush.mode: observe)", "the hold ends only with a change from elsewhere", "set flush.mode in its configuration to enforce. Lasting cure: upgrade",
		},
		"an orphan": {
			orphan, "enforce", map[string]config.Mode{"orphan": "observe"}, nil, "(orphan.mode: observe)", "(orphan.mode: observe)", "orphan.mode",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			r := reportOf(tc.row)
			r.Mode, r.Modes, r.KubeProxy.Faults = tc.mode, tc.modes, tc.faults
			r.Endpoints[0].Slices = []string{"shop/web-x (lin-1)"}
			e := r.WithFindings().Explain(report.Filter{Addresses: []netip.Addr{ip}}, nil)
			g.Expect(e.Mode).To(Equal(tc.mode))
			g.Expect(e.Summary).To(ContainSubstring(tc.summary))
			g.Expect(e.Endpoints[0].Next).To(ContainSubstring(tc.next))
			g.Expect(e.Endpoints[0].Do).To(ContainSubstring(tc.doIt))
			g.Expect(e.Summary + e.Endpoints[0].Next).NotTo(ContainSubstring("removes it"))
		})
	}
}

func TestWhatToDo(t *testing.T) {
	g := NewWithT(t)
	held := row(remoteID, "remote", verdict.Held, verdict.ReasonStaleRecord)
	held.Slices = []string{"shop/web-x (lin-1)", "shop/here (win-1)", "shop/old (no node)"}
	do := reportOf(held).WithFindings().Explain(report.Filter{Addresses: []netip.Addr{ip}}, nil).Endpoints[0].Do
	g.Expect(do).To(HavePrefix("Find out why EndpointSlices still list it elsewhere: shop/web-x (lin-1), shop/old (no node) " +
		"(a pod stuck in Terminating?). Lasting cure: upgrade kube-proxy"))
	g.Expect(do).To(HaveSuffix(" https://github.com/hnsguard/hnsguard/blob/main/docs/how-it-works.md#the-faults-of-kube-proxy"))
	do = conflictReport().WithFindings().Explain(report.Filter{Addresses: []netip.Addr{ip}}, nil).Endpoints[0].Do
	g.Expect(do).To(HaveSuffix("kubectl hnsguard explain 10.240.0.11 --node win-1"))
}

// Users who run the program in a pod have no folder called docs.
func TestReferencesAreURLs(t *testing.T) {
	g := NewWithT(t)
	r := reportOf(row(localID, "local", verdict.Local, verdict.ReasonLocalLeaked), row(remoteID, "remote", verdict.LeakedLocal, verdict.ReasonListedReady))
	for _, e := range r.WithFindings().Explain(report.Filter{Addresses: []netip.Addr{ip}}, nil).Endpoints {
		g.Expect(e.Do).To(ContainSubstring("https://github.com/hnsguard/hnsguard/blob/main/docs/runbooks/HNSGuardLeakedLocalEndpoints.md"))
	}
}
