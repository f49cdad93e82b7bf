// SPDX-License-Identifier: Apache-2.0

package pass

import (
	"context"
	"time"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Pass is one complete look at the node.
type Pass struct {
	Evidence verdict.Evidence
	// Verdicts has one verdict for each endpoint of the evidence. The next pass overwrites them: copy what must last.
	Verdicts []verdict.Verdict
	// StaleSince is when each stale endpoint was first found to be stale.
	StaleSince map[hns.EndpointID]time.Time
	// Waiting is set while a pod on the node has recently begun to wait for its address.
	Waiting bool
}

// Action is something that the guard does in each pass.
type Action interface {
	// Run performs the action, and returns how soon the next pass should come; zero means that the action is in no hurry.
	// The action records its own failures.
	Run(ctx context.Context, pass Pass) (next time.Duration)
}

// SliceObserver receives the changes of EndpointSlices with their state before and after.
type SliceObserver interface {
	// SliceChanged is called for every change, in the order of the watch, after the index has been updated. Before is nil
	// for a new slice, after for a deleted one.
	SliceChanged(before, after *cluster.Slice)
}

// RelistObserver is a [SliceObserver] that needs to know when changes may have been missed.
type RelistObserver interface {
	// SlicesRelisted is called after the slices were listed again: if a slice changed twice meanwhile, only one change was
	// seen, or none.
	SlicesRelisted()
}

// Earlier returns the earlier of two moments.
func Earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Later returns the later of two moments.
func Later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// Soonest returns the shortest of several durations. Zero means none.
func Soonest(durations ...time.Duration) time.Duration {
	var soonest time.Duration
	for _, d := range durations {
		if d > 0 && (soonest == 0 || d < soonest) {
			soonest = d
		}
	}
	return soonest
}
