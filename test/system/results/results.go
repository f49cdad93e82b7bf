// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"k8s.io/apimachinery/pkg/util/version"
)

// Result is one outcome of a scenario with one version of kube-proxy.
type Result struct {
	Scenario string `json:"scenario"`
	Version  string `json:"version"`
	// Guarded is set if hnsguard ran.
	Guarded bool `json:"guarded"`
	// Outcome describes the end of the scenario in a few words, and Good is set if it is the right one.
	Outcome string `json:"outcome"`
	Good    bool   `json:"good"`
	// Runs is the number of runs with this end.
	Runs int `json:"runs"`
	// Measured is the day of the last run, and SyncPeriod kube-proxy's sync period.
	Measured   string `json:"measured"`
	SyncPeriod string `json:"syncPeriod"`
	// Build is the build of hnsguard.
	Build string `json:"build"`
	// HNS describes the HNS, with the type of the network. It is empty for the simulated one.
	HNS string `json:"hns,omitempty"`
}

// cell identifies the subject of a result. A scenario that was run several times may have several results for one cell.
type cell struct {
	scenario, version string
	guarded           bool
}

func (r Result) cell() cell { return cell{r.Scenario, r.Version, r.Guarded} }

// Load reads the results of a file.
func Load(path string) ([]Result, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the results: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var all []Result
	if err := decoder.Decode(&all); err != nil {
		return nil, fmt.Errorf("decoding the results in %s: %w", path, err)
	}
	return all, nil
}

// Save writes results to a file, one a line.
func Save(path string, all []Result) error {
	out := &bytes.Buffer{}
	for i, r := range all {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encoding a result of %q: %w", r.Scenario, err)
		}
		fmt.Fprintf(out, "%s%s", []string{"[\n", ",\n"}[min(i, 1)], line)
	}
	out.WriteString("\n]\n")
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil { //nolint:gosec // a file of the repository
		return fmt.Errorf("writing the results: %w", err)
	}
	return nil
}

// Merge replaces the cells that were measured again, counts equal outcomes of one cell together, and sorts everything
// by scenario, version and outcome.
func Merge(earlier, latest []Result) []Result {
	replaced := map[cell]bool{}
	for _, r := range latest {
		replaced[r.cell()] = true
	}
	kept := slices.DeleteFunc(slices.Clone(earlier), func(r Result) bool { return replaced[r.cell()] })
	var merged []Result
	for _, r := range slices.Concat(kept, latest) {
		same := func(m Result) bool { return m.cell() == r.cell() && m.Outcome == r.Outcome && m.Good == r.Good }
		if i := slices.IndexFunc(merged, same); i >= 0 {
			merged[i].Runs += r.Runs
			continue
		}
		merged = append(merged, r)
	}
	slices.SortStableFunc(merged, compare)
	return merged
}

func compare(a, b Result) int {
	return cmp.Or(
		cmp.Compare(rank(a.Scenario), rank(b.Scenario)), cmp.Compare(a.Scenario, b.Scenario),
		compareVersions(a.Version, b.Version), compareBools(a.Guarded, b.Guarded), cmp.Compare(a.Outcome, b.Outcome),
	)
}

// rank returns the position of a scenario in the catalogue; unknown scenarios come last.
func rank(scenario string) int {
	if i := slices.IndexFunc(Scenarios(), func(s Scenario) bool { return s.Name == scenario }); i >= 0 {
		return i
	}
	return len(Scenarios())
}

func compareVersions(a, b string) int {
	order, _ := version.MustParseSemantic(a).Compare(b)
	return order
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}
