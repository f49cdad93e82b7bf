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

// manyPatches is more than the patches of any minor version.
const manyPatches = 99

// Invariant 3: according to each cell, exactly the versions with the fault in package kubeproxy have it.
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
	first, last, readable := patches(minor, cell)
	for patch := range manyPatches + 1 {
		affected := has(kubeproxy.ProfileOf(fmt.Sprintf("v1.%d.%d", minor, patch)))
		if !readable || affected != (first <= patch && patch <= last) {
			return fmt.Sprintf("%q is not what is known of 1.%d.%d", cell, minor, patch)
		}
	}
	return ""
}

// patches returns the first and the last affected patch release according to a cell. It returns false if the cell
// cannot be parsed.
func patches(minor int, cell string) (first, last int, readable bool) {
	number, until := strings.CutPrefix(cell, fmt.Sprintf("up to 1.%d.", minor))
	number, from := strings.CutPrefix(number, fmt.Sprintf("from 1.%d.", minor))
	patch, err := strconv.Atoi(number)
	switch {
	case cell == "yes":
		return 0, manyPatches, true
	case cell == "no":
		return 0, -1, true
	case until:
		return 0, patch, err == nil
	default:
		return patch, manyPatches, from && err == nil
	}
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
