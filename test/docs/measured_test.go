// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"path"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// matrix is the page of measurements, and notMeasured its mark for a scenario without results.
const (
	matrix      = "docs/results/kube-proxy-matrix.md"
	notMeasured = "Not measured yet."
)

// Invariant 5. A page that links to any scenario may say that it exists, but not that it was measured.
func TestWhatIsCalledMeasuredWasMeasured(t *testing.T) {
	missing := withoutResults(readFile(t, matrix))
	for _, p := range readPages(t) {
		for _, link := range falseClaims(p, missing) {
			t.Errorf("%s says that something was measured, and links to %s, which has no results", p.path, link)
		}
	}
}

// withoutResults returns the anchors of the scenarios of the matrix that have no results.
func withoutResults(text string) []string {
	var anchors []string
	for _, section := range strings.Split(text, "\n### ")[1:] {
		heading, body, _ := strings.Cut(section, "\n")
		if strings.Contains(body, notMeasured) {
			anchors = append(anchors, anchor(heading))
		}
	}
	return anchors
}

// falseClaims returns the links to scenarios without results in those blocks of the page that mention measurements.
func falseClaims(p page, missing []string) []string {
	var links []string
	for _, b := range p.blocks {
		if p.path == matrix || !strings.Contains(strings.ToLower(b.text), "measured") {
			continue
		}
		for _, link := range b.links {
			target, fragment, _ := strings.Cut(link, "#")
			if path.Join(path.Dir(p.path), target) == matrix && slices.Contains(missing, fragment) {
				links = append(links, link)
			}
		}
	}
	return links
}

func TestAFalseClaimIsFound(t *testing.T) {
	g := NewWithT(t)
	missing := withoutResults("# Matrix\n\n### slice lag\n\n" + notMeasured + "\n\n### batch leak\n\n| a table |\n")
	g.Expect(missing).To(Equal([]string{"slice-lag"}))
	for text, want := range map[string]int{
		"Measured ([matrix](results/kube-proxy-matrix.md#slice-lag)).":                                    1,
		"Measured\nlong ago: [matrix](results/kube-proxy-matrix.md#slice-lag).":                           1,
		"| was | result |\n|---|---|\n| as measured, [x](results/kube-proxy-matrix.md#slice-lag) | y |\n": 1,
		"Measured ([matrix](results/kube-proxy-matrix.md#batch-leak)).":                                   0,
		"Measured.\n\nThere is [a scenario](results/kube-proxy-matrix.md#slice-lag).":                     0,
	} {
		p := parse([]byte(text))
		p.path = "docs/how-it-works.md"
		g.Expect(falseClaims(p, missing)).To(HaveLen(want), text)
	}
}
