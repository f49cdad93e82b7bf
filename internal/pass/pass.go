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
	// Verdicts has one verdict for each endpoint of the evidence. The next pass overwrites them: what is kept is copied.
	Verdicts []verdict.Verdict
	// StaleSince is when each stale endpoint was first found to be stale.
	StaleSince map[hns.EndpointID]time.Time
	// Waiting is set while a pod on the node has been waiting for its address for a short time.
	Waiting bool
}

// Action is one kind of thing to do about a pass.
type Action interface {
	// Run does it, and returns how soon the next pass should come; zero means that the action is in no hurry. Failures
	// are recorded by the action.
	Run(ctx context.Context, pass Pass) (next time.Duration)
}

// SliceObserver sees the changes of EndpointSlices from both sides.
type SliceObserver interface {
	// SliceChanged is called for every change, in the order of the watch, after the index has it. Either side may be nil:
	// the slice was added, or deleted.
	SliceChanged(before, after *cluster.Slice)
}

// RelistObserver is a [SliceObserver] that needs to know when changes may have been missed.
type RelistObserver interface {
	// SlicesRelisted is called after the slices were listed again: a slice that changed twice meanwhile was seen to change
	// once, or not at all.
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
