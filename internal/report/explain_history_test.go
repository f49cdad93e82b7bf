// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

func TestThePastOfATarget(t *testing.T) {
	other := netip.MustParseAddr("10.240.0.12")
	past := []history.Entry{
		{Act: history.Removal, Address: ip, Endpoint: "gone"},
		{Act: history.Victim, Address: other, Pods: []string{"shop/web"}},
		{Act: history.Decision, Endpoint: localID},
		{Act: history.Removal, Address: other, Endpoint: "other"},
		{Act: history.Pass, Result: history.Unknown},
	}
	for name, tc := range map[string]struct {
		target report.Filter
		found  report.Report
		want   []history.Act
	}{
		"an address, and its endpoints":     {report.Filter{Addresses: []netip.Addr{ip}}, conflictReport(), []history.Act{history.Removal, history.Decision}},
		"a pod, and its address":            {report.Filter{Pods: []types.NamespacedName{web}}, conflictReport(), []history.Act{history.Removal, history.Victim, history.Decision}},
		"an endpoint, and its address":      {report.Filter{Endpoint: localID}, conflictReport(), []history.Act{history.Removal, history.Decision}},
		"an endpoint that is gone":          {report.Filter{Endpoint: "OTHER"}, reportOf(), []history.Act{history.Removal}},
		"an address without any endpoint":   {report.Filter{Addresses: []netip.Addr{other}}, reportOf(), []history.Act{history.Victim, history.Removal}},
		"an address that never was":         {report.Filter{Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.13")}}, reportOf(), nil},
		"what is about nothing is not told": {report.Filter{Endpoint: "none"}, reportOf(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []history.Act
			for _, e := range tc.found.WithFindings().Explain(tc.target, past).History {
				got = append(got, e.Act)
			}
			NewWithT(t).Expect(got).To(Equal(tc.want))
		})
	}
}

func TestThePastAsText(t *testing.T) {
	g := NewWithT(t)
	at := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	var out strings.Builder
	g.Expect(conflictReport().WithFindings().Explain(report.Filter{Addresses: []netip.Addr{ip}}, []history.Entry{
		{
			First: at, Last: at, Count: 1, Act: history.Removal, Result: "failed", Address: ip, Endpoint: remoteID,
			Verdict: verdict.Conflict, Reason: verdict.ReasonLivePod, Pods: []string{"shop/web"}, AfterSeconds: 1.5,
			Detail: "access denied",
		},
		{First: at.Add(-time.Hour), Last: at, Count: 7, Act: history.Flush, Address: ip, Subject: "IPv4"},
	}).Print(&out)).To(Succeed())
	text := strings.Join(strings.Fields(out.String()), " ")
	g.Expect(text).To(ContainSubstring("What the agent has decided and done, the last first 2026-11-20 03:00:00Z removal failed: " +
		"conflict (live-pod-with-local-endpoint), endpoint " + string(remoteID) + ", pods shop/web, after 1.5 s; access denied " +
		"2026-11-20 03:00:00Z flush, of IPv4, 7 times since 2026-11-20 02:00:00Z"))
	for line := range strings.Lines(out.String()) {
		g.Expect(len(line)).To(BeNumerically("<=", 121), line)
	}
}
