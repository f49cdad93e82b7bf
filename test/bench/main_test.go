// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package bench_test

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/go-logr/logr"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/agent"
)

func TestMain(m *testing.M) {
	logf.SetLogger(logr.Discard())
	debug.SetGCPercent(agent.GCPercent)
	os.Exit(m.Run())
}
