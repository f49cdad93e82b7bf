// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package system_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is a Windows program that runs under Wine.
type program struct {
	cmd   *exec.Cmd
	log   *logFile
	ended chan struct{}
}

// logFile is a program's output, which can be read while it is written.
type logFile struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logFile) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start starts a program; it is killed when the test ends. If the test fails, the end of its output is shown.
func start(t *testing.T, env []string, exe string, args ...string) *program {
	t.Helper()
	p := &program{log: &logFile{}, ended: make(chan struct{})}
	p.cmd = exec.Command("/usr/lib/wine/wine64", append([]string{exe}, args...)...)
	p.cmd.Env = append([]string{
		"WINEPREFIX=" + os.Getenv("HNSGUARD_SYSTEM_PREFIX"), "WINEDEBUG=-all", "HOME=" + os.Getenv("HOME"),
		"PATH=" + os.Getenv("PATH"),
	}, env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	must(t, p.cmd.Start())
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the last of %s:\n%s", filepath.Base(exe), tail(p.log.String(), 40))
		}
	})
	return p
}

// kill ends the program without a warning.
func (p *program) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// expectNobodyLeft fails if a program has outlived the test, Wine's own included: they end by themselves a few
// seconds after the last program.
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

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// eventually waits for something to become so.
func eventually(ctx context.Context, t *testing.T, within time.Duration, what string, is func() bool) {
	t.Helper()
	if !becomes(ctx, within, is) {
		t.Fatalf("within %s it did not become so: %s", within, what)
	}
}

// becomes reports whether something became so in time.
func becomes(ctx context.Context, within time.Duration, is func() bool) bool {
	for deadline := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		if is() {
			return true
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return false
		}
	}
}

// remains reports whether something stays so for a while.
func remains(ctx context.Context, period time.Duration, is func() bool) bool {
	return !becomes(ctx, period, func() bool { return !is() })
}

// programs are the Windows programs of a run.
type programs struct {
	guard   string
	proxies map[string]string // by version
}

// findPrograms takes them from where make has put them.
func findPrograms(t *testing.T) programs {
	t.Helper()
	p := programs{guard: os.Getenv("HNSGUARD_EXE"), proxies: map[string]string{}}
	for _, exe := range filepath.SplitList(os.Getenv("HNSGUARD_KUBE_PROXIES")) {
		p.proxies[filepath.Base(filepath.Dir(exe))] = exe
	}
	if p.guard == "" || len(p.proxies) == 0 || os.Getenv("HNSGUARD_SYSTEM_PREFIX") == "" {
		t.Fatal("HNSGUARD_EXE, HNSGUARD_KUBE_PROXIES and HNSGUARD_SYSTEM_PREFIX are not set; run: make system-test")
	}
	return p
}

// kubeProxyConfig is the configuration of a kube-proxy.
func kubeProxyConfig(s *windowsNode) string {
	network := s.network.Name
	if s.byVariable {
		network = ""
	}
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: kernelspace
hostnameOverride: %s
bindAddress: "%s"
clientConnection: {kubeconfig: '%s'}
healthzBindAddress: 127.0.0.1:%s
metricsBindAddress: 127.0.0.1:%s
clusterCIDR: 10.0.0.0/8
iptables: {syncPeriod: %s, minSyncPeriod: %s}
winkernel: {networkName: "%s", sourceVip: "%s"}
logging: {verbosity: 4}
`, nodeName, s.bindAddress(), windowsPath(s.api.kubeconfig), s.healthzPort, s.metricsPort, s.period, s.minPeriod, network, s.sourceVIP)
}
