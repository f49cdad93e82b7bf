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

// Invariant 3: for each cell, the last affected version has the fault and the next has not, or the other way round.
func TestTheTableOfVersionsIsTrue(t *testing.T) {
	g := NewWithT(t)
	rows := regexp.MustCompile(`(?m)^\| (1\.(\d+)(?: and (?:earlier|later))?) `+strings.Repeat(`\| ([^|]+) `, 5)+`\|$`).
		FindAllStringSubmatch(readFile(t, "docs/how-it-works.md"), -1)
	g.Expect(len(rows)).To(BeNumerically(">=", 8))
	for _, row := range rows {
		minor, err := strconv.Atoi(row[2])
		g.Expect(err).NotTo(HaveOccurred())
		for column, has := range []func(kubeproxy.Profile) bool{
			func(p kubeproxy.Profile) bool { return p.StaleRecord },
			func(p kubeproxy.Profile) bool { return p.BatchLeak },
			func(p kubeproxy.Profile) bool { return p.Duplicates },
			func(p kubeproxy.Profile) bool { return p.GivenUpLeak },
			func(p kubeproxy.Profile) bool { return p.LosesLoadBalancers },
		} {
			g.Expect(untrue(minor, row[3+column], has)).To(BeEmpty(), "row %s, column %d", row[1], column+2)
		}
	}
}

// untrue returns what is wrong with a cell.
func untrue(minor int, cell string, has func(kubeproxy.Profile) bool) string {
	affected := func(patch int) bool { return has(kubeproxy.ProfileOf(fmt.Sprintf("v1.%d.%d", minor, patch))) }
	patch := func(prefix string) (int, bool) {
		number, is := strings.CutPrefix(cell, fmt.Sprintf("%s 1.%d.", prefix, minor))
		n, err := strconv.Atoi(number)
		return n, is && err == nil
	}
	last, ends := patch("up to")
	first, begins := patch("from")
	switch {
	case cell == "yes" && affected(0) && affected(manyPatches):
	case cell == "no" && !affected(0) && !affected(manyPatches):
	case ends && affected(0) && affected(last) && !affected(last+1):
	case begins && first > 0 && !affected(first-1) && affected(first) && affected(manyPatches):
	default:
		return fmt.Sprintf("%q is not what is known of 1.%d", cell, minor)
	}
	return ""
}

func TestAnUntrueCellIsFound(t *testing.T) {
	g := NewWithT(t)
	leaks := func(p kubeproxy.Profile) bool { return p.BatchLeak }
	givesUp := func(p kubeproxy.Profile) bool { return p.GivenUpLeak }
	g.Expect(untrue(32, "up to 1.32.9", leaks)).To(BeEmpty())
	g.Expect(untrue(32, "from 1.32.10", givesUp)).To(BeEmpty())
	g.Expect(untrue(32, "from 1.32.9", givesUp)).NotTo(BeEmpty())
	g.Expect(untrue(32, "from 1.32.11", givesUp)).NotTo(BeEmpty())
	for _, cell := range []string{"yes", "no", "up to 1.32.8", "up to 1.32.12", "up to 1.31.9", ""} {
		g.Expect(untrue(32, cell, leaks)).NotTo(BeEmpty(), cell)
	}
}
