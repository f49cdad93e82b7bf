// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/cli"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

// invocation is a run of the program in a process of its own, as far as a test needs one.
type invocation struct {
	code     int
	out, err string
}

func invoke(t *testing.T, env map[string]string, args ...string) invocation {
	t.Helper()
	var out, errs strings.Builder
	code := cli.Run(t.Context(), args, cli.Process{Out: &out, Err: &errs, Env: func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}})
	return invocation{code, out.String(), errs.String()}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(tempdir.New(t), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
current-context: c
`

func TestUsage(t *testing.T) {
	for name, args := range map[string][]string{"nothing": nil, "help": {"--help"}, "firewall": {"firewall"}} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := invoke(t, nil, args...)
			g.Expect(got.code).To(Equal(cli.ExitOK))
			g.Expect(got.err).To(BeEmpty())
			g.Expect(got.out).To(ContainSubstring("Available Commands:"))
		})
	}
}

// Invariant 3.
func TestAWrongCommandLineNamesItsHelp(t *testing.T) {
	for name, tc := range map[string]struct {
		args       []string
		want, help string
	}{
		"unknown command":      {[]string{"bogus"}, `unknown command "bogus"`, "hnsguard"},
		"misspelled command":   {[]string{"rum"}, "unknown command \"rum\" for \"hnsguard\"\n  Did you mean this?\n  \trun", "hnsguard"},
		"unknown subcommand":   {[]string{"firewall", "bogus"}, `unknown command "bogus"`, "hnsguard firewall"},
		"argument":             {[]string{"run", "bogus"}, `unknown command "bogus"`, "hnsguard run"},
		"unknown flag":         {[]string{"run", "--bogus"}, "unknown flag: --bogus", "hnsguard run"},
		"flag without a value": {[]string{"run", "--mode"}, "flag needs an argument: --mode", "hnsguard run"},
		"no number": {
			[]string{"firewall", "ensure", "--port", "x"}, `invalid argument "x" for "--port"`, "hnsguard firewall ensure",
		},
		"output":   {[]string{"version", "-o", "xml"}, `--output "xml": must be json or yaml`, "hnsguard version"},
		"scenario": {[]string{"demo", "--scenario", "x"}, `--scenario "x": must be all, incident`, "hnsguard demo"},
		"speed":    {[]string{"demo", "--speed", "0"}, "--speed 0: must be greater than zero", "hnsguard demo"},
		"no node":  {[]string{"run"}, "--node-name or $NODE_NAME is required", "hnsguard run"},
		"mode":     {[]string{"run", "--mode", "dry-run"}, `--mode "dry-run": must be enforce or observe`, "hnsguard run"},
		"kube-proxy's version": {
			[]string{"run", "--kube-proxy-version", "banana"},
			`--kube-proxy-version "banana": must be a version such as "v1.32.3" or "v1.31.7-eks-abcdef"`, "hnsguard run",
		},
		"kube-proxy's version without patch": {
			[]string{"scan", "--kube-proxy-version", "v1.31"}, `--kube-proxy-version "v1.31": must be a version`, "hnsguard scan",
		},
		"kube-proxy's metrics": {
			[]string{"run", "--kube-proxy-metrics-url", "localhost:10249"},
			`--kube-proxy-metrics-url "localhost:10249": must be a URL such as http://127.0.0.1:10249/metrics`, "hnsguard run",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := invoke(t, nil, tc.args...)
			g.Expect(got.code).To(Equal(cli.ExitUsage))
			g.Expect(got.err).To(HavePrefix("hnsguard: "))
			g.Expect(got.err).To(ContainSubstring("hnsguard: " + tc.want))
			g.Expect(got.err).To(HaveSuffix("\nSee '" + tc.help + " --help'.\n"))
			help := invoke(t, nil, append(strings.Fields(tc.help)[1:], "--help")...)
			g.Expect(help.code).To(Equal(cli.ExitOK))
			g.Expect(help.out).To(ContainSubstring("Usage:\n  " + tc.help))
		})
	}
}

