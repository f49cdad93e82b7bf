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
)

// envResults is the page to write what came of released kube-proxies to.
const envResults = "HNSGUARD_MODEL_RESULTS"

// writeResults writes what came of a long run, by version.
func writeResults(t *testing.T, all map[string]*total) {
	t.Helper()
	file := os.Getenv(envResults)
	if file == "" {
		return
	}
	var rows, faults strings.Builder
	var sum total
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
		sum.histories, sum.syncs = sum.histories+c.histories, sum.syncs+c.syncs
	}
	for _, f := range remaining() {
		cells := []string{f.what}
		for _, v := range versions {
			cells = append(cells, map[bool]string{true: "✗", false: "–"}[f.has(kubeproxy.ProfileOf(v))])
		}
		fmt.Fprintf(&faults, "| %s |\n", strings.Join(cells, " | "))
	}
	page := fmt.Sprintf(results, sum.histories, sum.syncs, rows.String(),
		strings.ReplaceAll(strings.Join(versions, " | "), "v", ""), strings.Repeat(":-:|", len(versions)), faults.String())
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
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

## The faults that remain

Each was played with each kube-proxy's own code, without and with hnsguard. ✗: it happens. hnsguard removes what the first
three leave behind; it reports the others. It deleted nothing valid in any of them.

| fault | %s |
|---|%s
%s
`
