// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// program is a running program.
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

// start starts a Windows program, and kills it when the test ends. If the test fails, it shows the end of the program's
// output.
func start(t *testing.T, env []string, exe string, args ...string) *program {
	t.Helper()
	cmd := windowsCommand(exe, args...)
	cmd.Env = append(cmd.Env, env...)
	p, err := launch(t, cmd)
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last of %s:\n%s", filepath.Base(exe), tail(p.log.String(), 40))
		}
	})
	return p
}

// launch starts a program, and kills it when the test ends.
func launch(t *testing.T, cmd *exec.Cmd) (*program, error) {
	t.Helper()
	p := &program{cmd: cmd, log: &logFile{}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	group(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p, nil
}

// kill kills the program.
func (p *program) kill() {
	killGroup(p.cmd.Process)
	<-p.ended
}

func (p *program) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// eventually waits for a condition.
func eventually(ctx context.Context, t *testing.T, within time.Duration, what string, is func() bool) {
	t.Helper()
	if !becomes(ctx, within, is) {
		t.Fatalf("within %s it did not become so: %s", within, what)
	}
}

// becomes reports whether a condition became true in time.
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

// remains reports whether a condition remains true for a while.
func remains(ctx context.Context, period time.Duration, is func() bool) bool {
	return !becomes(ctx, period, func() bool { return !is() })
}

// programs are the programs of a run, in one folder that programs.sh has filled.
type programs struct {
	dir, guard string
	proxies    map[string]string // by version
}

// findPrograms finds the programs in $HNSGUARD_PROGRAMS.
func findPrograms(t *testing.T) programs {
	t.Helper()
	dir := os.Getenv("HNSGUARD_PROGRAMS")
	p := programs{dir: dir, guard: filepath.Join(dir, "hnsguard.exe"), proxies: map[string]string{}}
	found, err := filepath.Glob(filepath.Join(dir, "kube-proxy", "*", "kube-proxy.exe"))
	must(t, err)
	for _, exe := range found {
		p.proxies[filepath.Base(filepath.Dir(exe))] = exe
	}
	if dir == "" || len(found) == 0 {
		t.Fatalf("there is no kube-proxy in HNSGUARD_PROGRAMS=%q; run: make system-test", dir)
	}
	return p
}

// kubeProxyConfig returns the configuration of a kube-proxy.
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
