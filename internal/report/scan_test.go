// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

func input(t *testing.T, node, cluster string, hns ...string) report.Input {
	t.Helper()
	in := report.Input{
		Node: node, Config: config.Default(), KubeProxy: kubeproxy.ProfileOf("v1.34.0"),
		Now: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC),
	}
	var files []recording.File
	for _, name := range hns {
		files = append(files, recording.File{Name: name, Data: file(t, "../recording/testdata/hns", name)})
	}
	var err error
	if in.HNS, err = recording.ReadHNS(files...); err != nil {
		t.Fatal(err)
	}
	recorded := recording.File{Name: cluster, Data: file(t, "../recording/testdata/cluster", cluster)}
	if in.Cluster, err = recording.ReadCluster(recorded); err != nil {
		t.Fatal(err)
	}
	return in
}

func file(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// verdicts returns the verdicts of a report, by the first address and the kind of the endpoint.
func verdicts(r report.Report) map[string]string {
	found := map[string]string{}
	for _, row := range r.Endpoints {
		addr := "-"
		if len(row.Addresses) > 0 {
			addr = row.Addresses[0].String()
		}
		found[addr+" "+row.Kind] = string(row.Verdict) + ": " + string(row.Reason)
	}
	return found
}

// Each dump is one from a user's problem report; testdata/README.md names the sources.
func TestRecordedDumps(t *testing.T) {
	for _, tc := range []struct {
		name, node, cluster string
		hns                 []string
		want                map[string]string
		removable           int
	}{
		{
			"AKS, V1 array", "akswin000000", "aks-1367.json",
			[]string{"aks-1367-l2bridge-remotes.json"},
			map[string]string{
				"10.240.0.11 remote": "in_use: listed-ready-elsewhere",
				"10.240.0.10 remote": "contested: pod-without-local-endpoint",
			},
			0,
		},
		{
			"the same as collectlogs writes it, with load balancers", "akswin000000", "aks-1367.json",
			[]string{"collectlogs-endpoint.txt", "collectlogs-policy.txt", "collectlogs-network.txt"},
			map[string]string{
				"10.240.0.11 remote": "in_use: listed-ready-elsewhere",
				"10.240.0.10 remote": "contested: pod-without-local-endpoint",
			},
			0,
		},
		{
			"a duplicate, V2", "akswin000001", "derived-v2-duplicate.json",
			[]string{"derived-v2-duplicate.json"},
			map[string]string{
				"10.240.0.11 remote": "conflict: live-pod-with-local-endpoint",
				"10.240.0.11 local":  "local: local-pod",
				"10.240.0.10 remote": "in_use: listed-ready-elsewhere",
				"10.240.0.27 local":  "local: local-without-pod",
			},
			1,
		},
		{
			"flannel's own remote endpoint", "linux-1", "flannel-922.yaml",
			[]string{"flannel-922-overlay-remote.json"},
			map[string]string{"10.244.2.141 remote": "foreign: not-made-by-kube-proxy"},
			0,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := NewWithT(t)
			in := input(t, tc.node, tc.cluster, tc.hns...)
			found := judge(t, in)
			g.Expect(found.Endpoints).To(HaveLen(len(in.HNS.Endpoints)), "every endpoint is reported")
			g.Expect(found.Removable).To(Equal(tc.removable))
			g.Expect(found.Undecided).To(BeZero())
			g.Expect(verdicts(found)).To(Equal(tc.want))
		})
	}
}

func judge(t *testing.T, in report.Input) report.Report {
	t.Helper()
	found, err := report.Judge(in)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return found
}

