// SPDX-License-Identifier: Apache-2.0

package explain_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/explain"
	"github.com/hnsguard/hnsguard/internal/scan"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

func podIn(state scan.PodState, change func(*scan.Pod)) scan.Pod {
	p := scan.Pod{
		Name: "shop/web", State: state, Node: "win-1", NodeOS: "windows", Phase: "Running", Addresses: []netip.Addr{ip},
		Created: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC),
	}
	if change != nil {
		change(&p)
	}
	return p
}

// Invariant 3. Nobody is told to delete a pod that lacks nothing.
func TestThePodThatIsAskedAbout(t *testing.T) {
	inUse := row(remoteID, "remote", verdict.InUse, verdict.ReasonListedReady)
	orphan := row(remoteID, "remote", verdict.Orphan, verdict.ReasonUnclaimed)
	contested := row(remoteID, "remote", verdict.Contested, verdict.ReasonNoLocalEndpoint)
	on := func(node, os string) func(*scan.Pod) { return func(p *scan.Pod) { p.Node, p.NodeOS = node, os } }
	for name, tc := range map[string]struct {
		pod    scan.Pod
		rows   []scan.Row
		want   string
		lethal bool
	}{
		"without network": {podIn(scan.PodWithoutNetwork, nil), nil, "and so no network. Delete it", true},
		"without network, and a remote one has its address": {
			podIn(scan.PodWithoutNetwork, nil), []scan.Row{contested}, "and so no network. Delete it", true,
		},
		"on a Linux node": {
			podIn(scan.PodElsewhere, on("lin-1", "linux")),
			[]scan.Row{inUse},
			"runs on node lin-1, not on win-1. That is a Linux node, which has no HNS. Here its remote endpoint is in use and right.", false,
		},
		"on another Windows node": {
			podIn(scan.PodElsewhere, on("win-2", "windows")),
			[]scan.Row{inUse},
			"runs on node win-2, not on win-1: explain it there. Here its remote endpoint is in use and right.", false,
		},
		"on another node, which has no endpoint here": {
			podIn(scan.PodElsewhere, on("lin-1", "")), nil, "HNS has no endpoint with its address; it needs one only if", false,
		},
		"on another node, which has an orphan here": {
			podIn(scan.PodElsewhere, on("lin-1", "")), []scan.Row{orphan}, "Of its address here: Nobody uses the address", false,
		},
		"in the host's network": {podIn(scan.PodHostNetwork, nil), nil, "the node's own network and has no HNS endpoint; nothing is wrong", false},
		"ended": {
			podIn(scan.PodEnded, func(p *scan.Pod) { p.Phase = "Succeeded" }), nil, "has ended (Succeeded)", false,
		},
		"ended, and its address is in conflict": {
			podIn(scan.PodEnded, nil), conflict().Endpoints, "has ended (Running) and needs no endpoint any more. Of its address here: A stale", false,
		},
		"pending": {
			podIn(scan.PodStarting, func(p *scan.Pod) { p.Phase, p.Addresses = "Pending", nil }), nil,
			"is Pending since 2026-03-01 03:00:00Z and has no address yet. If that does not change, look at the log of the CNI " +
				"on its node, and at 'kubectl -n shop describe pod web'.", false,
		},
		"pending with an address": {
			podIn(scan.PodStarting, func(p *scan.Pod) { p.Phase = "Pending" }), nil, "and has no endpoint yet", false,
		},
		"just started":     {podIn(scan.PodStarting, nil), nil, "Ask again in half a minute", false},
		"being deleted":    {podIn(scan.PodDeleting, nil), nil, "is being deleted", false},
		"unscheduled":      {podIn(scan.PodUnscheduled, nil), nil, "'kubectl -n shop describe pod web' says why", false},
		"not known":        {podIn(scan.PodUnknown, nil), nil, "is not known", false},
		"attached":         {podIn(scan.PodAttached, nil), []scan.Row{row(localID, "local", verdict.Local, verdict.ReasonLocalPod)}, "Nothing is wrong", false},
		"attached, beside": {podIn(scan.PodAttached, nil), conflict().Endpoints, "hnsguard removes it", false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			r := report(tc.rows...)
			r.Pods = []scan.Pod{tc.pod}
			e := explain.Explain(explain.Target{Pod: web}, r, nil)
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

// A pod without network is told of by its address too, with and without endpoints.
func TestTheAddressOfAPodWithoutNetwork(t *testing.T) {
	g := NewWithT(t)
	const lost = "Pod shop/web runs on this node with the address 10.240.0.11 and has no local endpoint, and so no network. Delete it"
	r := report()
	r.PodsWithoutNetwork = []scan.Pod{podIn(scan.PodWithoutNetwork, nil)}
	g.Expect(explain.Explain(explain.Target{Address: ip}, r, nil).Summary).To(HavePrefix(lost))
	other := netip.MustParseAddr("10.240.0.12")
	g.Expect(explain.Explain(explain.Target{Address: other}, r, nil).Summary).To(Equal("HNS of this node has no such endpoint."))

	r.Endpoints = []scan.Row{row(remoteID, "remote", verdict.Contested, verdict.ReasonNoLocalEndpoint)}
	g.Expect(explain.Explain(explain.Target{Address: ip}, r, nil).Summary).To(HavePrefix(lost))
	g.Expect(explain.Explain(explain.Target{ID: remoteID}, r, nil).Summary).To(HavePrefix(lost))
}

// Invariant 4: what only observes never says that it removes.
func TestTheModeIsRespected(t *testing.T) {
	held := row(remoteID, "remote", verdict.Held, verdict.ReasonStaleRecord)
	orphan := row(remoteID, "remote", verdict.Orphan, verdict.ReasonUnclaimed)
	for name, tc := range map[string]struct {
		row        scan.Row
		mode       string
		modes      map[string]string
		faults     []string
		summary    string
		next, doIt string
	}{
		"a conflict": {
			conflict().Endpoints[0], "observe", nil, nil, "would remove it; it only observes (mode: observe).",
			"hnsguard would remove it; it only observes (mode: observe).", "set mode in its configuration to enforce",
		},
		"a conflict, by its class": {
			conflict().Endpoints[0], "enforce",
			map[string]string{"conflict": "observe"},
			nil, "(conflict.mode: observe)",
			"it only observes (conflict.mode: observe).", "set conflict.mode in its configuration to enforce",
		},
		"a conflict that kube-proxy may remember": {
			conflict().Endpoints[0], "observe", nil, []string{"stale-record"}, "would remove it", "Do not delete it by hand", "",
		},
		"a held one": {held, "observe", nil, nil, "would hold it for now", "hnsguard would hold it until", "shop/web"},
		"an orphan": {
			orphan, "enforce", map[string]string{"orphan": "observe"}, nil, "Nobody uses", "(orphan.mode: observe)", "orphan.mode",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			r := report(tc.row)
			r.Mode, r.Modes, r.KubeProxyFaults = tc.mode, tc.modes, tc.faults
			r.Endpoints[0].Slices = []string{"shop/web-x (lin-1)"}
			e := explain.Explain(explain.Target{Address: ip}, r, nil)
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
	do := explain.Explain(explain.Target{Address: ip}, report(held), nil).Endpoints[0].Do
	g.Expect(do).To(HavePrefix("Find out why EndpointSlice shop/web-x still lists it for node lin-1, and EndpointSlice shop/old " +
		"still lists it, for no node (a pod stuck in Terminating?). Lasting cure: upgrade kube-proxy"))
	g.Expect(do).To(HaveSuffix(" https://github.com/hnsguard/hnsguard/blob/main/docs/kube-proxy-matrix.md"))
	do = explain.Explain(explain.Target{Address: ip}, conflict(), nil).Endpoints[0].Do
	g.Expect(do).To(ContainSubstring("kubectl -n hnsguard-system exec POD -- hnsguard.exe explain 10.240.0.11"))
}

// Whoever runs the program in a pod has no folder called docs.
func TestReferencesAreURLs(t *testing.T) {
	g := NewWithT(t)
	r := report(row(localID, "local", verdict.Local, verdict.ReasonLocalLeaked), row(remoteID, "remote", verdict.LeakedLocal, verdict.ReasonListedReady))
	for _, e := range explain.Explain(explain.Target{Address: ip}, r, nil).Endpoints {
		g.Expect(e.Do).To(ContainSubstring("https://github.com/hnsguard/hnsguard/blob/main/docs/runbooks/HNSGuardLeakedLocalEndpoints.md"))
	}
}
