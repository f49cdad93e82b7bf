// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"os"
	"os/exec"
	"testing"
)

// executable returns the file name of a program on this system.
func executable(name string) string { return name + ".exe" }

// windowsCommand returns a command that runs a Windows program.
func windowsCommand(exe string, args ...string) *exec.Cmd {
	cmd := exec.Command(exe, args...)
	cmd.Env = os.Environ()
	return cmd
}

// windowsPath returns a path for Windows programs.
func windowsPath(path string) string { return path }

// group does nothing: no program of the test starts another.
func group(*exec.Cmd) {}

// killGroup kills the process.
func killGroup(p *os.Process) { _ = p.Kill() }

// expectNobodyLeft does nothing: the test waits for each program that it has killed.
func expectNobodyLeft(*testing.T) {}
