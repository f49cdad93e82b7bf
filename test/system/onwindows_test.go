// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package system_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/system/hnsserver"
	"github.com/hnsguard/hnsguard/test/system/results"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

// TestOnWindows runs the test like a Windows machine: the test and its control plane are Windows programs, and it
// writes to the HNS of this Windows, which our DLLs replace.
func TestOnWindows(t *testing.T) {
	exe := findPrograms(t)
	program := filepath.Join(exe.dir, "system.test.exe")
	if _, err := os.Stat(program); err != nil {
		t.Skip("there are no programs for Windows; run: make system-test-windows")
	}
	t.Cleanup(func() { expectNobodyLeft(t) })
	g := NewWithT(t)
	service := hnstest.New(hnstest.Options{})
	server, err := hnsserver.Start(t.Context(), service, hnsserver.WindowsServer2022)
	must(t, err)
	t.Cleanup(func() { must(t, server.Close()) })
	kept := filepath.Join(tempdir.New(t), "results.json")
	p := start(t, []string{
		"HNS_SERVER_PORT=" + server.Port(), "HNSGUARD_REAL_HNS=Private",
		"HNSGUARD_PROGRAMS=" + windowsPath(exe.dir), "HNSGUARD_RESULTS=" + windowsPath(kept),
	}, program, "-test.run", "TestScenarios/group/.*/stale-record$")
	eventually(t.Context(), t, 10*time.Minute, "the test on Windows ends", p.hasEnded)
	g.Expect(p.cmd.ProcessState.ExitCode()).To(BeZero(), p.log.String())
	all, err := results.Load(kept)
	must(t, err)
	g.Expect(all).To(HaveExactElements(
		And(HaveField("Guarded", false), HaveField("Outcome", "local endpoint deleted at the next sync")),
		And(HaveField("Guarded", true), HaveField("Outcome", "survives 3 syncs")),
	))
	g.Expect(all).To(HaveEach(HaveField("HNS", HavePrefix("Private network of HNS 13.3 on Windows"))))
	g.Expect(service.State().Networks).To(BeEmpty(), "it leaves nothing")
	g.Expect(service.State().Namespaces).To(BeEmpty(), "it leaves nothing")
}
