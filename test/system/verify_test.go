// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package system_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/hnstest/contract"
	"github.com/hnsguard/hnsguard/test/system/hnsserver"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

// verifier is a machine with an HNS and a pod, on which hnsguard-verify.exe runs.
type verifier struct {
	t       *testing.T
	exe     string
	service *hnstest.HNS
	server  *hnsserver.Server
	before  hnstest.State
}

func newVerifier(t *testing.T, o hnstest.Options) *verifier {
	t.Helper()
	v := &verifier{t: t, exe: filepath.Join(findPrograms(t).dir, "hnsguard-verify.exe"), service: hnstest.New(o)}
	network := v.service.CreateNetwork("azure", hns.NetworkL2Bridge, netip.MustParsePrefix("10.240.0.0/16"))
	pod, err := v.service.CreateEndpoint(hnstest.EndpointSpec{
		Network: network.ID, Name: "pod", Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")},
	})
	must(t, err)
	must(t, v.service.Attach(pod.ID, v.service.CreateNamespace()))
	_, err = v.service.CreateLoadBalancer(hns.LoadBalancer{
		Endpoints: []hns.EndpointID{pod.ID}, FrontendVIPs: []netip.Addr{netip.MustParseAddr("10.0.0.10")},
	})
	must(t, err)
	v.before = v.service.State()
	v.server, err = hnsserver.Start(t.Context(), v.service, hnsserver.Updates)
	must(t, err)
	t.Cleanup(func() { must(t, v.server.Close()) })
	return v
}

func (v *verifier) start(args ...string) *program {
	v.t.Helper()
	return start(v.t, []string{"HNS_SERVER_PORT=" + v.server.Port()}, v.exe, args...)
}

// run runs the program to its end.
func (v *verifier) run(args ...string) *program {
	v.t.Helper()
	p := v.start(args...)
	v.wait(p)
	return p
}

func (v *verifier) wait(p *program) {
	v.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(5 * time.Minute):
		v.t.Fatalf("it does not end:\n%s", p.log)
	}
}

// unchanged expects HNS to have exactly what it had before.
func (v *verifier) unchanged() {
	v.t.Helper()
	NewWithT(v.t).Expect(v.service.State()).To(Equal(v.before))
}

// The assumptions also hold for the simulation through hcsshim and the DLLs, and the program reports the differences of
// each HNS.
func TestVerify(t *testing.T) {
	t.Parallel()
	kinds := [][]string{{"Private"}, {"NAT"}, {"Overlay", "--adapter", "Ethernet 2"}, {"L2Bridge", "--adapter", "Ethernet 2"}}
	for i, p := range verified(t) {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			v := newVerifier(t, p.Options)
			kind := kinds[i%len(kinds)]
			run := v.run(append([]string{"--yes", "-o", "json", "--endpoints", "20", "--type"}, kind...)...)
			g.Expect(run.cmd.ProcessState.ExitCode()).To(BeZero(), run.log.String())
			_, text, found := strings.Cut("\n"+run.log.String(), "\n{") // after what it says of its progress
			g.Expect(found).To(BeTrue(), run.log.String())
			var report contract.Report
			g.Expect(json.Unmarshal([]byte("{"+text), &report)).To(Succeed())
			g.Expect(p.Judge(report.Results)).To(Succeed())
			g.Expect(report.Network).To(BeEquivalentTo(kind[0]))
			g.Expect(report.Results).NotTo(ContainElement(HaveField("Saw", ContainSubstring("{"))), "no JSON of HNS")
			v.unchanged()
		})
	}
}

// verified returns the kinds of HNS for the program, combined if they do not interfere. Only package hnstest plays one
// in which calls take ten seconds, and one in which the run could not clean up, because lists fail.
func verified(t *testing.T) []hnstest.Position {
	t.Helper()
	positions := map[string]hnstest.Position{}
	for _, p := range hnstest.Positions() {
		positions[p.Name] = p
	}
	group := func(first string, others ...string) hnstest.Position {
		p, found := positions[first]
		for _, name := range others {
			found = found && positions[name].Name != ""
			p = p.And(positions[name])
		}
		if !found {
			t.Fatalf("there is no position %s, or one of %s", first, others)
		}
		return p
	}
	return []hnstest.Position{
		group("allows all"), group("refuses duplicates"), group("refuses a second remote"), group("random order"),
		group("newest first", "own hardware addresses", "reuses IDs", "unknown codes", "refuses backends",
			"forgets frontends", "ignores updates", "hides namespaces", "refuses outside", "hides types"),
		group("by ID", "makes remotes", "deletes twins", "forgets backends", "refuses a frontend twice",
			"hides its version", "keeps namespaces"),
		group("allows locals", "lists late"), group("keeps deleted"),
		group("one at a time"),
	}
}

// Bad input: the program prints one line, and changes nothing.
func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		says string
		args []string
		bad  func(*verifier)
	}{
		"an old Windows": {"hnsguard needs Windows Server 2019", []string{"--yes"}, func(v *verifier) {
			old := filepath.Join(tempdir.New(v.t), "old.exe") // Wine is a new Windows for hnsguard-verify.exe only
			must(v.t, os.Link(v.exe, old))
			v.exe = old
		}},
		"HNS that is stopped": {"HNS is unavailable", []string{"--yes"}, func(v *verifier) { v.service.SetDown(true) }},
		"a network in use":    {"is in use", []string{"--yes", "--network", "azure"}, func(*verifier) {}},
		"no answer":           {"nothing was changed", nil, func(*verifier) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			v := newVerifier(t, hnstest.Options{})
			tc.bad(v)
			p := v.run(tc.args...)
			g.Expect(p.cmd.ProcessState.ExitCode()).To(Equal(1), p.log.String())
			lines := strings.Split(strings.TrimSpace(p.log.String()), "\n")
			g.Expect(lines[len(lines)-1]).To(And(HavePrefix("hnsguard-verify: "), ContainSubstring(tc.says)))
			v.unchanged()
			g.Expect(v.server.Journal()).To(BeEmpty(), "no call tried to change anything")
		})
	}
}

// --clean deletes what a killed run has left; Ctrl+C leaves nothing.
func TestVerifyEndsInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*verifier, *program){
		"killed": func(v *verifier, p *program) {
			p.kill()
			NewWithT(v.t).Expect(v.service.State()).NotTo(Equal(v.before))
			clean := v.run("--clean")
			NewWithT(v.t).Expect(clean.log.String()).To(ContainSubstring("deleted network"))
		},
		"Ctrl+C": func(v *verifier, p *program) {
			must(v.t, syscall.Kill(p.cmd.Process.Pid, syscall.SIGINT))
			v.wait(p)
			NewWithT(v.t).Expect(p.cmd.ProcessState.ExitCode()).To(Equal(130), p.log.String())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVerifier(t, hnstest.Options{})
			p := v.start("--yes")
			eventually(context.Background(), t, 5*time.Minute, "it has made load balancers", func() bool {
				return len(v.service.State().LoadBalancers) > 2
			})
			end(v, p)
			v.unchanged()
		})
	}
}
