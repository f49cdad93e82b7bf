// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/hnsguard/hnsguard/test/system/results"
)

// keep adds measurements to the results in a file, from which the pages of the documentation are rendered. It keeps the
// results of scenarios that were not measured this time.
func keep(t *testing.T, path string, measured []result) {
	t.Helper()
	earlier, err := results.Load(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	network := describeHNS(t)
	latest := make([]results.Result, 0, len(measured))
	for _, r := range measured {
		latest = append(latest, results.Result{
			Scenario: r.scenario, Version: r.version, Guarded: r.guarded, Outcome: r.text, Good: r.good, Runs: 1,
			Measured: time.Now().UTC().Format(time.DateOnly), SyncPeriod: r.period.String(),
			Build: cmp.Or(os.Getenv("HNSGUARD_BUILD"), "unknown"), HNS: network,
		})
	}
	must(t, results.Save(path, results.Merge(earlier, latest)))
}

// TestEveryScenarioHasAStory compares the scenarios with those that the documentation describes.
func TestEveryScenarioHasAStory(t *testing.T) {
	described := map[string]bool{}
	for _, sc := range results.Scenarios() {
		described[sc.Name] = true
	}
	for _, sc := range scenarios() {
		if !described[sc.name] {
			t.Errorf("scenario %q is not described in test/system/results/scenarios.go", sc.name)
		}
		delete(described, sc.name)
	}
	for name := range described {
		t.Errorf("test/system/results/scenarios.go describes %q, which is no scenario", name)
	}
}
