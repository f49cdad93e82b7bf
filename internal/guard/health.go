// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// health is the state that the probes report. They run in other goroutines.
type health struct {
	clock clock.PassiveClock
	// stale is after what time without a complete pass the node counts as unknown.
	stale time.Duration

	mu sync.Mutex
	// begun is when the pass that is under way began; zero between passes.
	begun time.Time
	// seen is when the last complete pass ended.
	seen time.Time
	err  error

	// hung is how long HNS has been leaving as many calls unanswered as there may be.
	hung func() time.Duration
}

// stuckAfter is how long a pass may take before the process counts as stuck. The first look at a node with thousands of
// endpoints takes minutes on a slow one; a pass waits for nothing without a bound.
const stuckAfter = 15 * time.Minute

func newHealth(clk clock.PassiveClock, slow time.Duration, hung func() time.Duration) *health {
	if hung == nil {
		hung = func() time.Duration { return 0 }
	}
	return &health{clock: clk, stale: max(6*slow, time.Minute), hung: hung}
}

func (h *health) begin(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begun = now
}

func (h *health) end(now time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begun, h.err = time.Time{}, err
	if err == nil {
		h.seen = now
	}
}

func (h *health) ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.err != nil:
		return fmt.Errorf("cannot observe the node: %w", h.err)
	case h.seen.IsZero():
		return errors.New("no complete pass yet: caches are syncing or HNS is being read")
	case h.clock.Since(h.seen) > h.stale:
		return fmt.Errorf("the last complete pass ended %s ago", h.clock.Since(h.seen).Round(time.Second))
	default:
		return nil
	}
}

// hungTooLong is how long HNS may leave as many calls unanswered as there may be, before a restart frees their threads.
const hungTooLong = 10 * time.Minute

func (h *health) live() error {
	if hung := h.hung(); hung > hungTooLong {
		return fmt.Errorf("the maximum of hung HNS calls has been reached for %s", hung.Round(time.Second))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.begun.IsZero() && h.clock.Since(h.begun) > stuckAfter {
		return fmt.Errorf("a pass has not ended for %s", h.clock.Since(h.begun).Round(time.Second))
	}
	return nil
}
