// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package bench_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stopwatch measures the time that a benchmark keeps a processor busy, its garbage collection included. On a machine
// that is shared, that says more than the time on the clock.
type stopwatch struct {
	b           *testing.B
	begun, used time.Duration
}

func start(b *testing.B) *stopwatch {
	b.Helper()
	return &stopwatch{b: b, begun: busy(b)}
}

// busy is how long the process has kept processors busy.
func busy(tb testing.TB) time.Duration {
	tb.Helper()
	var t unix.Timespec
	must(tb, unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t))
	return time.Duration(t.Nano())
}

// pause stops both clocks, while the benchmark prepares something.
func (s *stopwatch) pause() {
	s.used += busy(s.b) - s.begun
	s.b.StopTimer()
}

func (s *stopwatch) resume() {
	s.b.StartTimer()
	s.begun = busy(s.b)
}

// stop returns the time since the start, without pauses.
func (s *stopwatch) stop() time.Duration {
	s.used += busy(s.b) - s.begun
	s.begun = busy(s.b)
	return s.used
}

// report reports the time for each iteration.
func (s *stopwatch) report() {
	s.b.ReportMetric(float64(s.stop().Nanoseconds())/1000/float64(s.b.N), "cpu-us/op")
}