// Invariant 2: an incomplete record is unknown, and so is a remote endpoint whose address it may have.
func TestIncompleteRecords(t *testing.T) {
	const remote, other, local, leaked = "2462b2d1-c402-4024-9c86-5a6903af7759", "806b31aa-1c20-494b-9c18-170e59276b55",
		"0f1e2d3c-4b5a-4697-8887-969504132231", "3b5d7f91-a2c4-4e6f-8091-b2d4f6081a3c"
	duplicate := func(t *testing.T) report.Input {
		t.Helper()
		return input(t, "akswin000001", "derived-v2-duplicate.json", "derived-v2-duplicate.json")
	}
	t.Run("a local endpoint", func(t *testing.T) {
		g := NewWithT(t)
		in := duplicate(t)
		in.HNS.Incomplete = map[hns.EndpointID]string{local: "local or remote"}
		found := judge(t, in)
		g.Expect(verdicts(found)).To(And(
			HaveKeyWithValue("10.240.0.11 unknown", "unknown: not recorded: local or remote"),
			HaveKeyWithValue("10.240.0.11 remote", "unknown: endpoint "+local+" may have the address"),
			HaveKeyWithValue("10.240.0.10 remote", "in_use: listed-ready-elsewhere"),
		))
		g.Expect(found.Removable).To(BeZero())
		g.Expect(found.Undecided).To(Equal(2))
		g.Expect(found.Notes).To(ContainElement(HavePrefix("the records of 1 endpoints are incomplete")))
	})
	t.Run("one of unknown address", func(t *testing.T) {
		g := NewWithT(t)
		in := duplicate(t)
		in.HNS.Incomplete = map[hns.EndpointID]string{leaked: "local or remote"}
		in.HNS.Endpoints[3].Addresses = nil
		found := judge(t, in)
		g.Expect(verdicts(found)).To(And(
			HaveKeyWithValue("10.240.0.11 remote", "unknown: endpoint "+leaked+" may have the address"),
			HaveKeyWithValue("10.240.0.10 remote", "unknown: endpoint "+leaked+" may have the address"),
			HaveKeyWithValue("10.240.0.11 local", "local: local-pod"),
		))
		g.Expect(found.Undecided).To(Equal(3))
	})
	t.Run("a remote endpoint", func(t *testing.T) {
		g := NewWithT(t)
		in := duplicate(t)
		in.HNS.Incomplete = map[hns.EndpointID]string{remote: "MAC address"}
		found := judge(t, in)
		g.Expect(verdicts(found)).To(And(
			HaveKeyWithValue("10.240.0.11 remote", "unknown: not recorded: MAC address"),
			HaveKeyWithValue("10.240.0.11 local", "local: local-pod"),
		))
		g.Expect(found.Undecided).To(Equal(1))
	})
	t.Run("all", func(t *testing.T) {
		g := NewWithT(t)
		in := duplicate(t)
		in.HNS.Networks = nil
		in.HNS.Incomplete = map[hns.EndpointID]string{remote: "network", other: "network", local: "network", leaked: "network"}
		found := judge(t, in)
		g.Expect(found.Endpoints).To(HaveLen(4))
		g.Expect(found.Undecided).To(Equal(4))
	})
}

// Invariant 2: the duplicate's address is listed elsewhere too. Whether it is removed or held depends on the version.
func TestVerdictsThatDependOnAnUnknownVersion(t *testing.T) {
	g := NewWithT(t)
	in := input(t, "akswin000001", "derived-v2-duplicate.json", "derived-v2-duplicate.json")
	for _, slice := range in.Cluster.Slices {
		for i, endpoint := range slice.Endpoints {
			if slices.Contains(endpoint.Addresses, "10.240.0.11") {
				slice.Endpoints[i].NodeName = new("aks-agentpool-000000")
			}
		}
	}
	for version, want := range map[string]string{
		"v1.32.3": "held: kube-proxy-would-delete-the-pod",
		"v1.34.0": "conflict: live-pod-with-local-endpoint",
		"":        "unknown: held or conflict, by the version of kube-proxy",
	} {
		in.KubeProxy = kubeproxy.ProfileOf(version)
		found := judge(t, in)
		g.Expect(verdicts(found)).To(And(
			HaveKeyWithValue("10.240.0.11 remote", want), HaveKeyWithValue("10.240.0.10 remote", "in_use: listed-ready-elsewhere"),
		))
		undecided := map[string]int{"": 1}
		g.Expect(found.Undecided).To(Equal(undecided[version]))
		hint := ContainElement("the version of kube-proxy is unknown; pass --kube-proxy-version (the kubelet is v1.32.3; " +
			"its kube-proxy often has the same version, but verify it)")
		if version != "" {
			hint = Not(hint)
		}
		g.Expect(found.Notes).To(hint, "the Node is a hint, and never the version")
	}
	in.KubeProxy = kubeproxy.ProfileOf("")
	in.Cluster.Nodes[1].Status.NodeInfo = corev1.NodeSystemInfo{OperatingSystem: "windows", KubeletVersion: "v1.34.1"} // as from 1.33 on
	g.Expect(judge(t, in).Notes).To(ContainElement(ContainSubstring("the kubelet is v1.34.1;")))
}

