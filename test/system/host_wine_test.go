// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package system_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// On Linux the Windows programs run under Wine, in the prefix with our DLLs.

// executable returns the file name of a program on this system.
func executable(name string) string { return name }

// windowsCommand returns a command that runs a Windows program.
func windowsCommand(exe string, args ...string) *exec.Cmd {
	cmd := exec.Command("/usr/lib/wine/wine64", append([]string{exe}, args...)...)
	cmd.Env = []string{
		"WINEPREFIX=" + os.Getenv("HNSGUARD_SYSTEM_PREFIX"), "WINEDEBUG=-all", "HOME=" + os.Getenv("HOME"),
		"PATH=" + os.Getenv("PATH"),
	}
	return cmd
}

// windowsPath returns a path for Windows programs.
func windowsPath(path string) string { return `Z:` + filepath.FromSlash(path) }

// group makes a command's process, and those that it starts, end with the test. It must be called before the start.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup kills the process and those that it started.
func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

// expectNobodyLeft fails if a program outlives the test, including Wine's own: they end a few seconds after the last
// program.
func expectNobodyLeft(t *testing.T) {
	t.Helper()
	wait := exec.Command("timeout", "60", "/usr/lib/wine/wineserver64", "--wait")
	wait.Env = append(os.Environ(), "WINEPREFIX="+os.Getenv("HNSGUARD_SYSTEM_PREFIX"))
	if out, err := wait.CombinedOutput(); err != nil {
		t.Errorf("Windows programs have outlived the test: %v %s", err, out)
	}
	out, err := exec.Command("pgrep", "--list-full", "--parent", strconv.Itoa(os.Getpid())).CombinedOutput()
	var status *exec.ExitError
	if !errors.As(err, &status) || status.ExitCode() != 1 { // 1 is: there is none
		t.Errorf("programs have outlived the test: %v\n%s", err, out)
	}
}