func TestVersion(t *testing.T) {
	g := NewWithT(t)
	got := invoke(t, nil, "version", "-o", "json")
	g.Expect(got.code).To(Equal(cli.ExitOK))
	var info map[string]string
	g.Expect(json.Unmarshal([]byte(got.out), &info)).To(Succeed())
	g.Expect(info).To(And(HaveKeyWithValue("os", runtime.GOOS), HaveKey("version"), HaveKey("commit")))
	line := invoke(t, nil, "version").out
	g.Expect(line).To(MatchRegexp(`^hnsguard \S+ \(commit \S+, go\S+, \w+/\w+\)\n$`))
	g.Expect(invoke(t, nil, "--version")).To(Equal(invocation{cli.ExitOK, line, ""}))
	g.Expect(invoke(t, nil, "version", "-o", "yaml").out).To(ContainSubstring("goVersion: "))
}

// Invariant 2.
func TestRunReportsAllFaultsAtOnce(t *testing.T) {
	g := NewWithT(t)
	config := write(t, "guard.yaml", "orphan: {gracePeriod: soon, maxPerPas: 3}\nexclusions: [10.0.0.0/33]\n")
	got := invoke(t, nil, "run", "--config", config, "--mode", "dry-run", "--log-level", "loud", "--log-format", "xml",
		"--kube-proxy-version", "banana", "--kubeconfig", "/nowhere/kc")
	g.Expect(got.code).To(Equal(cli.ExitUsage))
	for _, fault := range []string{
		"--node-name or $NODE_NAME is required",
		"--namespace or $POD_NAMESPACE is required",
		`--log-level "loud": must be error, info, debug or trace`,
		`--log-format "xml": must be json or text`,
		`--kube-proxy-version "banana"`,
		`orphan.gracePeriod: Invalid value: "soon"`,
		`unknown field "orphan.maxPerPas"`,
		`exclusions[0]: Invalid value: "10.0.0.0/33"`,
		`--mode "dry-run"`,
		"reading kubeconfig",
	} {
		g.Expect(got.err).To(ContainSubstring(fault))
	}
	for _, line := range strings.Split(strings.TrimSpace(got.err), "\n") {
		g.Expect(line).To(Or(HavePrefix("hnsguard: "), HavePrefix("  "), HavePrefix("See ")), "every fault has its line")
	}
	g.Expect(got.out).To(BeEmpty())

	got = invoke(t, map[string]string{"NODE_NAME": "win-1"}, "run", "--config", config, "--namespace", "n")
	g.Expect(got.code).To(Equal(cli.ExitError), "the command line is right, the file is not")
	g.Expect(got.err).NotTo(ContainSubstring("--help"))
}

// Invariant 1, as far as flag and variable go.
func TestAFlagWinsOverItsVariable(t *testing.T) {
	g := NewWithT(t)
	env := map[string]string{"NODE_NAME": "win-1", "HNSGUARD_LOG_LEVEL": "loud", "HNSGUARD_MODE": "dry-run"}
	got := invoke(t, env, "run")
	g.Expect(got.err).To(And(ContainSubstring(`--log-level "loud"`), ContainSubstring(`--mode "dry-run"`),
		Not(ContainSubstring("--node-name"))))
	got = invoke(t, env, "run", "--log-level", "info", "--mode", "observe")
	g.Expect(got.err).NotTo(Or(ContainSubstring("--log-level"), ContainSubstring("mode")))

	got = invoke(t, map[string]string{"HNSGUARD_SPEED": "fast"}, "demo")
	g.Expect(got.code).To(Equal(cli.ExitUsage))
	g.Expect(got.err).To(ContainSubstring("$HNSGUARD_SPEED"))
}

