// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package monitoring_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/test/chart"
)

// rulesOf writes the rendered rules to a file for Prometheus, and returns its path. The spec of the operator's object
// has the format of such a file.
func rulesOf(t *testing.T, objects chart.Objects) string {
	t.Helper()
	rules := objects.Of("PrometheusRule")
	if len(rules) != 1 {
		t.Fatalf("%d PrometheusRules are rendered, not one", len(rules))
	}
	content, err := yaml.Marshal(rules[0].Object["spec"])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), tool(t, "promtool"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("promtool %v: %v\n%s", args, err, said)
	}
}

func checkRules(t *testing.T, rules string) {
	t.Helper()
	promtool(t, "check", "rules", rules)
}

// alertTests is the part of promtool's file with the expected alerts.
type alertTests struct {
	Tests []struct {
		AlertRuleTest []struct {
			Alertname string
			ExpAlerts []any `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	}
}

// testRules runs promtool's unit tests, which must cover every alert both firing and silent.
func testRules(t *testing.T, rules string) {
	t.Helper()
	g := NewWithT(t)
	content, err := os.ReadFile(filepath.Join("testdata", "alerts.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	beside := filepath.Join(filepath.Dir(rules), "alerts.yaml") // it names the rules relative to itself
	g.Expect(os.WriteFile(beside, content, 0o600)).To(Succeed())
	promtool(t, "test", "rules", beside)

	var tests alertTests
	g.Expect(yaml.Unmarshal(content, &tests)).To(Succeed())
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, expected := range test.AlertRuleTest {
			if len(expected.ExpAlerts) > 0 {
				fires[expected.Alertname] = true
			} else {
				silent[expected.Alertname] = true
			}
		}
	}
	for _, alert := range alerts(t, rules) {
		g.Expect(fires).To(HaveKey(alert), "no test lets it fire")
		g.Expect(silent).To(HaveKey(alert), "no test expects it to be silent")
	}
}

// alerts returns the names of all alerts.
func alerts(t *testing.T, rules string) []string {
	t.Helper()
	content, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert string }
		}
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			names = append(names, rule.Alert)
		}
	}
	if len(names) == 0 {
		t.Fatal("there are no alerts")
	}
	return names
}
