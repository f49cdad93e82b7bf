// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// health is the state that the probes report. The probes run in other goroutines.
type health struct {
	clock clock.PassiveClock
	// stale is the time without a complete pass after which the state of the node counts as unknown.
	stale time.Duration

	mu sync.Mutex
	// begun is when the current pass began; it is zero between passes.
	begun time.Time
	// seen is when the last complete pass ended.
	seen time.Time
	err  error

	// hung returns for how long the maximum number of HNS calls has been hanging.
	hung func() time.Duration
}

// stuckAfter is how long a pass may take before the process counts as stuck. On a slow node with thousands of endpoints
// the first pass takes minutes; no pass waits without a bound.
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

// hungTooLong is how long the maximum number of HNS calls may hang before a restart frees their threads.
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
