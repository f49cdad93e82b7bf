// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package bench_test

import (
	"testing"
	"time"

	"github.com/hnsguard/hnsguard/test/bench/usage"
)

// stopwatch measures the processor time of a benchmark, including its garbage collection. On a shared machine this is
// more accurate than elapsed time.
type stopwatch struct {
	b           *testing.B
	begun, used time.Duration
}

func start(b *testing.B) *stopwatch {
	b.Helper()
	return &stopwatch{b: b, begun: usage.Processor(b)}
}

// pause stops both clocks while the benchmark prepares something.
func (s *stopwatch) pause() {
	s.used += usage.Processor(s.b) - s.begun
	s.b.StopTimer()
}

func (s *stopwatch) resume() {
	s.b.StartTimer()
	s.begun = usage.Processor(s.b)
}

// stop returns the time since the start, without pauses.
func (s *stopwatch) stop() time.Duration {
	s.used += usage.Processor(s.b) - s.begun
	s.begun = usage.Processor(s.b)
	return s.used
}

// report reports the time per iteration.
func (s *stopwatch) report() {
	s.b.ReportMetric(float64(s.stop().Nanoseconds())/1000/float64(s.b.N), "cpu-us/op")
}
