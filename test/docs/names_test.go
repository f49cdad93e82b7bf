// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/internal/cli"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// written returns the handwritten pages. The others are generated, or belong to recorded files.
func written(t *testing.T) []page {
	t.Helper()
	var pages []page
	for name, p := range readPages(t) {
		if name != "docs/metrics.md" && !strings.Contains(name, "testdata/") {
			pages = append(pages, p)
		}
	}
	return pages
}

// expectNames finds names in the code of all pages, and reports those that do not exist.
func expectNames(t *testing.T, pattern string, exists func(name string) bool) {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	found := 0
	for _, p := range written(t) {
		for _, code := range p.code {
			for _, match := range expression.FindAllStringSubmatch(code, -1) {
				found++
				if !exists(match[1]) {
					t.Errorf("%s: there is no %s", p.path, match[1])
				}
			}
		}
	}
	if found == 0 {
		t.Errorf("no page matches %s: the test checks nothing", pattern)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Invariant 2.
func TestMetricsExist(t *testing.T) {
	reference := readFile(t, "docs/metrics.md")
	expectNames(t, `\b(hnsguard_[a-z0-9_]+)`, func(name string) bool {
		for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
			if base, is := strings.CutSuffix(name, suffix); is && strings.Contains(reference, "\n## "+base+"\n") {
				return true
			}
		}
		return false
	})
}

// Invariant 2.
func TestMakeTargetsExist(t *testing.T) {
	makefile := readFile(t, "Makefile")
	expectNames(t, `(?:^|\$ )make ([a-z][a-z-]*)`, func(name string) bool {
		return strings.Contains(makefile, "\n"+name+":")
	})
}

// Invariant 2.
func TestPathsExist(t *testing.T) {
	expectNames(t, `^((?:internal|test|charts|docs|cmd)/[\w./-]+)$`, func(name string) bool {
		_, err := os.Stat(filepath.Join(root, name))
		return err == nil
	})
}

// Invariant 2: a dotted name with the prefix of a field of the configuration, or of a value of the chart, is one.
func TestFieldsExist(t *testing.T) {
	var policy, values map[string]any
	for path, into := range map[string]*map[string]any{
		"config/hnsguard.yaml": &policy, "charts/hnsguard/values.yaml": &values,
	} {
		if err := yaml.Unmarshal([]byte(readFile(t, path)), into); err != nil {
			t.Fatal(err)
		}
	}
	expectNames(t, `^([a-z][A-Za-z]*(?:\.[a-z][A-Za-z]*)+)(?:[:=].*)?$`, func(name string) bool {
		fields := strings.Split(name, ".")
		_, inPolicy := policy[fields[0]]
		_, inValues := values[fields[0]]
		isFile := regexp.MustCompile(`\.(go|md|exe|dll|txt|json|yaml|yml|xml|ps1|psm1)$`).MatchString(name)
		return isFile || !inPolicy && !inValues || has(policy, fields) || has(values, fields)
	})
}

func has(object map[string]any, fields []string) bool {
	value, found := object[fields[0]]
	if !found || len(fields) == 1 {
		return found
	}
	inner, is := value.(map[string]any)
	return is && has(inner, fields[1:])
}

// Invariant 2: a line that runs hnsguard uses existing commands and flags.
func TestCommandsExist(t *testing.T) {
	help := map[string]string{}
	const commands = `run|scan|explain|doctor|bundle|status|version`
	expectNames(t, `(?:^|\$ |/|-- )(hnsguard(?:\.exe)? (?:`+commands+`)\b[^|#]*)`,
		func(line string) bool {
			var command []string
			for _, word := range strings.Fields(line)[1:] {
				if strings.HasPrefix(word, "-") {
					break
				}
				command = append(command, word)
			}
			command = slices.DeleteFunc(command, func(w string) bool { return !regexp.MustCompile(`^[a-z]+$`).MatchString(w) })
			key := strings.Join(command, " ")
			if help[key] == "" {
				help[key] = helpOf(t, command)
			}
			for _, flag := range regexp.MustCompile(`--[a-z][a-z-]*`).FindAllString(line, -1) {
				if !strings.Contains(help[key], flag+" ") && !strings.Contains(help[key], flag+"\n") {
					return false
				}
			}
			return true
		})
}

func helpOf(t *testing.T, command []string) string {
	t.Helper()
	out := &bytes.Buffer{}
	status := cli.Run(t.Context(), append(command, "--help"), cli.Process{
		Out: out, Err: out, Env: func(string) (string, bool) { return "", false },
	})
	if status != cli.ExitOK {
		t.Fatalf("hnsguard %s --help exits with %d: %s", strings.Join(command, " "), status, out)
	}
	return out.String()
}

// Invariant 4.
func TestEveryVerdictIsExplained(t *testing.T) {
	g := NewWithT(t)
	for _, kind := range verdict.Kinds() {
		g.Expect(readPages(t)["docs/how-it-works.md"].code).To(ContainElement(string(kind)))
	}
}

// Invariant 4: a reason is a constant of package verdict, and each is in the table.
func TestEveryReasonIsExplained(t *testing.T) {
	g := NewWithT(t)
	explained := readPages(t)["docs/how-it-works.md"].code
	constant := regexp.MustCompile(`Reason += "([a-z-]+)"`)
	reasons := constant.FindAllStringSubmatch(readFile(t, "internal/verdict/verdict.go"), -1)
	g.Expect(len(reasons)).To(BeNumerically(">", 10))
	for _, reason := range reasons {
		g.Expect(explained).To(ContainElement(reason[1]))
	}
}

// Invariant 4.
func TestEveryPackageIsInTheArchitecture(t *testing.T) {
	g := NewWithT(t)
	listed := readPages(t)["docs/architecture.md"].code
	packages, err := os.ReadDir(filepath.Join(root, "internal"))
	g.Expect(err).NotTo(HaveOccurred())
	for _, p := range packages {
		g.Expect(slices.Contains(listed, p.Name())).To(BeTrue(),
			"docs/architecture.md does not say what internal/%s is for", p.Name())
	}
}

// Invariant 2, for the table of packages.
func TestEveryPackageOfTheArchitectureExists(t *testing.T) {
	g := NewWithT(t)
	_, table, _ := strings.Cut(readFile(t, "docs/architecture.md"), "\n| package | purpose |\n")
	rows := regexp.MustCompile("(?m)^\\| ((?:`[a-z/]+`(?:, )?)+) \\|").FindAllStringSubmatch(table, -1)
	g.Expect(len(rows)).To(BeNumerically(">", 20))
	for _, row := range rows {
		for name := range strings.SplitSeq(strings.ReplaceAll(row[1], "`", ""), ", ") {
			g.Expect(filepath.Join(root, "internal", name)).To(BeADirectory())
		}
	}
}

// Invariant 4.
func TestEveryAlertHasARunbook(t *testing.T) {
	g := NewWithT(t)
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(
		readFile(t, "charts/hnsguard/templates/prometheusrule.yaml"), -1)
	g.Expect(alerts).NotTo(BeEmpty())
	for _, alert := range alerts {
		g.Expect(readPages(t)).To(HaveKey("docs/runbooks/" + alert[1] + ".md"))
	}
}