// Invariant 3, and what must be known for it.
func TestOrphansNeedLoadBalancersButNoTime(t *testing.T) {
	g := NewWithT(t)
	in := input(t, "akswin000000", "aks-1367.json", "aks-1367-l2bridge-remotes.json")
	in.Cluster.Pods = nil // the pod with 10.240.0.10 is gone
	in.Cluster.Whole = true
	found := judge(t, in)
	g.Expect(verdicts(found)).To(HaveKeyWithValue("10.240.0.10 remote", "orphan_pending: load-balancers-unknown"))
	g.Expect(found.Notes).To(ContainElement(And(HavePrefix("load-balancers-unknown: "), ContainSubstring("Get-HnsPolicyList"))))
	g.Expect(found.Undecided).To(Equal(1), "it may be an orphan")

	in.HNS.LoadBalancersRecorded = true
	found = judge(t, in)
	g.Expect(verdicts(found)).To(HaveKeyWithValue("10.240.0.10 remote", "orphan: unclaimed"))
	g.Expect(found.Notes).To(ContainElement(ContainSubstring("unused for 5m0s, which a single scan cannot see")))
	g.Expect(found.Endpoints[0].Verdict).To(Equal(verdict.Orphan), "what would be removed comes first")
	g.Expect(found.Undecided).To(BeZero())

	in.KubeProxy = kubeproxy.ProfileOf("v1.32.3")
	found = judge(t, in)
	g.Expect(verdicts(found)).To(HaveKeyWithValue("10.240.0.10 remote", "orphan: unclaimed"))
	g.Expect(found.Notes).To(ContainElement(HavePrefix("do not delete these endpoints by hand")))
	in.KubeProxy = kubeproxy.ProfileOf("")
	g.Expect(judge(t, in).Notes).To(ContainElement(HavePrefix("do not delete these endpoints by hand")))

	in.Cluster.Slices = nil
	found = judge(t, in)
	g.Expect(verdicts(found)).To(HaveKeyWithValue("10.240.0.10 remote", "orphan_pending: no-slices-known"))
	g.Expect(found.Notes).To(ContainElement(ContainSubstring("not those of all namespaces")))
	g.Expect(found.Undecided).To(Equal(2))

	in = input(t, "akswin000000", "aks-1367.json", "aks-1367-l2bridge-remotes.json")
	in.Cluster.Pods, in.Cluster.Whole, in.HNS.LoadBalancersRecorded = nil, true, true
	in.HNS.Networks[0].Type, in.Cluster.ServicesRecorded = hns.NetworkOverlay, false
	found = judge(t, in)
	g.Expect(verdicts(found)).To(HaveKeyWithValue("10.240.0.10 remote", "orphan_pending: services-unknown"))
	g.Expect(found.Notes).To(ContainElement(HavePrefix("services-unknown: ")))
	g.Expect(found.Undecided).To(Equal(1))
}

func TestInputThatLeavesOutTooMuch(t *testing.T) {
	for name, tc := range map[string]struct {
		change    func(*report.Input)
		complaint string
		undecided bool
	}{
		"no endpoints": {
			func(in *report.Input) { in.HNS.EndpointsRecorded = false },
			"cannot judge: the HNS dump has no endpoints; record them with Get-HnsEndpoint", true,
		},
		"no pods": {
			func(in *report.Input) { in.Cluster.PodsRecorded, in.Cluster.Pods = false, nil },
			"cannot judge: the cluster dump has no Pods or no EndpointSlices", true,
		},
		"no slices": {
			func(in *report.Input) { in.Cluster.SlicesRecorded = false },
			"no Pods or no EndpointSlices; record them with kubectl get nodes,pods,endpointslices,services", true,
		},
		"no network": {func(in *report.Input) { in.HNS.Networks = nil }, "cannot judge: no pod network", true},
		"networks that were not recorded": {
			func(in *report.Input) { in.HNS.Networks = nil }, "\nRecord the networks too, and pass them as another dump: Get-HnsNetwork", true,
		},
		"other network": {
			func(in *report.Input) { in.Config.Network = "cbr0" }, `no network is named "cbr0"; HNS has "azure"`, true,
		},
		// Invariant 5.
		"a Linux node": {
			func(in *report.Input) { in.Node = "aks-nodepool1-000000" },
			`node "aks-nodepool1-000000" runs linux, and only Windows nodes have HNS; the recorded Windows nodes are akswin000000`,
			false,
		},
		"another node": {
			func(in *report.Input) { in.Node = "win-9" },
			`there is no Node "win-9"; the recorded Windows nodes are akswin000000`, false,
		},
		"another node, and no Nodes": {
			func(in *report.Input) { in.Node, in.Cluster.Nodes, in.Cluster.NodesRecorded = "win-9", nil, false },
			`there is no Pod on node "win-9"; there are Pods on aks-nodepool1-000000, akswin000000`, false,
		},
		"a Pod that was not recorded": {
			func(in *report.Input) { in.Filter.Pods = []types.NamespacedName{{Namespace: "default", Name: "gone"}} },
			"there is no Pod default/gone in the cluster dump", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in := input(t, "akswin000000", "aks-1367.json", "aks-1367-l2bridge-remotes.json")
			tc.change(&in)
			_, err := report.Judge(in)
			g.Expect(err).To(MatchError(ContainSubstring(tc.complaint)))
			g.Expect(errors.Is(err, report.ErrCannotJudge)).To(Equal(tc.undecided))
		})
	}
}

