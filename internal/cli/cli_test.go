// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/cli"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

// invocation is a run of the program in its own process, as far as tests need one.
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
	for name, args := range map[string][]string{"nothing": nil, "help": {"--help"}} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := invoke(t, nil, args...)
			g.Expect(got.code).To(Equal(cli.ExitOK))
			g.Expect(got.err).To(BeEmpty())
			g.Expect(got.out).To(ContainSubstring("Available Commands:"))
		})
	}
}

// A terminal of 80 columns breaks longer lines inside of words.
func TestHelpFitsATerminal(t *testing.T) {
	g := NewWithT(t)
	commands := regexp.MustCompile(`(?m)^  ([a-z]+)  `).FindAllStringSubmatch(invoke(t, nil, "--help").out, -1)
	g.Expect(len(commands)).To(BeNumerically(">", 8))
	for _, command := range append(commands, []string{"", "--help"}) {
		for line := range strings.Lines(invoke(t, nil, command[1], "--help").out) {
			if command[1] != "completion" { // it comes from cobra
				g.Expect(len(strings.TrimSuffix(line, "\n"))).To(BeNumerically("<=", 80), line)
			}
		}
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
		"argument":             {[]string{"run", "bogus"}, `"bogus": hnsguard run takes no arguments`, "hnsguard run"},
		"misspelled flag":      {[]string{"scan", "--hns-dmp", "x"}, "unknown flag: --hns-dmp\n  Did you mean --hns-dump?", "hnsguard scan"},
		"help about nothing":   {[]string{"help", "rum"}, "unknown command \"rum\" for \"hnsguard\"\n  Did you mean this?\n  \trun", "hnsguard"},
		"unknown flag":         {[]string{"run", "--bogus"}, "unknown flag: --bogus", "hnsguard run"},
		"flag without a value": {[]string{"run", "--mode"}, "flag needs an argument: --mode", "hnsguard run"},
		"no number":            {[]string{"status", "--timeout", "x"}, `invalid argument "x" for "--timeout"`, "hnsguard status"},
		"output":               {[]string{"version", "-o", "xml"}, `--output "xml": must be json, yaml or wide`, "hnsguard version"},
		"no node":              {[]string{"run"}, "--node-name or $NODE_NAME is required", "hnsguard run"},
		"mode":                 {[]string{"run", "--mode", "dry-run"}, `--mode "dry-run": must be enforce or observe`, "hnsguard run"},
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
			g.Expect(got.err).To(MatchRegexp(`(?m)^(hnsguard:| ) ` + regexp.QuoteMeta(tc.want)))
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

// Invariant 1, for flags and variables.
func TestAFlagWinsOverItsVariable(t *testing.T) {
	g := NewWithT(t)
	env := map[string]string{"NODE_NAME": "win-1", "HNSGUARD_KUBE_PROXY_VERSION": "banana"}
	got := invoke(t, env, "run")
	g.Expect(got.err).To(And(ContainSubstring(`--kube-proxy-version "banana"`), Not(ContainSubstring("--node-name"))))
	got = invoke(t, env, "run", "--kube-proxy-version", "v1.37.2")
	g.Expect(got.err).NotTo(ContainSubstring("--kube-proxy-version"))

	got = invoke(t, map[string]string{"HNSGUARD_MEMORY_LIMIT": "much", "HNSGUARD_METRICS_SECURE": "maybe"}, "run")
	g.Expect(got.code).To(Equal(cli.ExitUsage))
	g.Expect(got.err).To(And(ContainSubstring("$HNSGUARD_MEMORY_LIMIT: "), ContainSubstring("$HNSGUARD_METRICS_SECURE: ")))

	got = invoke(t, map[string]string{"HNSGUARD_MODE": "dry-run", "HNSGUARD_NETWORK": "x"}, "run")
	g.Expect(got.err).NotTo(Or(ContainSubstring("dry-run"), ContainSubstring("HNSGUARD_")), "other flags have no variable")
	help := invoke(t, nil, "run", "--help").out
	g.Expect(help).To(And(MatchRegexp(`--node-name +\$NODE_NAME\n`), MatchRegexp(`--memory-limit +\$HNSGUARD_MEMORY_LIMIT\n`)))
}

// Names from a recording or a cluster reach the terminal escaped, in errors too.
func TestErrorsAreEscaped(t *testing.T) {
	g := NewWithT(t)
	got := invoke(t, nil, "scan", "--node-name", "akswin000001", "--pod", "x/\x1b]52;c;aGk=\a", "--hns-dump", hnsData+"derived-v2-duplicate.json",
		"--cluster-dump", clusterData+"derived-v2-duplicate.json")
	g.Expect(got.code).To(Equal(cli.ExitError))
	g.Expect(got.err).To(And(ContainSubstring(`\u001b]52;c;aGk=\u0007`), Not(ContainSubstring("\x1b"))))
	got = invoke(t, nil, "scan\x1b[31m")
	g.Expect(got.code).To(Equal(cli.ExitUsage))
	g.Expect(got.err).NotTo(ContainSubstring("\x1b"))
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
	g.Expect(got.err).To(ContainSubstring("open /etc/hnsguard/nowhere.yaml: "))

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

// Invariant 4. With Calico it is a regular expression, which is not a network's name.
func TestTheNetworkVariableOfTheHostIsNotUsed(t *testing.T) {
	g := NewWithT(t)
	args := scanArgs(hnsData+"derived-v2-duplicate.json", clusterData+"derived-v2-duplicate.json", "akswin000001")
	got := invoke(t, map[string]string{"KUBE_NETWORK": "Calico.*"}, args...)
	g.Expect(got.code).To(Equal(cli.ExitFinding), got.err)
	got = invoke(t, nil, append(args, "--network", "cbr0")...)
	g.Expect(got.err).To(ContainSubstring(`no network is named "cbr0"`), "the flag is")
}

const (
	hnsData     = "../recording/testdata/hns/"
	clusterData = "../recording/testdata/cluster/"
)

func scanArgs(hns, cluster, node string, more ...string) []string {
	return append([]string{"scan", "--node-name", node, "--hns-dump", hns, "--cluster-dump", cluster}, more...)
}

// Invariant 3.
func TestScanExitStatus(t *testing.T) {
	duplicate, cluster := hnsData+"derived-v2-duplicate.json", clusterData+"derived-v2-duplicate.json"
	aks, aksCluster := hnsData+"aks-1367-l2bridge-remotes.json", clusterData+"aks-1367.json"
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"something would be removed": {scanArgs(duplicate, cluster, "akswin000001"), cli.ExitFinding, ""},
		"a pod without network":      {scanArgs(aks, aksCluster, "akswin000000"), cli.ExitFinding, ""},
		"of another pod than the one without network": {
			scanArgs(aks, aksCluster, "akswin000000", "--ip", "10.240.0.11"), cli.ExitOK, "",
		},
		"the mode is observe": {scanArgs(duplicate, cluster, "akswin000001", "--mode", "observe"), cli.ExitFinding, ""},
		"as JSON":             {scanArgs(duplicate, cluster, "akswin000001", "-o", "json"), cli.ExitFinding, ""},
		"as YAML":             {scanArgs(duplicate, cluster, "akswin000001", "-o", "yaml"), cli.ExitFinding, ""},
		"of an address":       {scanArgs(duplicate, cluster, "akswin000001", "--ip", "10.240.0.11"), cli.ExitFinding, ""},
		"of a Pod": {
			scanArgs(duplicate, cluster, "akswin000001", "--pod", "default/web-5c8d7f6b9-q4w2z"), cli.ExitFinding, "",
		},
		"excluded": {scanArgs(duplicate, cluster, "akswin000001", "--config", ""), cli.ExitFinding, ""},
		"another address": {
			scanArgs(duplicate, cluster, "akswin000001", "--ip", "10.240.0.10,10.240.0.27"), cli.ExitOK, "",
		},
		"another verdict": {
			scanArgs(duplicate, cluster, "akswin000001", "--verdict", "local", "--verdict", "in_use"), cli.ExitOK, "",
		},

		"as XML":    {scanArgs(duplicate, cluster, "akswin000001", "-o", "xml"), cli.ExitUsage, "must be json, yaml or wide"},
		"no node":   {scanArgs(duplicate, cluster, ""), cli.ExitUsage, "--node-name"},
		"bad flags": {[]string{"scan", "--nothing"}, cli.ExitUsage, "unknown flag: --nothing"},
		"bad filters": {
			scanArgs(duplicate, cluster, "akswin000001", "--ip", "10.0.0", "--pod", "web", "--verdict", "gone"), cli.ExitUsage,
			"hnsguard: --ip \"10.0.0\": must be an IP address\n  --pod \"web\": must be NAMESPACE/NAME\n" +
				"  --verdict \"gone\": must be one of [conflict ",
		},
		"no time": {
			scanArgs(duplicate, cluster, "akswin000001", "--hns-recorded", "yesterday"), cli.ExitUsage, `--hns-recorded "yesterday": must be a time`,
		},
		"the time of nothing": {
			[]string{"scan", "--node-name", "win-1", "--cluster-recorded", "2026-03-01T03:00:00Z"}, cli.ExitUsage, "of dumps that are given",
		},
		"HNS recorded before the pod started": {
			scanArgs(aks, aksCluster, "akswin000000", "--hns-recorded", "2000-03-01T03:00:00Z"), cli.ExitFinding, "",
		},
		"stdin twice": {scanArgs("-", "-", "akswin000001"), cli.ExitUsage, "stdin (-) can be given once only"},

		"another node": {scanArgs(duplicate, cluster, "win-9"), cli.ExitError, `there is no Node "win-9"`},
		"a Linux node": {
			scanArgs(duplicate, cluster, "aks-agentpool-000000"), cli.ExitError,
			`node "aks-agentpool-000000" runs linux, and only Windows nodes have HNS`,
		},
		"another Pod": {
			scanArgs(duplicate, cluster, "akswin000001", "--pod", "default/web"), cli.ExitError, "there is no Pod default/web in the cluster dump",
		},
		"no file": {scanArgs("nowhere.json", cluster, "akswin000001"), cli.ExitError, "nowhere.json"},
		"swapped dumps": {
			scanArgs(cluster, duplicate, "akswin000001"), cli.ExitError,
			"hnsguard: " + cluster + ":1:1: this is a recording of the cluster, not of HNS: pass it with --cluster-dump\n",
		},
		"a recording of HNS for the cluster": {
			scanArgs(duplicate, duplicate, "akswin000001"), cli.ExitError,
			duplicate + ":1:1: not a Kubernetes object: is of JSON type array; a recording of HNS is passed with --hns-dump\n",
		},
		"live, but this is not Windows": {
			[]string{"scan", "--node-name", "win-1", "--cluster-dump", cluster}, cli.ExitError, "pass --hns-dump",
		},
		"live, but the kubeconfig is missing": {
			[]string{"scan", "--node-name", "win-1", "--hns-dump", duplicate, "--kubeconfig", "/nowhere/kc"},
			cli.ExitError, "reading kubeconfig",
		},

		"there is no cluster": {
			[]string{"scan", "--node-name", "win-1", "--hns-dump", duplicate},
			cli.ExitError,
			"cannot judge endpoints without the Pods and EndpointSlices of the cluster",
		},
		"there is no cluster, and a file that is one": {
			[]string{"scan", "--node-name", "win-1", "--hns-dump", cluster}, cli.ExitError, "pass it with --cluster-dump",
		},
		"there are no endpoints": {
			scanArgs(hnsData+"calico-7305-loadbalancer.json", aksCluster, "akswin000000"), cli.ExitError,
			"cannot judge: the HNS dump has no endpoints",
		},
		"there is no pod network": {
			scanArgs(hnsData+"calico-4682-overlay-local.json", aksCluster, "akswin000000", "--network", "x"),
			cli.ExitError,
			"cannot judge: pod network not found: no network is named \"x\"; HNS has \"Calico\" (type unknown, " +
				"7a6b5c4d-3e2f-4a1b-9c8d-7e6f5a4b3c2d)\n  Record the networks too",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := invoke(t, nil, tc.args...)
			g.Expect(got.code).To(Equal(tc.code), got.err)
			g.Expect(got.err).To(ContainSubstring(tc.want))
			if tc.want != "" {
				g.Expect(got.out).To(BeEmpty(), "there is no half report")
			} else {
				g.Expect(got.out).To(ContainSubstring("10.240.0."))
			}
		})
	}
}

// Invariant 3: if all endpoints are unknown, this is reported, and is not a success.
func TestScanOfUnknownEndpoints(t *testing.T) {
	g := NewWithT(t)
	dump := write(t, "selected.json", `[{"ID":"2462b2d1-c402-4024-9c86-5a6903af7759","IPAddress":"10.240.0.11"},
 {"ID":"806b31aa-1c20-494b-9c18-170e59276b55","IPAddress":"10.240.0.10"}]`)
	got := invoke(t, nil, scanArgs(dump, clusterData+"aks-1367.json", "akswin000000")...)
	g.Expect(got.code).To(Equal(cli.ExitError))
	g.Expect(got.err).To(BeEmpty())
	g.Expect(got.out).To(ContainSubstring("0 of 2 endpoints would be removed; 2 cannot be judged."))
	g.Expect(strings.Join(strings.Fields(got.out), " ")).To(ContainSubstring("without Select-Object"))

	got = invoke(t, nil, scanArgs(dump, clusterData+"aks-1367.json", "akswin000000", "-o", "json")...)
	g.Expect(got.code).To(Equal(cli.ExitError))
	g.Expect(got.out).To(ContainSubstring(`"undecided": 2`))
}

func TestScanReadsStdin(t *testing.T) {
	hns, cluster := hnsData+"derived-v2-duplicate.json", clusterData+"derived-v2-duplicate.json"
	for name, tc := range map[string]struct{ stdin, hns, cluster string }{
		"the cluster": {cluster, hns, "-"},
		"HNS":         {hns, "-", cluster},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			data, err := os.ReadFile(tc.stdin)
			g.Expect(err).NotTo(HaveOccurred())
			for stdin, want := range map[string]int{
				string(data): cli.ExitFinding, utf16LE(string(data)): cli.ExitFinding, string(data[:len(data)/2]): cli.ExitError, "": cli.ExitError,
			} {
				var out, errs strings.Builder
				code := cli.Run(t.Context(), scanArgs(tc.hns, tc.cluster, "akswin000001"), cli.Process{
					In: strings.NewReader(stdin), Out: &out, Err: &errs, Env: func(string) (string, bool) { return "", false },
				})
				g.Expect(code).To(Equal(want), errs.String())
				if want == cli.ExitError {
					g.Expect(errs.String()).To(HavePrefix("hnsguard: stdin:"))
				}
			}
		})
	}
}

// The help documents the actual exit statuses.
func TestScanHelpDocumentsEveryExitStatus(t *testing.T) {
	g := NewWithT(t)
	help := invoke(t, nil, "scan", "--help").out
	for _, code := range []int{cli.ExitOK, cli.ExitError, cli.ExitUsage, cli.ExitFinding} {
		g.Expect(help).To(MatchRegexp(`(?m)^  %d  \S`, code))
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
		"cut off":              {string(valid[:len(valid)/2]), []string{"dump.json:", "the file is truncated"}},
		"empty":                {"", []string{"dump.json:1:1: the file is empty"}},
		"something else":       {"hello", []string{"dump.json:1:1: found no HNS object in JSON"}},
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
	g.Expect(got.code).To(Equal(cli.ExitFinding), "as PowerShell's > writes it: %s", got.err)
}

// utf16LE encodes text like > in Windows PowerShell.
func utf16LE(s string) string {
	out := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(s)) {
		out = append(out, byte(unit), byte(unit>>8))
	}
	return string(out)
}
