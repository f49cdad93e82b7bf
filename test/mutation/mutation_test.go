// SPDX-License-Identifier: Apache-2.0

package mutation_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hnsguard/hnsguard/test/mutation"
)

// envRun enables the tests, which take minutes.
const envRun = "HNSGUARD_MUTATION"

// packages decide about deletions, or carry them out.
var packages = []string{"verdict", "slicewatch", "stalerecord", "removal"}

// excepted returns the files of these packages that do not decide about deletions: those about load balancers, and the
// keeper, whose slices only count as the watch shows them and package verdict judges them.
func excepted(name string) []string {
	return map[string][]string{
		"verdict": {"balancer.go", "balancers.go"}, "stalerecord": {"keeper.go", "keepslice.go", "metrics.go"},
	}[name]
}

// Invariants 1 to 3.
func TestEveryMutantIsKilledOrExplained(t *testing.T) {
	if os.Getenv(envRun) == "" {
		t.Skip("it takes minutes; set " + envRun + ", or run make mutation")
	}
	for _, name := range packages {
		t.Run(name, func(t *testing.T) {
			explained := explanations(t, name)
			p, err := mutation.Build(t.Context(), filepath.Join("..", "..", "internal", name), t.TempDir(),
				excepted(name)...)
			if err != nil {
				t.Fatal(err)
			}
			lived, err := p.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			unexplained := 0
			for _, m := range lived {
				if _, ok := explained[m.Key()]; !ok {
					unexplained++
					t.Errorf("no test notices: internal/%s/%s", name, m)
				}
				delete(explained, m.Key())
			}
			for key := range explained {
				t.Errorf("explained, but it is killed or gone: internal/%s/%s", name, key)
			}
			t.Logf("%d mutants: %d killed, %d explained", p.Tried(), p.Tried()-len(lived), len(lived)-unexplained)
		})
	}
}

// explanations returns the explanations of one package, by the key of the mutant. Each has two lines: "package/key",
// and the indented reason.
func explanations(t *testing.T, name string) map[string]string {
	t.Helper()
	file, err := os.Open("explained.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, last := map[string]string{}, ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "#") || line == "":
		case strings.HasPrefix(line, " "):
			if last != "" {
				all[last] = strings.TrimSpace(line)
			}
		default:
			if key, ours := strings.CutPrefix(line, name+"/"); ours {
				last, all[key] = key, ""
			} else {
				last = ""
			}
		}
	}
	for key, reason := range all {
		if reason == "" {
			t.Errorf("explained.txt gives no reason for %s", key)
		}
	}
	return all
}
