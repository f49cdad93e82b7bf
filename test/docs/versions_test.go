// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

// manyPatches is more than any minor version has had.
const manyPatches = 99

// Invariant 3: for each cell, the last affected version has the fault and the next has not.
func TestTheTableOfVersionsIsTrue(t *testing.T) {
	g := NewWithT(t)
	rows := regexp.MustCompile(`(?m)^\| (1\.(\d+)(?: and (?:earlier|later))?) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`).
		FindAllStringSubmatch(readFile(t, "README.md"), -1)
	g.Expect(len(rows)).To(BeNumerically(">=", 8))
	for _, row := range rows {
		minor, err := strconv.Atoi(row[2])
		g.Expect(err).NotTo(HaveOccurred())
		for column, has := range []func(kubeproxy.Profile) bool{
			func(p kubeproxy.Profile) bool { return p.StaleRecord },
			func(p kubeproxy.Profile) bool { return p.BatchLeak },
			func(p kubeproxy.Profile) bool { return p.Duplicates },
		} {
			g.Expect(untrue(minor, row[3+column], has)).To(BeEmpty(), "row %s, column %d", row[1], column+2)
		}
	}
}

// untrue returns what is wrong with a cell.
func untrue(minor int, cell string, has func(kubeproxy.Profile) bool) string {
	affected := func(patch int) bool { return has(kubeproxy.ProfileOf(fmt.Sprintf("v1.%d.%d", minor, patch))) }
	last, bounded := strings.CutPrefix(cell, fmt.Sprintf("up to and including 1.%d.", minor))
	patch, err := strconv.Atoi(last)
	switch {
	case cell == "yes" && affected(0) && affected(manyPatches):
	case cell == "no" && !affected(0) && !affected(manyPatches):
	case bounded && err == nil && affected(0) && affected(patch) && !affected(patch+1):
	default:
		return fmt.Sprintf("%q is not what is known of 1.%d", cell, minor)
	}
	return ""
}

func TestAnUntrueCellIsFound(t *testing.T) {
	g := NewWithT(t)
	leaks := func(p kubeproxy.Profile) bool { return p.BatchLeak }
	g.Expect(untrue(32, "up to and including 1.32.9", leaks)).To(BeEmpty())
	for _, cell := range []string{"yes", "no", "up to and including 1.32.8", "up to and including 1.32.12", "up to and including 1.31.9", ""} {
		g.Expect(untrue(32, cell, leaks)).NotTo(BeEmpty(), cell)
	}
}
