// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"cmp"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// ledger has the last verdict on every endpoint (invariant 4). The zero ledger is empty.
type ledger map[hns.EndpointID]entry

// entry is a verdict without its evidence.
type entry struct {
	kind   verdict.Kind
	reason verdict.Reason
	// since is when this became the verdict.
	since time.Time
	// stale is when the endpoint was first found to be stale; it is zero for all others.
	stale time.Time
	// leakReported is set when an Event has named it as a leaked local endpoint.
	leakReported bool
}

// leakedAfter is how long a local endpoint must look leaked before an Event reports it. The endpoint of a pod that has
// reused another pod's address looks the same until the pod has reported the address.
const leakedAfter = 5 * time.Minute

// change is a new verdict.
type change struct {
	verdict.Verdict
	// before is the previous verdict; it is zero for a new endpoint.
	before entry
}

// notable reports whether operators need to know of the change: most verdicts are routine.
func (c change) notable() bool {
	return needsAttention(c.Kind, c.Reason) || needsAttention(c.before.kind, c.before.reason)
}

func needsAttention(kind verdict.Kind, reason verdict.Reason) bool {
	return kind.Stale() || kind == verdict.Contested || kind == verdict.LeakedLocal || reason == verdict.ReasonLocalLeaked
}

// enter replaces the ledger with the verdicts of a pass, and returns the changed ones. The reason for holding a
// conflict may change several times before it ends; this is not a change.
func (l *ledger) enter(verdicts []verdict.Verdict, now time.Time) []change {
	var changes []change
	for _, v := range verdicts {
		before, known := (*l)[v.Endpoint.ID]
		if !known || before.kind != v.Kind || before.reason != v.Reason && v.Kind != verdict.Held {
			changes = append(changes, change{v, before})
		}
		e := entry{kind: v.Kind, reason: v.Reason, since: now, leakReported: before.leakReported}
		if known && before.kind == v.Kind && before.reason == v.Reason {
			e.since = before.since
		}
		if v.Kind.Stale() {
			e.stale = cmp.Or(before.stale, now)
		}
		(*l)[v.Endpoint.ID] = e
	}
	l.keepOnly(verdicts)
	return changes
}

// keepOnly forgets the endpoints that no longer have a verdict.
func (l *ledger) keepOnly(verdicts []verdict.Verdict) {
	if len(*l) == len(verdicts) {
		return
	}
	present := make(sets.Set[hns.EndpointID], len(verdicts))
	for i := range verdicts {
		present.Insert(verdicts[i].Endpoint.ID)
	}
	maps.DeleteFunc(*l, func(id hns.EndpointID, _ entry) bool { return !present.Has(id) })
}

// newLeaks returns the local endpoints that have been leaked for a while, each only once.
func (l *ledger) newLeaks(verdicts []verdict.Verdict, now time.Time) []verdict.Verdict {
	var leaks []verdict.Verdict
	for _, v := range verdicts {
		e := (*l)[v.Endpoint.ID]
		leaked := v.Reason == verdict.ReasonLocalLeaked || v.Reason == verdict.ReasonLocalLeftBehind
		if leaked && !e.leakReported && now.Sub(e.since) >= leakedAfter {
			e.leakReported = true
			(*l)[v.Endpoint.ID] = e
			leaks = append(leaks, v)
		}
	}
	return leaks
}

// staleSince returns when each stale endpoint was first found to be stale.
func (l *ledger) staleSince() map[hns.EndpointID]time.Time {
	since := map[hns.EndpointID]time.Time{}
	for id, e := range *l {
		if !e.stale.IsZero() {
			since[id] = e.stale
		}
	}
	return since
}
