// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package monitoring_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// testDashboards evaluates every query of every dashboard as Grafana would, and looks whether the agent serves every
// metric that it names: of one that does not exist Prometheus says nothing.
func testDashboards(t *testing.T, p *prometheus) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "charts", "hnsguard", "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no dashboards (%v)", err)
	}
	served := p.names(t)
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
				g := NewWithT(t)
				for _, name := range metricNames(query) {
					g.Expect(served).To(ContainElement(name), "nobody serves what is asked for in %s", query)
				}
				_, err := p.query(t, asGrafana(query))
				g.Expect(err).NotTo(HaveOccurred(), query)
			}
		})
	}
}

// queriesIn finds the queries of all panels and variables, however deep they are: in "expr", and in the label_values of
// a "query".
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

// selectorOf takes the selector out of label_values(selector, label).
func selectorOf(labelValues string) string {
	inner := strings.TrimSuffix(strings.TrimPrefix(labelValues, "label_values("), ")")
	return strings.TrimSpace(inner[:strings.LastIndex(inner, ",")])
}

// asGrafana puts values where a query has variables: time spans for Grafana's own, and everything for the others.
func asGrafana(query string) string {
	spans := strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m", "$__range", "1h", "${__range}", "1h")
	return regexp.MustCompile(`\$\{?\w+(:\w+)?\}?`).ReplaceAllString(spans.Replace(query), ".*")
}

// metricNames are the names of the agent's metrics in a query.
func metricNames(query string) []string {
	return regexp.MustCompile(`\bhnsguard_\w+`).FindAllString(query, -1)
}
