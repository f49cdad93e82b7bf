// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/version"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/test/world"
)

// envResults is the page to which the results of released kube-proxies are written.
const envResults = "HNSGUARD_MODEL_RESULTS"

// writeResults writes the results of a long run, by version.
func writeResults(t *testing.T, all map[string]*total, ratio float64) {
	t.Helper()
	file := os.Getenv(envResults)
	if file == "" {
		return
	}
	var rows, faults strings.Builder
	sum := newTotal()
	versions := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		if version.MustParseGeneric(a).LessThan(version.MustParseGeneric(b)) {
			return -1
		}
		return 1
	})
	for _, v := range versions {
		c := all[v]
		fmt.Fprintf(&rows, "| %s | %d | %d | %d | %d | %d |\n", strings.TrimPrefix(v, "v"), c.histories, c.syncs, c.removed,
			c.lostWithout, c.lost)
		sum.sum(c)
		for verb, of := range c.faults {
			if sum.faults[verb] == nil {
				sum.faults[verb] = newTotal()
			}
			sum.faults[verb].sum(of)
		}
	}
	for _, f := range remaining() {
		cells := []string{f.what}
		for _, v := range versions {
			cells = append(cells, map[bool]string{true: "✗", false: "–"}[f.has(kubeproxy.ProfileOf(v))])
		}
		fmt.Fprintf(&faults, "| %s |\n", strings.Join(cells, " | "))
	}
	page := fmt.Sprintf(results, sum.histories, sum.syncs, rows.String(), byFault(sum), ratio,
		strings.ReplaceAll(strings.Join(versions, " | "), "v", ""), strings.Repeat(":-:|", len(versions)), faults.String())
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (c *total) sum(o *total) {
	c.histories += o.histories
	c.syncs += o.syncs
	c.removed += o.removed
	c.lost += o.lost
	c.lostWithout += o.lostWithout
}

// played returns the faults of random histories, in words.
func played() []struct {
	verb world.Verb
	what string
} {
	return []struct {
		verb world.Verb
		what string
	}{
		{world.HNSDown, "HNS answers nothing (0x6b5, 0x6ba, 0x6be)"},
		{world.HNSRestarts, "HNS restarts, and restores everything under its IDs, or loses load balancers, remote endpoints, or all"},
		{world.HNSVanishes, "an endpoint or load balancer vanishes while it is listed"},
		{world.HNSFailsOnce, "a call of kube-proxy to HNS fails once (0x490, 0x803b0013, 0x6b5, 0x6ba, 0x6be)"},
		{world.HNSFails, "a call to HNS fails for a time"},
		{world.HNSHangs, "a call of hnsguard to HNS hangs"},
		{world.HNSSlow, "HNS takes a hundred times as long"},
		{world.RestartKubeProxy, "kube-proxy restarts"},
		{world.ReplaceKubeProxy, "another version takes the place of kube-proxy"},
		{world.CutKubeProxy, "kube-proxy's watch is cut, or lists again"},
		{world.CutGuard, "hnsguard's watch is cut, or lists again"},
		{world.StallHandlers, "hnsguard gets what its watch brings late"},
		{world.Crash, "hnsguard crashes"},
		{world.APIFails, "requests of hnsguard to the API server fail, or their answers are lost"},
		{world.MetricsDown, "kube-proxy serves no metrics"},
		{world.Freeze, "the node stands still"},
		{world.LoseSandbox, "the sandbox of a pod dies"},
		{world.DoublePod, "the IPAM gives an address twice"},
		{world.Repack, "EndpointSlices are repacked"},
	}
}

// byFault returns the page's rows about histories with a fault.
func byFault(all *total) string {
	var rows strings.Builder
	for _, f := range played() {
		if c := all.faults[f.verb]; c != nil {
			fmt.Fprintf(&rows, "| %s | %d | %d | %d | %d |\n", f.what, c.histories, c.syncs, c.lostWithout, c.lost)
		}
	}
	return rows.String()
}

const results = `# kube-proxy's own code in simulated clusters

<!-- Written by make model-kube-proxy-full, or by a shorter run. -->

[The code of kube-proxy for Windows](../../test/winkernel/doc.go), as released, on Linux, in [the model](../../test/model/doc.go):
%d random histories with %d syncs. Each history was played with hnsguard, in one of many settings, and without it. HNS,
the API server and time were simulated, and failed in many ways. **No invariant was broken: nothing valid was deleted, and
no pod was lost by anything that hnsguard did.** (Its requests make kube-proxy sync at other times, by which a pod can be
lost in one play and live in the other; such a pod is lost as well when the requests are made and nothing else.) The syncs
are those of all plays.

| kube-proxy | histories | syncs | stale endpoints removed | pods that lost their endpoint without hnsguard | with it |
|---|---:|---:|---:|---:|---:|
%s
The histories are short and have few stale endpoints; [the matrix](kube-proxy-matrix.md) has the incidents from the field.
Pods whose endpoint HNS lost in a restart are not counted.

| what goes wrong in a history | histories | syncs | pods that lost their endpoint without hnsguard | with it |
|---|---:|---:|---:|---:|
%s
A history has several of them. The order in which HNS lists endpoints is the oldest or the newest first, by ID, or another one
at every list; HNS allows duplicates, refuses them, or refuses a second remote endpoint.

## The world's own kube-proxy

The model has a kube-proxy of its own, written after these sources. make test-model-kube-proxy compares it with the code as released,
history by history, in everything that it does to HNS. It is kept for what needs no build of Kubernetes: the demo, the tests of
every change, and those that put hundreds of faults into hnsguard. It plays a history %.1f times as fast.

## The faults that remain

Each was played with each kube-proxy's own code, without and with hnsguard. ✗: it happens. hnsguard removes what the first
three leave behind; it reports the others. It deleted nothing valid in any of them.

| fault | %s |
|---|%s
%s
`
