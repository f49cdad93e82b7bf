// SPDX-License-Identifier: Apache-2.0

package pass_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/sets"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// attentive notes what it is told to attend to.
type attentive struct{ attended sets.Set[hns.EndpointID] }

func (*attentive) Observe(context.Context) (verdict.Snapshot, error) {
	return verdict.Snapshot{}, nil
}

func (a *attentive) Attend(ids sets.Set[hns.EndpointID]) { a.attended = ids }

// What may be acted upon is not believed for long; what is simply in use is.
func TestTheInventoryAttendsToWhatMayBeActedUpon(t *testing.T) {
	g := NewWithT(t)
	inv := &attentive{}
	collector := pass.NewCollector(pass.Options{
		Inventory: inv, Clock: testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)),
	})
	var verdicts []verdict.Verdict
	for _, kind := range verdict.Kinds() {
		verdicts = append(verdicts, verdict.Verdict{Kind: kind, Endpoint: hns.Endpoint{ID: hns.EndpointID(kind)}})
	}
	collector.Remember(verdicts)
	g.Expect(sets.List(inv.attended)).To(ConsistOf(BeEquivalentTo(verdict.Conflict), BeEquivalentTo(verdict.EarlyConflict),
		BeEquivalentTo(verdict.Held), BeEquivalentTo(verdict.Contested), BeEquivalentTo(verdict.LeakedLocal),
		BeEquivalentTo(verdict.Orphan), BeEquivalentTo(verdict.OrphanPending)))
	collector.Remember(nil)
	g.Expect(inv.attended).To(BeEmpty())
}
