// SPDX-License-Identifier: Apache-2.0

//go:build !windows

// Package usage measures the resource usage of a process, for the benchmarks and for the tests at scale.
package usage

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Heap returns the number of bytes in use after a garbage collection.
func Heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// Processor returns the processor time of the process.
func Processor(tb testing.TB) time.Duration {
	tb.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(t.Nano())
}
