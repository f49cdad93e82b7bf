// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/cli"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// onNode runs a command with the given HNS.
func onNode(t *testing.T, service hns.Client, env map[string]string, args ...string) invocation {
	t.Helper()
	var out, errs strings.Builder
	code := cli.Run(t.Context(), args, cli.Process{
		Out: &out, Err: &errs, HNS: func() (hns.Client, error) { return service, nil },
		Env: func(name string) (string, bool) {
			value, ok := env[name]
			return value, ok
		},
	})
	return invocation{code, out.String(), errs.String()}
}

// A failed check is a result, and so is a fault in the agent's own settings.
func TestDoctorReportsWhatFails(t *testing.T) {
	g := NewWithT(t)
	service := hnstest.New(hnstest.Options{})
	service.CreateNetwork("azure", hns.NetworkL2Bridge)
	env := map[string]string{
		"NODE_NAME": "win-1", "HNSGUARD_CONFIG": write(t, "guard.yaml", "mode: loud\nnetwerk: x\n"),
		"HNSGUARD_KUBE_PROXY_METRICS_URL": "http://127.0.0.1:1/metrics", "HNSGUARD_METRICS_BIND_ADDRESS": "0",
	}
	got := onNode(t, service, env, "doctor", "--kubeconfig", write(t, "kc", kubeconfig))
	g.Expect(got.code).To(Equal(cli.ExitFinding))
	g.Expect(got.err).To(BeEmpty(), "the failed checks are results")
	g.Expect(got.out).To(MatchRegexp(`(?m)^fail  configuration  decoding configuration`))
	g.Expect(strings.Join(strings.Fields(got.out), " ")).To(ContainSubstring(`mode: Unsupported value: "loud"`))
	g.Expect(got.out).To(MatchRegexp(`(?m)^ {21}unknown field "netwerk"$`), "each fault has its line")
	g.Expect(got.out).To(MatchRegexp(`(?m)^pass  HNS            version 0.1, 0 endpoints`))
	g.Expect(got.out).To(MatchRegexp(`(?m)^pass  pod network    "azure"`))
	g.Expect(got.out).To(MatchRegexp(`(?m)^warn  kube-proxy     its version is unknown`))
	g.Expect(got.out).To(MatchRegexp(`(?m)^fail  API server     reaching the API server at http://127.0.0.1:1: Get`))
	g.Expect(got.out).To(HaveSuffix("This node cannot be guarded as it is: 2 failed, 1 warned, 1 skipped.\n"))
	g.Expect(got.out).NotTo(ContainSubstring("\x1b"), "no colours without a terminal")

	got = onNode(t, service, env, "doctor", "-o", "json")
	g.Expect(got.code).To(Equal(cli.ExitFinding))
	var report struct {
		Node   string
		Failed int
		Checks []struct{ Check, Status, Found, Advice string }
	}
	g.Expect(json.Unmarshal([]byte(got.out), &report)).To(Succeed())
	g.Expect(report.Failed).To(Equal(2), "this is not a pod")
	g.Expect(report.Checks).To(HaveLen(6))
}

func TestDoctorRefusesAWrongCommandLine(t *testing.T) {
	g := NewWithT(t)
	got := invoke(t, nil, "doctor", "--timeout", "0s", "-o", "xml", "--mode", "loud", "--selector", "a in b")
	g.Expect(got.code).To(Equal(cli.ExitUsage))
	for _, fault := range []string{
		"--mode is about one node: name it with --node-name or $NODE_NAME", "--timeout 0s: must be greater than zero",
		`--output "xml"`, `--selector "a in b"`, "See 'hnsguard doctor --help'.",
	} {
		g.Expect(got.err).To(ContainSubstring(fault))
	}
	g.Expect(got.out).To(BeEmpty())

	got = invoke(t, nil, "doctor", "--node-name", "win-1", "--timeout", "0s", "--mode", "loud")
	g.Expect(got.code).To(Equal(cli.ExitUsage))
	g.Expect(got.err).To(And(ContainSubstring(`--mode "loud"`), ContainSubstring("--timeout 0s")))
}

func TestDoctorHelpDocumentsEveryExitStatus(t *testing.T) {
	g := NewWithT(t)
	help := invoke(t, nil, "doctor", "--help").out
	for _, code := range []int{cli.ExitOK, cli.ExitError, cli.ExitUsage, cli.ExitFinding} {
		g.Expect(help).To(MatchRegexp(`(?m)^  %d  \S`, code))
	}
}