// With containerd 1.6 a mounted file is only found below the container's root.
func TestAMountedConfigurationIsFound(t *testing.T) {
	g := NewWithT(t)
	root := tempdir.New(t)
	for name, content := range map[string]string{"below.yaml": "mode: below\n", "unreadable.yaml/x": ""} {
		path := filepath.Join(root, "etc", "hnsguard", name)
		g.Expect(os.MkdirAll(filepath.Dir(path), 0o700)).To(Succeed())
		g.Expect(os.WriteFile(path, []byte(content), 0o600)).To(Succeed())
	}
	env := map[string]string{"CONTAINER_SANDBOX_MOUNT_POINT": root}
	got := invoke(t, env, "run", "--config", "/etc/hnsguard/below.yaml")
	g.Expect(got.err).To(And(ContainSubstring(filepath.Join(root, "etc", "hnsguard", "below.yaml")), ContainSubstring(`"below"`)))

	elsewhere := write(t, "outside.yaml", "mode: outside\n")
	got = invoke(t, env, "run", "--config", elsewhere)
	g.Expect(got.err).To(ContainSubstring(`"outside"`), "without a mount it is the path itself")

	got = invoke(t, env, "run", "--config", "/etc/hnsguard/nowhere.yaml")
	g.Expect(strings.Count(got.err, "nowhere.yaml")).To(BeNumerically(">=", 2), "both places were tried, and are named")

	got = invoke(t, env, "run", "--config", "/etc/hnsguard/unreadable.yaml")
	g.Expect(strings.Count(got.err, "unreadable.yaml")).To(Equal(1), "what is there counts, readable or not")
}

// Invariant 4.
func TestTheKubeconfigOfTheHostIsNotUsed(t *testing.T) {
	g := NewWithT(t)
	host := write(t, "kc", kubeconfig)
	got := invoke(t, map[string]string{"NODE_NAME": "win-1", "KUBECONFIG": host}, "run")
	g.Expect(got.code).To(Equal(cli.ExitUsage), "it needs a namespace too")
	g.Expect(got.err).To(ContainSubstring("this is not a pod"))
}

