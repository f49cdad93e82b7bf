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

func row(id hns.EndpointID, kind string, v verdict.Kind, reason verdict.Reason) report.Row {
	return report.Row{
		ID: id, Addresses: []netip.Addr{ip}, Kind: kind, Owner: "kube-proxy", Verdict: string(v), Reason: string(reason),
		Pods: []string{"shop/web"},
	}
}

func reportOf(rows ...report.Row) report.Report {
	return report.Report{Node: "win-1", KubeProxy: "v1.37.2", KubeProxyKnown: true, Mode: "enforce", Endpoints: rows}
}

func conflictReport() report.Report {
	return reportOf(
		row(remoteID, "remote", verdict.Conflict, verdict.ReasonLivePod), row(localID, "local", verdict.Local, verdict.ReasonLocalPod),
	)
}

// Invariant 7.
func TestEveryReasonIsExplained(t *testing.T) {
	source, err := os.ReadFile("../verdict/verdict.go")
	g := NewWithT(t)
	g.Expect(err).NotTo(HaveOccurred())
	reasons := regexp.MustCompile(`Reason = "(.*)"`).FindAllSubmatch(source, -1)
	g.Expect(len(reasons)).To(BeNumerically(">", 20))
	said := map[string]string{}
	for _, r := range reasons {
		e := report.Explain(report.Target{Address: ip}, reportOf(row(remoteID, "remote", verdict.InUse, verdict.Reason(r[1]))), nil)
		g.Expect(e.Endpoints).To(HaveLen(1))
		g.Expect(e.Endpoints[0].Because).NotTo(ContainSubstring("cannot be judged"), "%s", r[1])
		g.Expect(e.Endpoints[0].Next).NotTo(BeEmpty(), "%s", r[1])
		g.Expect(said).NotTo(HaveKey(e.Endpoints[0].Because), "%s says what another reason says", r[1])
		said[e.Endpoints[0].Because] = string(r[1])
	}
}

