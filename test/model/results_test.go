// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

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
	versions := slices.Sorted(maps.Keys(all))
	for _, version := range versions {
		c := all[version]
		fmt.Fprintf(&rows, "| %s | %d | %d | %d | %d | %d |\n", strings.TrimPrefix(version, "v"), c.histories, c.syncs, c.removed,
			c.lostWithout, c.lost)
		sum.histories, sum.syncs = sum.histories+c.histories, sum.syncs+c.syncs
	}
	for _, f := range remaining() {
		cells := []string{f.what}
		for _, version := range versions {
			cells = append(cells, map[bool]string{true: "✗", false: "–"}[f.has(kubeproxy.ProfileOf(version))])
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

<!-- Written by make model-kube-proxy. -->

[The code of kube-proxy for Windows](../../test/winkernel/doc.go), as released, on Linux, in [the model](../../test/model/doc.go):
%d random histories with %d syncs. Each history was played with hnsguard, with its default configuration, and without
it. HNS, the API server and time were simulated; HNS and everything else failed in many ways. **No invariant was broken:
nothing valid was deleted, and no pod was lost that lived without hnsguard.**

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
