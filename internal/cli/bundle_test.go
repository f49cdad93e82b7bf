// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/cli"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

// apiServer serves a cluster with one pod on win-1, as far as bundle needs it, and returns a kubeconfig for it.
func apiServer(t *testing.T) string {
	t.Helper()
	answers := map[string]string{
		"/api/v1/pods": `{"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"namespace": "shop", "name": "cart-0"},
			"spec": {"nodeName": "win-1", "containers": [{"name": "c", "env": [{"name": "PASSWORD", "value": "hunter2"}]}]},
			"status": {"phase": "Running", "podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}]}}]}`,
		"/apis/discovery.k8s.io/v1/endpointslices": `{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSliceList", "items": [
			{"metadata": {"namespace": "shop", "name": "web-x"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.1.9"]}]}]}`,
		"/api/v1/services": `{"apiVersion": "v1", "kind": "ServiceList", "items": []}`,
		"/api/v1/nodes/win-1": `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "win-1"},
			"status": {"nodeInfo": {"operatingSystem": "windows", "kubeletVersion": "v1.34.0"}}}`,
		"/api": `{"kind": "APIVersions", "versions": ["v1"]}`,
		"/apis": `{"kind": "APIGroupList", "apiVersion": "v1", "groups": [{"name": "discovery.k8s.io",
			"versions": [{"groupVersion": "discovery.k8s.io/v1", "version": "v1"}],
			"preferredVersion": {"groupVersion": "discovery.k8s.io/v1", "version": "v1"}}]}`,
		"/api/v1": `{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [
			{"name": "pods", "kind": "Pod", "namespaced": true, "verbs": ["get", "list"]},
			{"name": "services", "kind": "Service", "namespaced": true, "verbs": ["list"]},
			{"name": "nodes", "kind": "Node", "verbs": ["get"]}]}`,
		"/apis/discovery.k8s.io/v1": `{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "discovery.k8s.io/v1",
			"resources": [{"name": "endpointslices", "kind": "EndpointSlice", "namespaced": true, "verbs": ["list"]}]}`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if body, has := answers[r.URL.Path]; has {
			_, _ = w.Write([]byte(body))
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(s.Close)
	return write(t, "kc", strings.ReplaceAll(kubeconfig, "http://127.0.0.1:1", s.URL))
}

// staleNode returns a node with a stale endpoint for the pod's address.
func staleNode(t *testing.T) *hnstest.HNS {
	t.Helper()
	service := hnstest.New(hnstest.Options{})
	network := service.CreateNetwork("azure", hns.NetworkL2Bridge)
	addr := netip.MustParseAddr("10.0.0.2")
	for _, spec := range []hnstest.EndpointSpec{
		{Network: network.ID, Addresses: []netip.Addr{addr}, MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote},
		{Network: network.ID, Addresses: []netip.Addr{addr}},
	} {
		made, err := service.CreateEndpoint(spec)
		if err == nil && !made.Remote() {
			err = service.Attach(made.ID, service.CreateNamespace())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return service
}

func TestABundleIsReadElsewhere(t *testing.T) {
	g := NewWithT(t)
	kc, service := apiServer(t), staleNode(t)
	settings := map[string]string{
		"NODE_NAME": "win-1", "HNSGUARD_KUBE_PROXY_VERSION": "v1.37.2", // and no agent
		"HNSGUARD_PAGE_BIND_ADDRESS": "127.0.0.1:1", "HNSGUARD_METRICS_BIND_ADDRESS": "127.0.0.1:1",
		"HNSGUARD_CONFIG": write(t, "guard.yaml", "# password: hunter2\nexclusions: [10.9.0.0/16]\n"),
	}
	file := filepath.Join(tempdir.New(t), "bundle.zip")
	recorded := onNode(t, service, settings, "bundle", "--kubeconfig", kc, "--file", file)
	g.Expect(recorded.code).To(Equal(cli.ExitOK), recorded.err)
	g.Expect(recorded.out).To(Equal("Recorded node win-1 in " + file + ".\n"))
	g.Expect(recorded.err).To(ContainSubstring("Not recorded: agent/status.json (reading http://"))
	g.Expect(recorded.err).To(HaveSuffix("\n2 of 12 parts are missing.\n"))
	g.Expect(recorded.err).NotTo(ContainSubstring("Recording"), "there is no terminal")

	live := onNode(t, service, settings, "scan", "--kubeconfig", kc)
	g.Expect(live.code).To(Equal(cli.ExitFinding), live.err)
	elsewhere := invoke(t, nil, "scan", "--bundle", file)
	g.Expect(elsewhere.code).To(Equal(cli.ExitFinding), elsewhere.err)
	g.Expect(elsewhere.out).To(Equal(live.out))

	g.Expect(invoke(t, nil, "explain", "shop/cart-0", "--bundle", file).out).
		To(ContainSubstring("conflict (live-pod-with-local-endpoint)"))
	overruled := invoke(t, nil, "scan", "--bundle", file, "--kube-proxy-version", "v1.32.3", "--verdict", "conflict")
	g.Expect(overruled.out).To(ContainSubstring("kube-proxy v1.32.3 with stale-record"), "flags win")

	data, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred())
	var out, errs strings.Builder
	code := cli.Run(t.Context(), []string{"scan", "--bundle", "-"}, cli.Process{
		In: strings.NewReader(string(data)), Out: &out, Err: &errs, Env: func(string) (string, bool) { return "", false },
	})
	g.Expect(code).To(Equal(cli.ExitFinding), errs.String())
	g.Expect(out.String()).To(Equal(elsewhere.out))
}

// On the node, and from a bundle, explain shows the agent's acts.
func TestExplainTellsWhatTheAgentHasDone(t *testing.T) {
	g := NewWithT(t)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"apiVersion": "hnsguard.io/v1alpha1", "kind": "NodeReport", "node": "win-1", "state": "guarding", "history": [
			{"first": "2026-11-20T02:00:00Z", "last": "2026-11-20T03:00:00Z", "count": 3, "act": "removal", "result": "removed",
				"address": "10.0.0.2", "endpoint": "gone", "pods": ["shop/cart-0"]},
			{"first": "2026-11-20T03:00:00Z", "last": "2026-11-20T03:00:00Z", "count": 1, "act": "removal", "result": "failed",
				"address": "10.0.0.3"}]}`))
	}))
	t.Cleanup(agent.Close)
	kc, service := apiServer(t), staleNode(t)
	settings := map[string]string{
		"NODE_NAME": "win-1", "HNSGUARD_KUBE_PROXY_VERSION": "v1.37.2", "HNSGUARD_METRICS_BIND_ADDRESS": "127.0.0.1:1",
		"HNSGUARD_PAGE_BIND_ADDRESS": strings.TrimPrefix(agent.URL, "http://"),
	}
	const done = "What the agent has decided and done, the last first\n" +
		"  2026-11-20 03:00:00Z  removal removed, endpoint gone, pods shop/cart-0, 3\n" +
		"                        times since 2026-11-20 02:00:00Z\n"
	live := onNode(t, service, settings, "explain", "shop/cart-0", "--kubeconfig", kc)
	g.Expect(live.code).To(Equal(cli.ExitOK), live.err)
	g.Expect(live.out).To(ContainSubstring(done))
	g.Expect(live.out).NotTo(ContainSubstring("removal failed"), "that was another address")

	file := filepath.Join(tempdir.New(t), "bundle.zip")
	g.Expect(onNode(t, service, settings, "bundle", "--kubeconfig", kc, "--file", file).code).To(Equal(cli.ExitOK))
	g.Expect(invoke(t, nil, "explain", "10.0.0.2", "--bundle", file).out).To(ContainSubstring(done))

	log := filepath.Join(tempdir.New(t), "kube-proxy.log")
	g.Expect(os.WriteFile(log, []byte("I1120 02:29:59.000000    4711 hns.go:427] \"Queried load balancers\" count=1\n"+
		"I1120 02:30:00.000000    4711 proxier.go:1738] \"Endpoint deletion failed\" err=\"refused\" ip=\"10.0.0.2\"\n"), 0o600)).To(Succeed())
	const both = "What kube-proxy and the agent have done, the last first\n" +
		"  2026-11-20 03:00:00Z  removal removed, endpoint gone, pods shop/cart-0, 3\n" +
		"                        times since 2026-11-20 02:00:00Z\n" +
		"  2026-11-20 02:30:00Z  kube-proxy failed; Endpoint deletion failed: refused\n"
	g.Expect(invoke(t, nil, "explain", "10.0.0.2", "--bundle", file, "--kube-proxy-log", log).out).
		To(ContainSubstring(both))
	recorded := onNode(t, service, settings, "bundle", "--kubeconfig", kc, "--file", file, "--kube-proxy-log", log)
	g.Expect(recorded.code).To(Equal(cli.ExitOK), recorded.err)
	g.Expect(invoke(t, nil, "explain", "10.0.0.2", "--bundle", file).out).To(ContainSubstring(both))

	settings["HNSGUARD_PAGE_BIND_ADDRESS"] = "0"
	silent := onNode(t, service, settings, "explain", "shop/cart-0", "--kubeconfig", kc)
	g.Expect(silent.code).To(Equal(cli.ExitOK), silent.err)
	g.Expect(silent.out).To(ContainSubstring("Note: what the agent has done is not known: the agent serves no page"))
}

func TestABundleWithoutACluster(t *testing.T) {
	g := NewWithT(t)
	file := filepath.Join(tempdir.New(t), "bundle.zip")
	recorded := onNode(t, staleNode(t), nil, "bundle", "--node-name", "win-1", "--file", file)
	g.Expect(recorded.code).To(Equal(cli.ExitOK))
	const why = "connecting to the API server: this is not a pod"
	g.Expect(strings.Join(strings.Fields(recorded.err), " ")).To(ContainSubstring("Not recorded: cluster/pods.json (" + why))
	g.Expect(recorded.err).To(HaveSuffix(" parts are missing, and without them the node cannot be judged.\n"))
	for line := range strings.Lines(recorded.err) {
		g.Expect(line).To(Or(MatchRegexp(`^(Not recorded: | {14})\S`), MatchRegexp(`^\d+ of 12 parts`)), "a part has a paragraph")
	}
	got := invoke(t, nil, "scan", "--bundle", file)
	g.Expect(got.code).To(Equal(cli.ExitError))
	g.Expect(got.err).To(ContainSubstring("cluster/pods.json was not recorded: " + why))
}

func TestABundleToStdout(t *testing.T) {
	g := NewWithT(t)
	got := onNode(t, staleNode(t), nil, "bundle", "--node-name", "win-1", "-f", "-")
	g.Expect(got.code).To(Equal(cli.ExitOK))
	g.Expect(got.out).To(HavePrefix("PK"))
	g.Expect(got.out).NotTo(ContainSubstring("Recorded node"), "stdout has the file and nothing else")
}

func TestBundleReportsWhatIsWrong(t *testing.T) {
	nowhere := filepath.Join(tempdir.New(t), "missing", "bundle.zip")
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no file": {[]string{"bundle", "--node-name", "win-1"}, cli.ExitUsage, "--file is required"},
		"no node": {[]string{"bundle", "-f", "b.zip"}, cli.ExitUsage, "--node-name or $NODE_NAME is required"},
		"a wrong page": {
			[]string{"bundle", "--node-name", "w", "-f", "b.zip", "--page-bind-address", "x"}, cli.ExitUsage, `--page-bind-address "x"`,
		},
		"no such folder":  {[]string{"bundle", "--node-name", "w", "-f", nowhere}, cli.ExitError, "writing the bundle: open"},
		"bundle and dump": {[]string{"scan", "--bundle", "b.zip", "--hns-dump", "h.json"}, cli.ExitUsage, "--bundle: cannot be combined"},
		"no such bundle":  {[]string{"scan", "--bundle", nowhere}, cli.ExitError, "bundle.zip"},
		"not a bundle":    {[]string{"explain", "10.0.0.1", "--bundle", write(t, "b.zip", "hello")}, cli.ExitError, "this is not a zip file"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := onNode(t, hnstest.New(hnstest.Options{}), nil, tc.args...)
			g.Expect(got.code).To(Equal(tc.code), got.err)
			g.Expect(got.err).To(ContainSubstring(tc.want))
		})
	}
	for _, code := range []int{cli.ExitOK, cli.ExitError, cli.ExitUsage} {
		NewWithT(t).Expect(invoke(t, nil, "bundle", "--help").out).To(MatchRegexp(`(?m)^  %d  \S`, code))
	}
}
