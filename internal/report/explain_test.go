// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

const (
	remoteID hns.EndpointID = "2462b2d1-c402-4024-9c86-5a6903af7759"
	localID  hns.EndpointID = "0f1e2d3c-4b5a-4697-8887-969504132231"
)

var (
	ip  = netip.MustParseAddr("10.240.0.11")
	web = types.NamespacedName{Namespace: "shop", Name: "web"}
)

func row(id hns.EndpointID, kind string, v verdict.Kind, reason verdict.Reason) report.Endpoint {
	return report.Endpoint{
		ID: id, Addresses: []netip.Addr{ip}, Kind: kind, Owner: "kube-proxy", Verdict: v, Reason: reason,
		Pods: []string{"shop/web"},
	}
}

func reportOf(rows ...report.Endpoint) report.Report {
	return report.Report{Node: "win-1", KubeProxy: report.KubeProxy{Version: "v1.37.2", Known: true}, Mode: "enforce", Endpoints: rows}
}

func conflictReport() report.Report {
	return reportOf(
		row(remoteID, "remote", verdict.Conflict, verdict.ReasonLivePod), row(localID, "local", verdict.Local, verdict.ReasonLocalPod),
	)
}

// Invariant 7.
func TestEveryReasonIsExplained(t *testing.T) {
	g := NewWithT(t)
	said := map[string]verdict.Reason{}
	for _, r := range everyReason(g) {
		e := reportOf(row(remoteID, "remote", verdict.InUse, r)).WithFindings().Explain(report.Filter{Addresses: []netip.Addr{ip}}, nil)
		g.Expect(e.Endpoints).To(HaveLen(1))
		g.Expect(e.Endpoints[0].Because).NotTo(ContainSubstring("cannot be judged"), "%s", r)
		g.Expect(e.Endpoints[0].Next).NotTo(BeEmpty(), "%s", r)
		g.Expect(said).NotTo(HaveKey(e.Endpoints[0].Because), "%s says what another reason says", r)
		said[e.Endpoints[0].Because] = r
	}
}

// everyReason returns the reasons that package verdict declares.
func everyReason(g *WithT) (reasons []verdict.Reason) {
	source, err := os.ReadFile("../verdict/verdict.go")
	g.Expect(err).NotTo(HaveOccurred())
	for _, r := range regexp.MustCompile(`Reason = "(.*)"`).FindAllSubmatch(source, -1) {
		reasons = append(reasons, verdict.Reason(r[1]))
	}
	g.Expect(len(reasons)).To(BeNumerically(">", 20))
	return reasons
}