func TestRunNeedsWindows(t *testing.T) {
	pod := tempdir.New(t) // the root of a container whose mounts are only found below it
	token := filepath.Join(pod, "var", "run", "secrets", "kubernetes.io", "serviceaccount")
	if err := os.MkdirAll(token, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"token", "namespace"} {
		if err := os.WriteFile(filepath.Join(token, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		env  map[string]string
		args []string
	}{
		"with a kubeconfig": {nil, []string{"--kubeconfig", write(t, "kc", kubeconfig), "--namespace", "n"}},
		"as a pod": {map[string]string{
			"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443", "CONTAINER_SANDBOX_MOUNT_POINT": pod,
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := invoke(t, tc.env, append([]string{"run", "--node-name", "win-1"}, tc.args...)...)
			g.Expect(got.code).To(Equal(cli.ExitError))
			g.Expect(got.err).To(HavePrefix("hnsguard: run needs a Windows node: opening HNS"))
			g.Expect(got.err).To(ContainSubstring("this system has no HNS"))
		})
	}
}

func TestAPodWithoutToken(t *testing.T) {
	g := NewWithT(t)
	got := invoke(t, map[string]string{
		"NODE_NAME": "win-1", "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443",
		"CONTAINER_SANDBOX_MOUNT_POINT": tempdir.New(t),
	}, "run")
	g.Expect(got.err).To(ContainSubstring("no service account token"))
	g.Expect(strings.Count(got.err, "token: ")).To(BeNumerically(">=", 2), "both places were tried, and are named")
}

const (
	hnsData     = "../hnsdump/testdata/"
	clusterData = "../clusterdump/testdata/"
)

func scanArgs(hns, cluster, node string, more ...string) []string {
	return append([]string{"scan", "--node-name", node, "--hns-dump", hns, "--cluster-dump", cluster}, more...)
}

// Invariant 3.
func TestScanExitStatus(t *testing.T) {
	duplicate, cluster := hnsData+"derived-v2-duplicate.json", clusterData+"derived-v2-duplicate.json"
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"something would be removed": {scanArgs(duplicate, cluster, "akswin000001"), cli.ExitRemoval, ""},
		"nothing would be removed": {
			scanArgs(hnsData+"aks-1367-l2bridge-remotes.json", clusterData+"aks-1367.json", "akswin000000"), cli.ExitOK, "",
		},
		"as JSON":      {scanArgs(duplicate, cluster, "akswin000001", "-o", "json"), cli.ExitRemoval, ""},
		"as YAML":      {scanArgs(duplicate, cluster, "akswin000001", "-o", "yaml"), cli.ExitRemoval, ""},
		"as XML":       {scanArgs(duplicate, cluster, "akswin000001", "-o", "xml"), cli.ExitUsage, "must be json or yaml"},
		"excluded":     {scanArgs(duplicate, cluster, "akswin000001", "--config", ""), cli.ExitRemoval, ""},
		"another node": {scanArgs(duplicate, cluster, "win-9"), cli.ExitError, `no pod is on node "win-9"`},
		"no node":      {scanArgs(duplicate, cluster, ""), cli.ExitUsage, "--node-name"},
		"no file":      {scanArgs("nowhere.json", cluster, "akswin000001"), cli.ExitError, "nowhere.json"},
		"not a dump":   {scanArgs(cluster, duplicate, "akswin000001"), cli.ExitError, "derived-v2-duplicate.json"},
		"live, but this is not Windows": {
			[]string{"scan", "--node-name", "win-1", "--cluster-dump", cluster}, cli.ExitError, "use --hns-dump",
		},
		"live, but there is no cluster": {
			[]string{"scan", "--node-name", "win-1", "--hns-dump", duplicate}, cli.ExitError, "use --cluster-dump",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := invoke(t, nil, tc.args...)
			g.Expect(got.code).To(Equal(tc.code), got.err)
			g.Expect(got.err).To(ContainSubstring(tc.want))
			if tc.code == cli.ExitError {
				g.Expect(got.out).To(BeEmpty(), "there is no half report")
			} else if tc.code != cli.ExitUsage {
				g.Expect(got.out).To(ContainSubstring("10.240.0.11"))
			}
		})
	}
}

func TestScanNamesWhatIsBroken(t *testing.T) {
	good := clusterData + "aks-1367.json"
	valid, err := os.ReadFile(hnsData + "aks-1367-l2bridge-remotes.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		content string
		want    []string
	}{
		"a broken address": {
			strings.Replace(string(valid), `"10.240.0.11"`, `"10.240.0.311"`, 1),
			[]string{"dump.json:", "IPAddress", "10.240.0.311", "2462b2d1"},
		},
		"cut off":              {string(valid[:len(valid)/2]), []string{"dump.json:"}},
		"empty":                {"", []string{"dump.json"}},
		"something else":       {"hello", []string{"dump.json:1:1: found text instead of JSON"}},
		"UTF-16, broken too":   {utf16LE(strings.Replace(string(valid), `"10.240.0.11"`, `"x"`, 1)), []string{"dump.json:", "IPAddress"}},
		"two broken addresses": {strings.ReplaceAll(string(valid), `"10.240.0.1`, `"10.240.0.9991`), []string{"2462b2d1", "806b31aa"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := invoke(t, nil, scanArgs(write(t, "dump.json", tc.content), good, "akswin000000")...)
			g.Expect(got.code).To(Equal(cli.ExitError))
			for _, want := range tc.want {
				g.Expect(strings.ToLower(got.err)).To(ContainSubstring(strings.ToLower(want)))
			}
		})
	}
	g := NewWithT(t)
	got := invoke(t, nil, scanArgs(write(t, "dump.json", utf16LE(string(valid))), good, "akswin000000")...)
	g.Expect(got.code).To(Equal(cli.ExitOK), "as PowerShell's > writes it: %s", got.err)
}

// utf16LE writes text as Windows PowerShell's > does.
func utf16LE(s string) string {
	out := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(s)) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return string(out)
}
