// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"maps"
	"time"

	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
)

// pauses are exponential backoffs that know when they end. They are for one caller at a time.
type pauses struct {
	clock   clock.Clock
	backoff *flowcontrol.Backoff
	ends    map[string]time.Time
}

func newPauses(first, most time.Duration, clk clock.Clock) *pauses {
	// "Fake" is the one that takes a clock.
	return &pauses{clock: clk, backoff: flowcontrol.NewFakeBackOff(first, most, clk), ends: map[string]time.Time{}}
}

// begin begins a pause, which is twice as long as the one before.
func (p *pauses) begin(key string) {
	now := p.clock.Now()
	p.backoff.Next(key, now)
	p.ends[key] = now.Add(p.backoff.Get(key))
}

// left returns how much of a pause is left at a moment; zero or less if there is none.
func (p *pauses) left(key string, now time.Time) time.Duration {
	return p.ends[key].Sub(now)
}

// latest returns how long the latest pause was; zero if that was long ago, or if there was none.
func (p *pauses) latest(key string) time.Duration {
	return p.backoff.Get(key)
}

// forget drops what has ended, and how long it was when that was long ago.
func (p *pauses) forget() {
	now := p.clock.Now()
	maps.DeleteFunc(p.ends, func(_ string, ends time.Time) bool { return !ends.After(now) })
	p.backoff.GC()
}