func TestATarget(t *testing.T) {
	for text, tc := range map[string]struct {
		target report.Filter
		err    string
	}{
		"10.240.0.11":                          {target: report.Filter{Addresses: []netip.Addr{ip}}},
		"fd00::11":                             {target: report.Filter{Addresses: []netip.Addr{netip.MustParseAddr("fd00::11")}}},
		"shop/web":                             {target: report.Filter{Pods: []types.NamespacedName{web}, OrServices: true}},
		"2462B2D1-C402-4024-9C86-5A6903AF7759": {target: report.Filter{Endpoint: remoteID}},
		"2462b2d1":                             {target: report.Filter{Endpoint: "2462b2d1"}},
		"2462b2d":                              {err: "the ID of an endpoint"},
		"shop/":                                {err: "NAMESPACE/NAME"},
		"a/b/c":                                {err: "NAMESPACE/NAME"},
		"web":                                  {err: "must be an IP address, the ID of an endpoint, or a pod"},
		"10.240.0":                             {err: "must be an IP address"},
		"":                                     {err: "must be an IP address"},
	} {
		t.Run(text, func(t *testing.T) {
			g := NewWithT(t)
			target, err := report.ParseTarget(text)
			if tc.err != "" {
				g.Expect(err).To(MatchError(ContainSubstring(tc.err)))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(target).To(Equal(tc.target))
		})
	}
}

func TestTheSummary(t *testing.T) {
	local := row(localID, "local", verdict.Local, verdict.ReasonLocalPod)
	remote := func(kind verdict.Kind, reason verdict.Reason) report.Endpoint {
		return row(remoteID, "remote", kind, reason)
	}
	for name, tc := range map[string]struct {
		target report.Filter
		rows   []report.Endpoint
		want   string
	}{
		"a claim without local endpoint": {report.Filter{Addresses: []netip.Addr{ip}}, []report.Endpoint{remote(verdict.Contested, verdict.ReasonNoLocalEndpoint)}, "it has no network, or is only starting"},
		"an address that is not there":   {report.Filter{Addresses: []netip.Addr{ip}}, nil, "HNS on this node has no such endpoint"},
		"a conflict":                     {report.Filter{Pods: []types.NamespacedName{web}}, conflictReport().Endpoints, "hnsguard removes it"},
		"a held one":                     {report.Filter{Pods: []types.NamespacedName{web}}, []report.Endpoint{remote(verdict.Held, verdict.ReasonStaleRecord), local}, "hnsguard keeps the address listed"},
		"a leaked local one":             {report.Filter{Addresses: []netip.Addr{ip}}, []report.Endpoint{remote(verdict.LeakedLocal, verdict.ReasonListedReady)}, "the remote endpoint is the valid one"},
		"an orphan":                      {report.Filter{Addresses: []netip.Addr{ip}}, []report.Endpoint{remote(verdict.Orphan, verdict.ReasonUnclaimed)}, "No pod, EndpointSlice or load balancer uses the address"},
		"a contested one":                {report.Filter{Addresses: []netip.Addr{ip}}, []report.Endpoint{remote(verdict.Contested, verdict.ReasonPodDeleting)}, "Which endpoint is valid is unknown"},
		"a local one without pod":        {report.Filter{Addresses: []netip.Addr{ip}}, []report.Endpoint{row(localID, "local", verdict.Local, verdict.ReasonLocalUnclaimed)}, "no pod on this node has it"},
		"a leaked one alone":             {report.Filter{Addresses: []netip.Addr{ip}}, []report.Endpoint{row(localID, "local", verdict.Local, verdict.ReasonLocalLeaked)}, "cannot reach that pod"},
		"one that cannot be judged":      {report.Filter{Addresses: []netip.Addr{ip}}, []report.Endpoint{remote(report.KindUnknown, "not recorded: Flags")}, "It cannot be judged: not recorded: Flags."},
		"a pod with which all is well":   {report.Filter{Pods: []types.NamespacedName{web}}, []report.Endpoint{local}, "Nothing is wrong"},
		"a remote endpoint that is used": {report.Filter{Addresses: []netip.Addr{ip}}, []report.Endpoint{remote(verdict.InUse, verdict.ReasonListedReady)}, "Nothing is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(reportOf(tc.rows...).WithFindings().Explain(tc.target, nil).Summary).To(ContainSubstring(tc.want))
		})
	}
}

// A scan cannot see kube-proxy's record; a user who deletes by hand harms the pod.
func TestAKubeProxyWithTheStaleRecordIsWaitedFor(t *testing.T) {
	g := NewWithT(t)
	r := conflictReport()
	g.Expect(r.WithFindings().Explain(report.Filter{Addresses: []netip.Addr{ip}}, nil).Endpoints[0].Next).To(ContainSubstring("within seconds"))
	r.KubeProxy.Faults = []string{"stale-record"}
	e := r.WithFindings().Explain(report.Filter{Addresses: []netip.Addr{ip}}, nil)
	g.Expect(e.Endpoints[0].Next).To(ContainSubstring("does not remember the address"))
	g.Expect(e.Endpoints[1].Next).To(ContainSubstring("never removed"), "the pod's own")
}

func TestTheText(t *testing.T) {
	g := NewWithT(t)
	r := conflictReport()
	r.KubeProxy.Faults = []string{"given-up-leak"}
	r.Endpoints[0].Slices, r.Endpoints[0].Locals = []string{"shop/web-x (win-1)"}, []hns.EndpointID{localID}
	r.Notes = []string{"load balancers were not recorded"}
	var out strings.Builder
	g.Expect(r.WithFindings().Explain(report.Filter{Pods: []types.NamespacedName{web}}, nil).Print(&out)).To(Succeed())
	g.Expect(out.String()).To(HavePrefix(
		"Pod shop/web, seen from node win-1\nkube-proxy v1.37.2 with given-up-leak, mode: enforce\n\nA running pod on this node has the address"))
	g.Expect(out.String()).To(ContainSubstring("\nRemote endpoint " + string(remoteID) + "\n  addresses       10.240.0.11\n"))
	g.Expect(out.String()).To(ContainSubstring("  same address    " + string(localID) + "\n"))
	g.Expect(out.String()).To(ContainSubstring("  verdict         conflict (live-pod-with-local-endpoint)\n"))
	g.Expect(out.String()).NotTo(ContainSubstring("load balancers  "), "what is empty is left out")
	g.Expect(out.String()).To(HaveSuffix("\nNote: load balancers were not recorded.\n"))
	for line := range strings.Lines(out.String()) {
		g.Expect(len(line)).To(BeNumerically("<=", 121), line)
	}
}