// A dump without Nodes, as older instructions recorded it, is judged. The report says what was not verified.
func TestAnUnverifiedNode(t *testing.T) {
	g := NewWithT(t)
	in := input(t, "akswin000000", "aks-1367.json", "aks-1367-l2bridge-remotes.json")
	g.Expect(judge(t, in).Notes).NotTo(ContainElement(ContainSubstring("is a Windows node")))
	in.Cluster.Nodes, in.Cluster.NodesRecorded = nil, false
	found := judge(t, in)
	g.Expect(found.Endpoints).To(HaveLen(2))
	g.Expect(found.Notes).To(ContainElement(HavePrefix("nothing in the cluster dump shows that akswin000000 is a Windows node")))
}

func TestFilter(t *testing.T) {
	web := types.NamespacedName{Namespace: "default", Name: "web-5c8d7f6b9-q4w2z"}
	dns := types.NamespacedName{Namespace: "kube-system", Name: "coredns-6f7d9c5b8-2xk9p"}
	waiting := types.NamespacedName{Namespace: "default", Name: "batch-27h5x"}
	for name, tc := range map[string]struct {
		filter    report.Filter
		want      []string
		removable int
		said      string
	}{
		"an address": {
			report.Filter{Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.11")}},
			[]string{"10.240.0.11 remote", "10.240.0.11 local"},
			1, "",
		},
		"two addresses": {
			report.Filter{Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.10"), netip.MustParseAddr("10.240.0.27")}},
			[]string{"10.240.0.10 remote", "10.240.0.27 local"},
			0, "",
		},
		"an address that HNS does not have": {
			report.Filter{Addresses: []netip.Addr{netip.MustParseAddr("10.9.9.9")}},
			nil, 0, "",
		},
		"an endpoint, and those with its address": {
			report.Filter{Endpoint: "0f1e2d3c-4b5a-4697-8887-969504132231"}, []string{"10.240.0.11 remote", "10.240.0.11 local"}, 1, "",
		},
		"an unknown endpoint": {report.Filter{Endpoint: "gone"}, nil, 0, ""},
		"a Pod of the node": {
			report.Filter{Pods: []types.NamespacedName{web}}, []string{"10.240.0.11 remote", "10.240.0.11 local"}, 1, "",
		},
		"a Pod of another node": {report.Filter{Pods: []types.NamespacedName{dns}}, []string{"10.240.0.10 remote"}, 0, ""},
		"a Pod without an address": {
			report.Filter{Pods: []types.NamespacedName{waiting}}, nil, 0, "Pod default/batch-27h5x is Pending",
		},
		"a verdict": {
			report.Filter{Verdicts: []verdict.Kind{verdict.Local, verdict.InUse}},
			[]string{"10.240.0.10 remote", "10.240.0.11 local", "10.240.0.27 local"},
			0, "",
		},
		"a verdict that no endpoint has": {report.Filter{Verdicts: []verdict.Kind{verdict.Held}}, nil, 0, ""},
		"a Pod and a verdict": {
			report.Filter{Pods: []types.NamespacedName{web}, Verdicts: []verdict.Kind{verdict.Conflict}},
			[]string{"10.240.0.11 remote"},
			1, "",
		},
		"a Pod and an address of another": {
			report.Filter{Pods: []types.NamespacedName{web}, Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.10")}},
			nil, 0, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			in := input(t, "akswin000001", "derived-v2-duplicate.json", "derived-v2-duplicate.json")
			in.Filter = tc.filter
			found := judge(t, in)
			g.Expect(slices.Collect(maps.Keys(verdicts(found)))).To(ConsistOf(tc.want))
			g.Expect(found.Removable).To(Equal(tc.removable))
			g.Expect(found.Omitted).To(Equal(4 - len(tc.want)))
			var out strings.Builder
			g.Expect(found.Print(&out)).To(Succeed())
			g.Expect(out.String()).To(ContainSubstring(tc.said))
			if len(tc.want) == 0 {
				g.Expect(out.String()).To(ContainSubstring("\nNone of the 4 endpoints matches the filter.\n"))
			} else {
				g.Expect(out.String()).To(ContainSubstring("; %d do not match the filter.\n", found.Omitted))
			}
		})
	}
}

func TestPrint(t *testing.T) {
	g := NewWithT(t)
	found := judge(t, input(t, "akswin000001", "derived-v2-duplicate.json", "derived-v2-duplicate.json"))
	var out strings.Builder
	g.Expect(found.Print(&out)).To(Succeed())
	g.Expect(out.String()).To(HavePrefix(`Node akswin000001, pod network 1b2c3d4e-5f60-4718-8a9b-0c1d2e3f4a5b, kube-proxy
v1.34.0 with batch-leak, duplicates, builds-on-leaked-locals
Mode: enforce

ENDPOINT  IP           VERDICT   POD
2462b2d1  10.240.0.11  conflict  default/web-5c8d7f6b9-q4w2z
806b31aa  10.240.0.10  in_use    -
`))
	var wide strings.Builder
	g.Expect(found.PrintWide(&wide)).To(Succeed())
	lines := strings.Split(wide.String(), "\n")
	g.Expect(lines[4]).To(MatchRegexp(`^ENDPOINT +IP +KIND +OWNER +VERDICT +REASON +POD$`))
	g.Expect(lines[5]).To(MatchRegexp(`^[0-9a-f-]{36}  10\.240\.0\.11  remote  kube-proxy .*  conflict +live-pod-with-local-endpoint +\S+/\S+$`))
	g.Expect(out.String()).To(ContainSubstring("\n1 of 4 endpoints would be removed.\n\n1 stale remote endpoint: 10.240.0.11\n  because "))
	g.Expect(out.String()).To(HaveSuffix("\n\nNote: load balancers cannot be judged: they were not recorded; " +
		"record them with\n      Get-HnsPolicyList | ConvertTo-Json -Depth 10 > policies.json.\n"))

	data, err := json.Marshal(found)
	g.Expect(err).NotTo(HaveOccurred())
	var again report.Report
	g.Expect(json.Unmarshal(data, &again)).To(Succeed())
	g.Expect(again).To(Equal(found), "the JSON form loses nothing")
}

func TestPrintOfOtherReports(t *testing.T) {
	for want, found := range map[string]report.Report{
		"Node w, pod network -, kube-proxy of unknown version\nMode: observe\n\nNothing.\n": {Node: "w", Mode: "observe", Summary: "Nothing."},
		"kube-proxy v1.37.2 with a, b\n": {
			KubeProxy: report.KubeProxy{Version: "v1.37.2", Known: true, Faults: []string{"a", "b"}},
		},
		"\nSomething.\nNote: a.\nNote: b.\n": {
			Summary: "Something.", Endpoints: []report.Endpoint{{Verdict: "unknown"}}, Notes: []string{"a", "b"},
		},
	} {
		var out strings.Builder
		g := NewWithT(t)
		g.Expect(found.Print(&out)).To(Succeed())
		g.Expect(out.String()).To(ContainSubstring(want))
	}
}

// A recording may come from a stranger: its names start no row, and do not control the terminal.
func TestHostileNamesAreShownEscaped(t *testing.T) {
	const hostile = "web\x1b]52;c;aGk=\a\n0f1e2d3c  10.0.0.1  remote\u202e"
	const shown = `web\u001b]52;c;aGk=\u0007\u000a0f1e2d3c  10.0.0.1  remote\u202e`
	addr := []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	found := report.Report{
		Node: hostile, Network: &report.Network{Name: hostile}, KubeProxy: report.KubeProxy{Version: hostile, Known: true}, Mode: "enforce",
		Endpoints: []report.Endpoint{{
			ID: hostile, Addresses: addr, Kind: "remote", Owner: "kube-proxy", Verdict: "conflict", Pods: []string{hostile},
		}},
		Pods:     []report.Pod{{Name: hostile, State: verdict.PodWithoutNetwork}},
		Findings: []report.Finding{{Title: hostile, Objects: []string{hostile}, Answer: report.Answer{Because: hostile}}}, Notes: []string{hostile},
	}
	explained := found.Explain(report.Filter{Addresses: addr}, []history.Entry{{Address: addr[0], Detail: hostile}})
	for name, printed := range map[string]interface{ Print(w io.Writer) error }{"scan": found, "explain": explained} {
		g := NewWithT(t)
		var out strings.Builder
		g.Expect(printed.Print(&out)).To(Succeed())
		g.Expect(out.String()).NotTo(ContainSubstring("\x1b"), name)
		g.Expect(out.String()).NotTo(MatchRegexp(`(?m)^0f1e2d3c`), name)
		g.Expect(strings.Join(strings.Fields(out.String()), " ")).To(ContainSubstring(strings.Join(strings.Fields(shown), " ")), name)
	}
}
