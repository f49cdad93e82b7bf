// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/test/chart"
)

// rendersWith renders the chart with values as in a user's file, where a key without a value is null.
func rendersWith(t *testing.T, values any) (chart.Objects, error) {
	t.Helper()
	text, err := yaml.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/values.yaml"
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return here(t).Render(t.Context(), chart.Namespace, "--values", file)
}

// Invariant 3. Every empty value either means nothing, or is named in the error: at each depth, all values are empty at
// once, and then all of those that were not named.
func TestEmptyValuesAreNamedOrMeanNothing(t *testing.T) {
	text, err := os.ReadFile(here(t).Dir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var defaults map[string]any
	if err := yaml.Unmarshal(text, &defaults); err != nil {
		t.Fatal(err)
	}
	on := []string{"prometheusRule.enabled", "dashboards.enabled", "metrics.serviceMonitor.enabled", "verticalPodAutoscaler.enabled"}
	for depth, names := range map[int][]string{
		1: {"config", "resources", "metrics", "probes", "admissionPolicy", "image", "test"},
		2: {"config.mode", "config.orphan", "metrics.port", "metrics.serviceMonitor", "probes.port", "admissionPolicy.enabled"},
		3: {"config.orphan.mode", "metrics.serviceMonitor.bearerTokenFile"},
		4: {"prometheusRule.alerts.HNSGuardHNSFailing.errorsPerSecond"},
	} {
		g := NewWithT(t)
		all := emptyAt(defaults, depth, "", on)
		_, err := rendersWith(t, nested(all, on))
		named := slices.DeleteFunc(slices.Clone(all), func(path string) bool {
			return err == nil || !regexp.MustCompile(`[ ,]`+regexp.QuoteMeta(path)+`[,.]`).MatchString(err.Error())
		})
		g.Expect(named).To(ContainElements(names), "%v", err)
		g.Expect(err).To(MatchError(ContainSubstring("Remove their lines to keep the defaults, or give them values")))

		rest := slices.DeleteFunc(all, func(path string) bool { return slices.Contains(named, path) })
		objects, err := rendersWith(t, nested(rest, on))
		g.Expect(err).NotTo(HaveOccurred(), "%v may be empty", rest)
		configured(t, objects)
		daemonSet(t, objects)
	}
}

// emptyAt returns the paths at a depth, without those that must be set for others to have an effect.
func emptyAt(values map[string]any, depth int, prefix string, on []string) (paths []string) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		path := prefix + key
		if inner, is := values[key].(map[string]any); is && depth > 1 {
			paths = append(paths, emptyAt(inner, depth-1, path+".", on)...)
		} else if depth == 1 && !slices.Contains(on, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// nested returns values of which some are null and some are true. A null value has nothing below it.
func nested(empty, on []string) map[string]any {
	values := map[string]any{}
	set := func(path string, value any) {
		keys, at := strings.Split(path, "."), values
		for _, key := range keys[:len(keys)-1] {
			if inner, has := at[key]; has && inner == nil {
				return
			}
			if at[key] == nil {
				at[key] = map[string]any{}
			}
			at = at[key].(map[string]any) //nolint:forcetypeassert // made above
		}
		at[keys[len(keys)-1]] = value
	}
	for _, path := range empty {
		set(path, nil)
	}
	for _, path := range on {
		set(path, true)
	}
	return values
}

// configured returns the rendered configuration, which the program must accept.
func configured(t *testing.T, objects chart.Objects) config.Config {
	t.Helper()
	for _, u := range objects.Of("ConfigMap") {
		data, _ := u.Object["data"].(map[string]any)
		if text, is := data["hnsguard.yaml"].(string); is {
			c, err := config.Decode("rendered", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
	}
	t.Fatal("no configuration is rendered")
	return config.Config{}
}

// Invariant 3.
func TestAllFaultsAreToldAtOnce(t *testing.T) {
	_, err := rendersWith(t, map[string]any{
		"fullnameOverride": "a.b",
		"nodeSelector":     map[string]any{"kubernetes.io/os": "linux"},
		"commonLabels":     map[string]any{"app.kubernetes.io/name": "a"},
		"podLabels":        map[string]any{"app.kubernetes.io/instance": "b"},
		"serviceAccount":   map[string]any{"create": false},
		"config": map[string]any{
			"exclusions": []string{"10.0.0.1/8", "1::2::3"},
			"orphan":     map[string]any{"gracePeriod": "1s"},
		},
		"metrics": map[string]any{
			"port":           10353,
			"service":        map[string]any{"enabled": false},
			"serviceMonitor": map[string]any{"enabled": true, "jobLabel": "a", "labels": map[string]any{"helm.sh/chart": "c"}},
		},
		"page":           map[string]any{"port": 10353},
		"prometheusRule": map[string]any{"enabled": true},
		"firewall":       map[string]any{"enabled": true},
		"apiServer":      map[string]any{"host": "api"},
		"extraEnv":       []any{map[string]any{"name": "HNSGUARD_CONFIG", "value": "other"}},
		"extraVolumes":   []any{map[string]any{"name": "more"}, map[string]any{"name": "more"}},
		"extraContainers": []any{
			map[string]any{"name": "firewall", "image": "i"}, // where the chart has an init container
		},
	})
	for _, fault := range []string{
		`would be called "a.b", which no Service can be`, "Set fullnameOverride",
		"nodeSelector has kubernetes.io/os=linux", "commonLabels has app.kubernetes.io/name, which the chart sets itself. Remove it",
		"podLabels has app.kubernetes.io/instance", "metrics.serviceMonitor.labels has helm.sh/chart",
		"serviceAccount.name is required", "config.orphan.gracePeriod is 1s, but must be between",
		"config.exclusions has 10.0.0.1/8, whose address has bits set after its length", `config.exclusions has "1::2::3", which is neither`,
		"metrics.port and probes.port are both 10353", "page.port is 10353", "needs metrics.service.enabled",
		"Set prometheusRule.job", "firewall.enabled needs firewall.remoteAddresses", "apiServer.host and apiServer.port go together",
		"extraEnv: HNSGUARD_CONFIG is there twice, or the chart has one itself", "extraVolumes: more is there twice",
		"extraContainers and extraInitContainers: firewall is there twice",
	} {
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(fault)))
	}
}

// Invariant 3: a release may have a name that no Service can have.
func TestReleasesHaveNamesThatServicesCanHave(t *testing.T) {
	g := NewWithT(t)
	c := here(t)
	called := func(release string, args ...string) (string, error) {
		return c.Run(t.Context(), append([]string{"template", release, c.Dir}, args...)...)
	}
	_, err := called("win.dows")
	g.Expect(err).To(MatchError(ContainSubstring(`would be called "win.dows-hnsguard"`)))
	_, err = called("2022")
	g.Expect(err).To(MatchError(ContainSubstring("begins with a letter")))
	text, err := called("2022", "--set", "fullnameOverride=win")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(text).To(ContainSubstring(`app.kubernetes.io/instance: "2022"`))
	text, err = called(strings.Repeat("a", 53))
	g.Expect(err).NotTo(HaveOccurred())
	objects, err := chart.Decode([]byte(text))
	g.Expect(err).NotTo(HaveOccurred())
	for _, u := range objects.Of("Service") {
		g.Expect(len(u.GetName())).To(BeNumerically("<=", 63), u.GetName())
	}
}

// Invariants 1 and 3. The chart does not detect IPv6 ranges with bits set beyond their length; the program refuses
// them.
func TestExclusionsAreThoseOfTheProgram(t *testing.T) {
	right := []string{
		"10.0.0.0/8", "10.128.0.0/9", "10.0.0.1/32", "192.0.2.7", "0.0.0.0/0", "::/0", "::1", "fd00::/64", "1::8",
		"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:8/128", "::2:3:4:5:6:7:8",
	}
	refusals := func(ranges ...string) (program, chart error) {
		file, err := yaml.Marshal(map[string]any{"apiVersion": config.APIVersion, "kind": config.Kind, "exclusions": ranges})
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		_, program = config.Decode("file", file)
		_, chart = rendersWith(t, map[string]any{"config": map[string]any{"exclusions": ranges}})
		return program, chart
	}
	program, chart := refusals(right...)
	NewWithT(t).Expect(program).NotTo(HaveOccurred())
	NewWithT(t).Expect(chart).NotTo(HaveOccurred())
	wrong := []string{
		"10.0.0.0/33", "256.0.0.0/8", "010.0.0.0/8", "10.0.0/8", "10.128.0.0/8", "10.0.0.1/31", "::/129", "::g", ":", "pods", "",
		"1:2:3", "1::2::3", "1:2:3:4:5:6:7:8::", "1:2:3:4:5:6:7:8:9", "12345::", ":1::", "1:::2", "1::2:", "::1\n", "10.0.0.1\n",
	}
	program, chart = refusals(wrong...)
	for i, text := range wrong {
		g := NewWithT(t)
		g.Expect(program).To(MatchError(ContainSubstring("exclusions[%d]: ", i)), text)
		g.Expect(chart).To(MatchError(Or(ContainSubstring("config.exclusions has %q, ", text),
			ContainSubstring("config.exclusions has %s, ", text))), text)
	}
}
