// SPDX-License-Identifier: Apache-2.0

//go:build !windows

// Package usage says what a process uses: for the benchmarks, and for the tests that measure at scale.
package usage

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Heap returns how many bytes are in use once all garbage is gone.
func Heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// Processor returns how long the process has kept processors busy.
func Processor(tb testing.TB) time.Duration {
	tb.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(t.Nano())
}
