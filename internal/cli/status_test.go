// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/cli"
	"github.com/hnsguard/hnsguard/internal/fleet"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

const nodeStatus = `{"apiVersion": "hnsguard.io/v1alpha1", "kind": "NodeReport", "node": "win-1", "state": "guarding",
"agent": {"version": "v1.2.3"}, "mode": "enforce", "kubeProxy": {"version": "v1.37.2", "known": true}, "counts": {},
"time": "2026-03-01T03:00:02Z", "pass": {"ended": "2026-03-01T03:00:00Z"}, "more": "than is read"}
`

// page serves an agent's page and returns its address.
func page(t *testing.T, status int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/status" {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(nodeStatus))
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// The command that status runs in an agent's container prints the report as the agent serves it.
func TestTheStatusOfThisNode(t *testing.T) {
	here := map[string]string{"HNSGUARD_PAGE_BIND_ADDRESS": page(t, http.StatusOK)}
	for name, tc := range map[string]struct {
		args []string
		code int
		out  string
		err  string
	}{
		"all of it": {nil, cli.ExitOK, nodeStatus, ""},
		"forbidden": {
			[]string{"--page-bind-address", page(t, http.StatusForbidden)},
			cli.ExitError, "",
			"/api/v1/status: 403 Forbidden",
		},
		"not on loopback": {[]string{"--page-bind-address", ":9473"}, cli.ExitError, "", "leave page.bindAddress of the chart empty"},
		"no page":         {[]string{"--page-bind-address", "0"}, cli.ExitError, "", "the agent serves no page"},
		"no answer":       {[]string{"--page-bind-address", "127.0.0.1:1"}, cli.ExitError, "", "the agent on this node: reading http://127.0.0.1:1/"},
		"what to look at": {[]string{"--page-bind-address", "127.0.0.1:1"}, cli.ExitError, "", "\n  Check that the agent runs"},
		"no address":      {[]string{"--page-bind-address", "x"}, cli.ExitUsage, "", `--page-bind-address "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := invoke(t, here, append([]string{"agent-status"}, tc.args...)...)
			g.Expect(got.code).To(Equal(tc.code), got.err)
			g.Expect(got.out).To(Equal(tc.out))
			g.Expect(got.err).To(ContainSubstring(tc.err))
		})
	}
	g := NewWithT(t)
	g.Expect(fleet.Command()[1:]).To(Equal([]string{"agent-status"}), "it is the command that status runs")
	g.Expect(invoke(t, nil, "--help").out).NotTo(ContainSubstring("agent-status"))
}

func TestTheStatusOfAllNodesReportsWhatIsWrong(t *testing.T) {
	g := NewWithT(t)
	got := invoke(t, nil, "status", "--timeout", "0s", "--selector", "a in", "-o", "xml", "--namespace", "")
	g.Expect(got.code).To(Equal(cli.ExitUsage))
	for _, fault := range []string{"--timeout 0s", `--selector "a in"`, `--output "xml"`, "--namespace: must not be empty"} {
		g.Expect(got.err).To(ContainSubstring(fault))
	}
	got = invoke(t, nil, "status", "--kubeconfig", "/nowhere/kc")
	g.Expect(got.code).To(Equal(cli.ExitError))
	g.Expect(got.err).To(ContainSubstring("reading kubeconfig /nowhere/kc: "))
	for _, code := range []int{cli.ExitOK, cli.ExitError, cli.ExitUsage, cli.ExitFinding} {
		g.Expect(invoke(t, nil, "status", "--help").out).To(MatchRegexp(`(?m)^  %d  \S`, code))
	}
}

// Invariant 4: status uses kubectl's configuration, except in a pod.
func TestWhoseKubeconfigStatusUses(t *testing.T) {
	g := NewWithT(t)
	kc := write(t, "kc", kubeconfig)
	got := invoke(t, map[string]string{"KUBECONFIG": kc}, "status")
	g.Expect(got.err).To(And(ContainSubstring("listing the agents' DaemonSets"), ContainSubstring("http://127.0.0.1:1/")))
	got = invoke(t, nil, "status")
	g.Expect(got.err).To(Equal("hnsguard: connecting to the API server: this is not a pod, and there is no kubeconfig, or an empty " +
		"one; pass --kubeconfig or set $KUBECONFIG\n"))
	got = invoke(t, map[string]string{"KUBECONFIG": kc}, "status", "--context", "another")
	g.Expect(got.err).To(ContainSubstring(`context "another" does not exist`))
	got = invoke(t, map[string]string{
		"KUBECONFIG": kc, "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443",
	}, "status")
	g.Expect(got.err).To(ContainSubstring("no service account token"))
}

// Invariant 4: so do the other commands for users.
func TestTheOthersUseTheSameKubeconfig(t *testing.T) {
	kc := write(t, "kc", kubeconfig)
	home := tempdir.New(t)
	if err := os.MkdirAll(filepath.Join(home, ".kube"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".kube", "config"), []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"scan", "--node-name", "win-1", "--hns-dump", hnsData + "derived-v2-duplicate.json"},
		{"explain", "10.0.0.1", "--node-name", "win-1", "--hns-dump", hnsData + "derived-v2-duplicate.json"},
		{"doctor", "--node-name", "win-1", "--kube-proxy-version", "v1.37.2"},
	} {
		for _, env := range []map[string]string{{"KUBECONFIG": kc}, {"HOME": home}, {"USERPROFILE": home}} {
			got := invoke(t, env, args...)
			NewWithT(t).Expect(got.out+got.err).To(ContainSubstring("http://127.0.0.1:1"), "%v %v", args, env)
		}
		got := invoke(t, map[string]string{
			"KUBECONFIG": kc, "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443",
			"CONTAINER_SANDBOX_MOUNT_POINT": home,
		}, args...)
		NewWithT(t).Expect(strings.Join(strings.Fields(got.out+got.err), " ")).To(ContainSubstring("no service account token"), "%v", args)
	}
}

// With --node a command runs in the agent's pod: flags that only concern this machine are errors.
func TestACommandOnAnotherNodeHasNoInputOfThisOne(t *testing.T) {
	g := NewWithT(t)
	got := invoke(t, nil, "explain", "10.0.0.7", "--node", "win-1", "--hns-dump", "e.json", "--bundle", "b.zip")
	g.Expect(got.code).To(Equal(cli.ExitUsage))
	for _, flag := range []string{"--hns-dump", "--bundle"} {
		g.Expect(got.err).To(ContainSubstring(flag + ": cannot be combined with --node"))
	}
	got = invoke(t, nil, "bundle", "--node", "win-1")
	g.Expect(got.code).To(Equal(cli.ExitUsage))
	g.Expect(got.err).To(ContainSubstring("--file is required"))
	for _, command := range [][]string{{"scan"}, {"doctor"}, {"explain", "10.0.0.7"}} {
		got = invoke(t, nil, append(command, "--node", "win-1", "--kubeconfig", "/nowhere/kc")...)
		g.Expect(got.code).To(Equal(cli.ExitError))
		g.Expect(got.err).To(ContainSubstring("reading kubeconfig /nowhere/kc"))
	}
}