func TestATarget(t *testing.T) {
	for text, tc := range map[string]struct {
		target report.Target
		err    string
	}{
		"10.240.0.11":                          {target: report.Target{Address: ip}},
		"fd00::11":                             {target: report.Target{Address: netip.MustParseAddr("fd00::11")}},
		"shop/web":                             {target: report.Target{Pod: web}},
		"2462B2D1-C402-4024-9C86-5A6903AF7759": {target: report.Target{ID: remoteID}},
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

// Endpoints that share the address belong to the explanation, and others do not.
func TestWhichEndpointsAreExplained(t *testing.T) {
	r := conflictReport()
	other := row("other", "remote", verdict.InUse, verdict.ReasonListed)
	other.Addresses = []netip.Addr{netip.MustParseAddr("10.240.0.12")}
	r.Endpoints = append(r.Endpoints, other)
	for name, tc := range map[string]struct {
		target report.Target
		ids    []hns.EndpointID
	}{
		"of an address":        {report.Target{Address: ip}, []hns.EndpointID{remoteID, localID}},
		"of an endpoint":       {report.Target{ID: localID}, []hns.EndpointID{remoteID, localID}},
		"of an unknown one":    {report.Target{ID: "gone"}, nil},
		"of another address":   {report.Target{Address: netip.MustParseAddr("10.240.0.13")}, nil},
		"of the other address": {report.Target{Address: other.Addresses[0]}, []hns.EndpointID{"other"}},
	} {
		t.Run(name, func(t *testing.T) {
			var ids []hns.EndpointID
			for _, e := range report.Explain(tc.target, r, nil).Endpoints {
				ids = append(ids, e.ID)
			}
			NewWithT(t).Expect(ids).To(Equal(tc.ids))
		})
	}
}

func TestTheSummary(t *testing.T) {
	local := row(localID, "local", verdict.Local, verdict.ReasonLocalPod)
	remote := func(kind verdict.Kind, reason verdict.Reason) report.Row {
		return row(remoteID, "remote", kind, reason)
	}
	for name, tc := range map[string]struct {
		target report.Target
		rows   []report.Row
		want   string
	}{
		"a claim without local endpoint": {report.Target{Address: ip}, []report.Row{remote(verdict.Contested, verdict.ReasonNoLocalEndpoint)}, "it has no network, or is only starting"},
		"an address that is not there":   {report.Target{Address: ip}, nil, "HNS on this node has no such endpoint"},
		"a conflict":                     {report.Target{Pod: web}, conflictReport().Endpoints, "hnsguard removes it"},
		"a held one":                     {report.Target{Pod: web}, []report.Row{remote(verdict.Held, verdict.ReasonStaleRecord), local}, "holds it, because"},
		"a leaked local one":             {report.Target{Address: ip}, []report.Row{remote(verdict.LeakedLocal, verdict.ReasonListedReady)}, "The remote one is valid"},
		"an orphan":                      {report.Target{Address: ip}, []report.Row{remote(verdict.Orphan, verdict.ReasonUnclaimed)}, "The address is not used"},
		"a contested one":                {report.Target{Address: ip}, []report.Row{remote(verdict.Contested, verdict.ReasonPodDeleting)}, "is ambiguous"},
		"a local one without pod":        {report.Target{Address: ip}, []report.Row{row(localID, "local", verdict.Local, verdict.ReasonLocalUnclaimed)}, "no pod on this node has it"},
		"a leaked one alone":             {report.Target{Address: ip}, []report.Row{row(localID, "local", verdict.Local, verdict.ReasonLocalLeaked)}, "cannot reach that pod"},
		"one that cannot be judged":      {report.Target{Address: ip}, []report.Row{remote(report.KindUnknown, "not recorded: Flags")}, "is unknown"},
		"a pod with which all is well":   {report.Target{Pod: web}, []report.Row{local}, "Nothing is wrong"},
		"a remote endpoint that is used": {report.Target{Address: ip}, []report.Row{remote(verdict.InUse, verdict.ReasonListedReady)}, "Nothing is wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(report.Explain(tc.target, reportOf(tc.rows...), nil).Summary).To(ContainSubstring(tc.want))
		})
	}
}

// A scan cannot see what kube-proxy remembers; whoever deletes by hand harms the pod.
func TestAKubeProxyWithTheStaleRecordIsWaitedFor(t *testing.T) {
	g := NewWithT(t)
	r := conflictReport()
	g.Expect(report.Explain(report.Target{Address: ip}, r, nil).Endpoints[0].Next).To(ContainSubstring("within seconds"))
	r.KubeProxyFaults = []string{"stale-record"}
	e := report.Explain(report.Target{Address: ip}, r, nil)
	g.Expect(e.Endpoints[0].Next).To(ContainSubstring("7 to 12 minutes"))
	g.Expect(e.Endpoints[1].Next).To(ContainSubstring("never removed"), "the pod's own")
}

func TestTheText(t *testing.T) {
	g := NewWithT(t)
	r := conflictReport()
	r.Endpoints[0].Slices, r.Endpoints[0].Locals = []string{"shop/web-x (win-1)"}, []hns.EndpointID{localID}
	r.Notes = []string{"load balancers were not recorded"}
	var out strings.Builder
	g.Expect(report.Explain(report.Target{Pod: web}, r, nil).Print(&out)).To(Succeed())
	g.Expect(out.String()).To(HavePrefix(
		"Pod shop/web, seen from node win-1\nkube-proxy v1.37.2 without known faults, mode: enforce\n\nA stale remote"))
	g.Expect(out.String()).To(ContainSubstring("\nRemote endpoint " + string(remoteID) + "\n  addresses       10.240.0.11\n"))
	g.Expect(out.String()).To(ContainSubstring("  same address    " + string(localID) + "\n"))
	g.Expect(out.String()).To(ContainSubstring("  verdict         conflict (live-pod-with-local-endpoint)\n"))
	g.Expect(out.String()).NotTo(ContainSubstring("load balancers  "), "what is empty is left out")
	g.Expect(out.String()).To(HaveSuffix("\nNote: load balancers were not recorded.\n"))
	for line := range strings.Lines(out.String()) {
		g.Expect(len(line)).To(BeNumerically("<=", 121), line)
	}
}
