// SPDX-License-Identifier: Apache-2.0

package fleet_test

import (
	"encoding/json"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/fleet"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// A row can be built from what an agent of this version serves.
func TestARowOfWhatAnAgentServes(t *testing.T) {
	g := NewWithT(t)
	clk := testingclock.NewFakeClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
	board := report.NewBoard(report.BoardOptions{
		Node: "win-1", Config: config.Default(), Clock: clk, History: history.NewRing(history.Options{Clock: clk}),
		KubeProxy: func() kubeproxy.Profile { return kubeproxy.ProfileOf("v1.32.3") },
		HNS:       func() report.HNS { return report.HNS{} },
	})
	row := func() fleet.Row {
		t.Helper()
		served, err := json.Marshal(board.Report())
		g.Expect(err).NotTo(HaveOccurred())
		r, err := fleet.RowOf("win-1", served)
		g.Expect(err).NotTo(HaveOccurred())
		return r
	}
	g.Expect(row()).To(And(HaveField("Report.State", report.StateStarting), HaveField("Report.Pass", BeNil())))

	board.Complete(pass.Pass{Verdicts: []verdict.Verdict{
		{Endpoint: hns.Endpoint{ID: "a"}, Kind: verdict.Held, Reason: verdict.ReasonStaleRecord},
		{Endpoint: hns.Endpoint{ID: "b"}, Kind: verdict.Local, Reason: verdict.ReasonLocalPod},
	}}, clk.Now())
	clk.Step(3 * time.Second)
	served := row()
	g.Expect(served.Report.Endpoints).To(BeEmpty())
	served.Report.Answers, served.Report.History = board.Report().Answers, board.Report().History
	served.Report.Endpoints = board.Report().Endpoints
	g.Expect(json.Marshal(served.Report)).To(MatchJSON(must(json.Marshal(board.Report()))))
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}
