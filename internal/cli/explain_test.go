// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/cli"
)

func explainArgs(target string, more ...string) []string {
	return append([]string{
		"explain", target, "--node-name", "akswin000001", "--hns-dump", hnsData + "derived-v2-duplicate.json",
		"--cluster-dump", clusterData + "derived-v2-duplicate.json",
	}, more...)
}

func TestExplain(t *testing.T) {
	const duplicate = "2462b2d1-c402-4024-9c86-5a6903af7759"
	known := []string{"--kube-proxy-version", "v1.37.2"}
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"an address":  {explainArgs("10.240.0.11", known...), cli.ExitOK, "conflict (live-pod-with-local-endpoint)"},
		"an endpoint": {explainArgs(duplicate, known...), cli.ExitOK, "Remote endpoint " + duplicate},
		"a pod":       {explainArgs("default/web-5c8d7f6b9-q4w2z", known...), cli.ExitOK, "Pod default/web-5c8d7f6b9-q4w2z, seen from node akswin000001 "},
		"a pod elsewhere": {
			explainArgs("kube-system/coredns-6f7d9c5b8-2xk9p", known...), cli.ExitOK,
			"runs on node aks-agentpool-000000, not on akswin000001. That is a Linux node, which has no HNS. Here it has a remote",
		},
		"a hostNetwork pod": {
			explainArgs("kube-system/csi-azuredisk-node-win-7hj2k", known...), cli.ExitOK, "uses the node's own network",
		},
		"a pending pod": {explainArgs("default/batch-27h5x", known...), cli.ExitOK, "has no address yet"},
		"observing": {
			explainArgs("10.240.0.11", "--mode", "observe", "--kube-proxy-version", "v1.37.2"), cli.ExitOK,
			"would remove it; it only observes (mode: observe)",
		},
		"nothing there": {explainArgs("10.9.9.9", known...), cli.ExitOK, "HNS on this node has no such endpoint"},
		"another pod": {
			explainArgs("default/gone", known...), cli.ExitError,
			"explaining default/gone on node akswin000001: there is no Pod or Service default/gone in the cluster dump",
		},
		"two targets":    {explainArgs("10.240.0.11", "10.240.0.12"), cli.ExitUsage, "give one IP address"},
		"a wrong target": {explainArgs("web"), cli.ExitUsage, "must be an IP address"},
		"as XML":         {explainArgs("10.240.0.11", "-o", "xml"), cli.ExitUsage, "must be json, yaml or wide"},
		"no endpoints": {
			[]string{
				"explain", "10.240.0.11", "--node-name", "akswin000000", "--hns-dump", hnsData + "calico-7305-loadbalancer.json",
				"--cluster-dump", clusterData + "aks-1367.json",
			}, cli.ExitError, "cannot judge",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got := invoke(t, nil, tc.args...)
			g.Expect(got.code).To(Equal(tc.code), got.err)
			text := strings.Join(strings.Fields(got.out+got.err), " ")
			g.Expect(text).To(ContainSubstring(tc.want))
			g.Expect(text).NotTo(ContainSubstring("Delete it"), "the pods are healthy")
		})
	}
}

func TestExplainAsJSON(t *testing.T) {
	g := NewWithT(t)
	got := invoke(t, nil, explainArgs("10.240.0.11", "-o", "json", "--kube-proxy-version", "v1.37.2")...)
	g.Expect(got.code).To(Equal(cli.ExitOK), got.err)
	var e struct {
		Summary, Mode string
		Endpoints     []struct{ ID, Verdict, Because, Next string }
	}
	g.Expect(json.Unmarshal([]byte(got.out), &e)).To(Succeed())
	g.Expect(e.Summary).NotTo(BeEmpty())
	g.Expect(e.Mode).To(Equal("enforce"))
	g.Expect(e.Endpoints).To(HaveLen(2))
	for _, endpoint := range e.Endpoints {
		g.Expect(endpoint).To(HaveField("Because", Not(BeEmpty())))
		g.Expect(endpoint).To(HaveField("Next", Not(BeEmpty())))
	}
}
