// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"os"
	"os/exec"
	"testing"
)

// executable is the name of a program of this system.
func executable(name string) string { return name + ".exe" }

// windowsCommand is a command that runs a Windows program.
func windowsCommand(exe string, args ...string) *exec.Cmd {
	cmd := exec.Command(exe, args...)
	cmd.Env = os.Environ()
	return cmd
}

// windowsPath is a path as Windows programs see it.
func windowsPath(path string) string { return path }

// group has nothing to do: no program of the test starts another.
func group(*exec.Cmd) {}

// killGroup ends the process without a warning.
func killGroup(p *os.Process) { _ = p.Kill() }

// expectNobodyLeft has nothing to do: the test waits for each program that it has killed.
func expectNobodyLeft(*testing.T) {}
