// SPDX-License-Identifier: Apache-2.0

package pass_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// parts are an inventory that can fail, and the other inputs of a collector.
type parts struct{ err error }

func (p *parts) Observe(context.Context) (verdict.Snapshot, error) { return verdict.Snapshot{}, p.err }

func (*parts) Last() ([]hns.LoadBalancer, time.Time, bool) { return nil, time.Time{}, false }

func (*parts) Record() verdict.Record { return verdict.Record{} }

// Invariant 2: after a failed observation, the time for which an endpoint has been unclaimed starts again at zero.
func TestAFailedObservationForgets(t *testing.T) {
	g := NewWithT(t)
	p, clk := &parts{}, testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
	collector := pass.NewCollector(pass.Options{
		Inventory: p, Index: cluster.NewIndex("win-1"), Record: p, LoadBalancers: p, Clock: clk,
		KubeProxy: func() kubeproxy.Profile { return kubeproxy.Profile{} },
	})
	orphan := []verdict.Verdict{{Kind: verdict.OrphanPending, Endpoint: hns.Endpoint{ID: "e"}}}
	began := clk.Now()
	collector.Remember(orphan)
	clk.SetTime(began.Add(time.Minute))
	collector.Remember(orphan)
	evidence, err := collector.Collect(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(evidence.UnclaimedSince).To(HaveKeyWithValue(hns.EndpointID("e"), began))

	p.err = hns.ErrUnavailable
	_, err = collector.Collect(t.Context())
	g.Expect(err).To(MatchError(hns.ErrUnavailable))
	p.err = nil
	evidence, err = collector.Collect(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(evidence.UnclaimedSince).To(BeEmpty())
}

// A pod that waits for its address is urgent once it waits longer than usual, and no longer once it waits for something
// else.
func TestWhenAWaitingPodIsUrgent(t *testing.T) {
	g := NewWithT(t)
	p, clk := &parts{}, testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
	index := cluster.NewIndex("win-1")
	collector := pass.NewCollector(pass.Options{
		Inventory: p, Index: index, Record: p, LoadBalancers: p, Clock: clk, FreshlyWaiting: time.Minute,
		KubeProxy: func() kubeproxy.Profile { return kubeproxy.Profile{} },
	})
	index.SetPod(&corev1.Pod{Spec: corev1.PodSpec{NodeName: "win-1"}})
	began := clk.Now()
	for waited, urgent := range map[time.Duration]bool{
		0: false, 3*time.Second - 1: false, 3 * time.Second: true, time.Minute - 1: true, time.Minute: false,
	} {
		clk.SetTime(began)
		_, err := collector.Collect(t.Context())
		g.Expect(err).NotTo(HaveOccurred())
		clk.SetTime(began.Add(waited))
		evidence, err := collector.Collect(t.Context())
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(evidence.Urgent).To(Equal(urgent), waited.String())
		g.Expect(collector.FreshlyWaiting()).To(Equal(waited < time.Minute), waited.String())
	}
}
