// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package monitoring_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// testDashboards evaluates every query of every dashboard like Grafana, for the scraped node. A query must have a
// result: Prometheus does not complain about a metric or label that does not exist. A comparison may have no result, so
// its metrics must be among the served ones.
func testDashboards(t *testing.T, p *prometheus) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "charts", "hnsguard", "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no dashboards (%v)", err)
	}
	served := slices.DeleteFunc(p.names(t), func(name string) bool { return !strings.HasPrefix(name, "hnsguard_") })
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var dashboard any
			if err := json.Unmarshal(content, &dashboard); err != nil {
				t.Fatal(err)
			}
			queries := queriesIn(dashboard)
			if len(queries) == 0 {
				t.Fatal("there is no query in it")
			}
			for _, query := range queries {
				testQuery(t, p, served, query)
			}
		})
	}
}

// testFleetCounts compares the fleet's numbers with the one agent that was scraped, which enforces.
func testFleetCounts(t *testing.T, p *prometheus) {
	t.Helper()
	g := NewWithT(t)
	counted := map[string]string{}
	for _, d := range dashboards(t) {
		for _, shown := range d.Panels {
			if shown.Type == "stat" {
				counted[shown.Title] = asGrafana(shown.Targets[0].Expr)
			}
		}
	}
	observing := counted["Nodes that only observe"]
	for query, want := range map[string]float64{
		counted["Agents scraped"]: 1, observing: 0, strings.Replace(observing, "== 0", "== 1", 1): 1,
	} {
		g.Expect(p.query(t, query)).To(Equal([]float64{want}), query)
	}
}

func testQuery(t *testing.T, p *prometheus, served []string, query string) {
	t.Helper()
	for _, name := range regexp.MustCompile(`\bhnsguard_\w+`).FindAllString(query, -1) {
		if !slices.Contains(served, name) {
			t.Errorf("nothing serves %s, which is queried in %s", name, query)
		}
	}
	yields := Not(BeEmpty())
	if regexp.MustCompile(`[<>]|==`).MatchString(query) {
		yields = Or(yields, BeEmpty())
	}
	// A rate needs a second scrape.
	NewWithT(t).Eventually(func() ([]float64, error) { return p.query(t, asGrafana(query)) },
		10*time.Second, 200*time.Millisecond).Should(yields, query)
}

// queriesIn finds the queries of all panels and variables, at any depth: in "expr", and in the label_values of a
// "query".
func queriesIn(value any) []string {
	var found []string
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			found = append(found, queriesIn(element)...)
		}
	case map[string]any:
		for key, element := range v {
			text, isText := element.(string)
			switch {
			case isText && key == "expr":
				found = append(found, text)
			case isText && (key == "query" || key == "definition") && strings.HasPrefix(text, "label_values("):
				found = append(found, selectorOf(text))
			default:
				found = append(found, queriesIn(element)...)
			}
		}
	}
	return found
}

// selectorOf returns the selector of label_values(selector, label).
func selectorOf(labelValues string) string {
	inner := strings.TrimSuffix(strings.TrimPrefix(labelValues, "label_values("), ")")
	return strings.TrimSpace(inner[:strings.LastIndex(inner, ",")])
}

// asGrafana replaces the variables in a query: Grafana's own by time spans, and the node by the scraped one.
func asGrafana(query string) string {
	return strings.NewReplacer(
		"$__rate_interval", "1m", "$__interval", "1m", "$__range", "1h", "$job", "hnsguard", "$cluster", ".*", "$node", nodeName,
	).Replace(query)
}
