// SPDX-License-Identifier: Apache-2.0

package scan_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	clusterdump "github.com/hnsguard/hnsguard/internal/cluster/recorded"
	"github.com/hnsguard/hnsguard/internal/config"
	hnsdump "github.com/hnsguard/hnsguard/internal/hns/recorded"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/scan"
)

func input(t *testing.T, node, cluster string, hns ...string) scan.Input {
	t.Helper()
	in := scan.Input{
		Node: node, Config: config.Default(), KubeProxy: kubeproxy.ProfileOf("v1.34.0"),
		Now: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC),
	}
	var dumps []hnsdump.Dump
	for _, name := range hns {
		dump, err := hnsdump.Read(name, file(t, "../hns/recorded/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		dumps = append(dumps, dump)
	}
	var err error
	if in.HNS, err = hnsdump.Merge(dumps...); err != nil {
		t.Fatal(err)
	}
	if in.Cluster, err = clusterdump.Read(cluster, file(t, "../cluster/recorded/testdata", cluster)); err != nil {
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

// verdicts are what a report says, by the first address and the kind of the endpoint.
func verdicts(r scan.Report) map[string]string {
	found := map[string]string{}
	for _, row := range r.Endpoints {
		addr := "-"
		if len(row.Addresses) > 0 {
			addr = row.Addresses[0].String()
		}
		found[addr+" "+row.Kind] = row.Verdict + ": " + row.Reason
	}
	return found
}

// Each dump is what somebody had when they reported a problem; testdata/README.md names the sources.
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
			"EKS, Format-Table tells too little", "ip-192-168-7-47.us-west-1.compute.internal", "wc-631.json",
			[]string{"wc-631-format-table.txt"},
			nil, 0,
		},
		{
			"flannel's own remote endpoint", "linux-1", "flannel-922.yaml",
			[]string{"flannel-922-overlay-remote.json"},
			map[string]string{"10.244.2.141 remote": "foreign: not-made-by-kube-proxy"},
			0,
		},
		{
			"Calico, Format-List", "windows-1", "rke2-calico.yaml",
			[]string{"rke2-calico-format-list.txt"},
			map[string]string{"10.42.213.221 local": "local: local-pod"},
			0,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := NewWithT(t)
			in := input(t, tc.node, tc.cluster, tc.hns...)
			report, err := scan.Judge(in)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(report.Endpoints).To(HaveLen(len(in.HNS.Endpoints)), "every endpoint is reported")
			g.Expect(report.Removable).To(Equal(tc.removable))
			if tc.want != nil {
				g.Expect(verdicts(report)).To(Equal(tc.want))
				return
			}
			for _, row := range report.Endpoints {
				g.Expect(row.Verdict).To(Equal("unknown"))
				g.Expect(row.Reason).To(HavePrefix("not recorded: "))
			}
			g.Expect(report.Notes).To(ContainElement(ContainSubstring("cannot be judged")))
		})
	}
}

// Invariant 3, and what has to be known for it.
func TestOrphansNeedLoadBalancersButNoTime(t *testing.T) {
	g := NewWithT(t)
	in := input(t, "akswin000000", "aks-1367.json", "aks-1367-l2bridge-remotes.json")
	in.Cluster.Pods = nil // the pod with 10.240.0.10 has gone
	report, err := scan.Judge(in)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(verdicts(report)).To(HaveKeyWithValue("10.240.0.10 remote", "orphan_pending: load-balancers-unknown"))
	g.Expect(report.Notes).To(ContainElement(ContainSubstring("load balancers were not recorded")))

	in.HNS.LoadBalancersRecorded = true
	report, err = scan.Judge(in)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(verdicts(report)).To(HaveKeyWithValue("10.240.0.10 remote", "orphan: unclaimed"))
	g.Expect(report.Notes).To(ContainElement(ContainSubstring("nobody has used their address for 5m0s")))
	g.Expect(report.Endpoints[0].Verdict).To(Equal("orphan"), "what would be removed comes first")
}

func TestInputThatLeavesOutTooMuch(t *testing.T) {
	for name, tc := range map[string]struct {
		change    func(*scan.Input)
		complaint string
	}{
		"no endpoints":  {func(in *scan.Input) { in.HNS.EndpointsRecorded = false }, "says anything about endpoints"},
		"no pods":       {func(in *scan.Input) { in.Cluster.PodsRecorded = false }, "no pods or no EndpointSlices"},
		"no slices":     {func(in *scan.Input) { in.Cluster.SlicesRecorded = false }, "no pods or no EndpointSlices"},
		"another node":  {func(in *scan.Input) { in.Node = "win-9" }, `no pod is on node "win-9"; there are pods on aks-nodepool1-000000, akswin000000`},
		"no network":    {func(in *scan.Input) { in.HNS.Networks = nil }, "HNS has no networks at all"},
		"other network": {func(in *scan.Input) { in.Config.Network = "cbr0" }, `no network is called "cbr0"; HNS has "azure"`},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(t, "akswin000000", "aks-1367.json", "aks-1367-l2bridge-remotes.json")
			tc.change(&in)
			_, err := scan.Judge(in)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tc.complaint)))
		})
	}
}

func TestPrint(t *testing.T) {
	g := NewWithT(t)
	report, err := scan.Judge(input(t, "akswin000001", "derived-v2-duplicate.json", "derived-v2-duplicate.json"))
	g.Expect(err).NotTo(HaveOccurred())
	var out strings.Builder
	g.Expect(report.Print(&out)).To(Succeed())
	lines := strings.Split(out.String(), "\n")
	g.Expect(lines[0]).To(HaveSuffix("kube-proxy v1.34.0 with batch-leak, duplicates"))
	g.Expect(lines[2]).To(MatchRegexp(`^ENDPOINT +IP +KIND +OWNER +VERDICT +REASON +POD$`))
	g.Expect(lines[3]).To(MatchRegexp(`^[0-9a-f-]{36}  10\.240\.0\.11  remote  kube-proxy .*  conflict +live-pod-with-local-endpoint +\S+/\S+$`))
	g.Expect(out.String()).To(ContainSubstring("\n1 of 4 endpoints would be removed.\n"))

	data, err := json.Marshal(report)
	g.Expect(err).NotTo(HaveOccurred())
	var again scan.Report
	g.Expect(json.Unmarshal(data, &again)).To(Succeed())
	g.Expect(again).To(Equal(report), "the JSON form loses nothing")
}
