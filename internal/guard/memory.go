// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// memory is what one pass remembers for the next (invariant 7).
type memory struct {
	// unclaimed is since when an endpoint has been unclaimed without a break.
	unclaimed map[hns.EndpointID]time.Time
	// judged is the last verdict of every endpoint.
	judged map[hns.EndpointID]judgement
	// waiting is since when a pod has been seen to wait for its address.
	waiting map[types.UID]time.Time
	// doubtful are the endpoints whose delete was abandoned.
	doubtful map[hns.EndpointID]verdict.Verdict
}

// judgement is a verdict without its evidence.
type judgement struct {
	kind   verdict.Kind
	reason verdict.Reason
	// detected is when the endpoint was first found to be stale; it is zero for all others.
	detected time.Time
}

func newMemory() memory {
	return memory{
		unclaimed: map[hns.EndpointID]time.Time{}, judged: map[hns.EndpointID]judgement{},
		waiting: map[types.UID]time.Time{}, doubtful: map[hns.EndpointID]verdict.Verdict{},
	}
}

// take remembers the verdicts of a pass and returns those that are not what they were in the pass before.
func (m *memory) take(verdicts []verdict.Verdict, now time.Time) []verdict.Verdict {
	unclaimed, judged := map[hns.EndpointID]time.Time{}, make(map[hns.EndpointID]judgement, len(verdicts))
	var changes []verdict.Verdict
	for _, v := range verdicts {
		id := v.Endpoint.ID
		before, known := m.judged[id]
		if !known || before.kind != v.Kind || before.reason != v.Reason {
			changes = append(changes, v)
		}
		judged[id] = judgement{kind: v.Kind, reason: v.Reason, detected: detected(before, v, now)}
		if v.Unclaimed() {
			unclaimed[id] = now
			if since, known := m.unclaimed[id]; known {
				unclaimed[id] = since
			}
		}
	}
	m.unclaimed, m.judged = unclaimed, judged
	return changes
}

func detected(before judgement, v verdict.Verdict, now time.Time) time.Time {
	switch {
	case !v.Kind.Stale():
		return time.Time{}
	case before.detected.IsZero():
		return now
	default:
		return before.detected
	}
}

// foundAt reports whether the endpoint was first found to be stale at that time.
func (m *memory) foundAt(id hns.EndpointID, at time.Time) bool {
	detected := m.judged[id].detected
	return !detected.IsZero() && detected.Equal(at)
}

// oldest returns for how long the oldest of the stale endpoints has been known, by the verdict on it.
func (m *memory) oldest(now time.Time) map[verdict.Kind]time.Duration {
	ages := map[verdict.Kind]time.Duration{}
	for _, j := range m.judged {
		if !j.detected.IsZero() {
			ages[j.kind] = max(ages[j.kind], now.Sub(j.detected))
		}
	}
	return ages
}

// blink forgets since when endpoints have been unclaimed: nobody looked for a moment, and there may have been a break.
func (m *memory) blink() { m.unclaimed = map[hns.EndpointID]time.Time{} }

// seeWaiting remembers since when each pod has been waiting for its address.
func (m *memory) seeWaiting(pods []cluster.Pod, now time.Time) {
	waiting := make(map[types.UID]time.Time, len(pods))
	for _, p := range pods {
		waiting[p.UID] = now
		if since, known := m.waiting[p.UID]; known {
			waiting[p.UID] = since
		}
	}
	m.waiting = waiting
}

// anyFreshlyWaiting reports whether a pod has begun to wait less than the given time ago. One that waits longer waits
// for something else, such as a CNI that fails.
func (m *memory) anyFreshlyWaiting(now time.Time, fresh time.Duration) bool {
	for _, since := range m.waiting {
		if now.Sub(since) < fresh {
			return true
		}
	}
	return false
}

// inVain is how long a pod waits for its address that gets it: a CNI takes a second or two.
const inVain = 3 * time.Second

// anyWaitsInVain reports whether a pod has waited for longer than that.
func (m *memory) anyWaitsInVain(now time.Time) bool {
	for _, since := range m.waiting {
		if now.Sub(since) >= inVain {
			return true
		}
	}
	return false
}
