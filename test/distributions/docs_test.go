// SPDX-License-Identifier: Apache-2.0

package distributions_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

const checkout = "../.."

func read(t *testing.T, path ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Invariant 3. A distribution has a folder, a row of the first table with the name of its networks, a row of the second
// table, and an example. Each node is in the tests, and each file has its sources.
func TestEveryDistributionIsWhole(t *testing.T) {
	g := NewWithT(t)
	page, sources := read(t, checkout, "docs", "distributions.md"), read(t, "testdata", "README.md")
	networks, kubeProxy, found := strings.Cut(page, "## kube-proxy\n")
	g.Expect(found).To(BeTrue())
	folders := map[string]string{} // the row of each
	rows := 0
	for _, row := range strings.Split(networks, "\n") {
		if match := regexp.MustCompile(`\.\./test/distributions/testdata/([a-z0-9]+)\)`).FindStringSubmatch(row); match != nil &&
			strings.HasPrefix(row, "| ") {
			folders[match[1]] = row
			rows++
		}
	}
	g.Expect(folders).To(HaveLen(rows), "one row each")

	nodesOf := map[string]int{}
	for _, n := range nodes() {
		nodesOf[n.distribution()]++
		row := folders[n.distribution()]
		g.Expect(row).NotTo(BeEmpty(), "%s has no row", n.file)
		g.Expect(row).To(ContainSubstring("(../charts/hnsguard/examples/" + n.distribution() + "-values.yaml)"))
		g.Expect(sources).To(ContainSubstring("| `" + n.file + ".json` |"))
		for _, other := range n.dump(t).Networks {
			if other.Type != hns.NetworkNAT {
				g.Expect(row+"`that of flannel`").To(ContainSubstring(known(other.Name)), "a network of %s", n.file)
			}
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
		g.Expect(kubeProxy).To(ContainSubstring("\n| "+name+" | "), "kube-proxy of %s", name)
	}
	g.Expect(nodesOf).To(HaveLen(len(folders)))

	files, err := filepath.Glob("testdata/*/*.json")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(files).To(HaveLen(len(nodes())), "every file is a node of the tests")
	examples, err := filepath.Glob(checkout + "/charts/hnsguard/examples/*.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(examples).To(HaveLen(len(folders)), "every example belongs to a distribution")
}

// known returns the table's spelling of a network's name.
func known(name string) string {
	switch {
	case strings.HasPrefix(name, "vpcbr"):
		return "`vpcbr`"
	case strings.HasPrefix(name, "flannel."):
		return "flannel"
	default:
		return "`" + name + "`"
	}
}

// Invariant 3: each number has a source, and each source is used.
func TestEverySourceIsUsed(t *testing.T) {
	g := NewWithT(t)
	text, list, found := strings.Cut(read(t, checkout, "docs", "distributions.md"), "## Sources\n")
	g.Expect(found).To(BeTrue())
	used, given := map[string]bool{}, map[string]bool{}
	for _, match := range regexp.MustCompile(`\[(\d+)\]`).FindAllStringSubmatch(text, -1) {
		used[match[1]] = true
	}
	for _, match := range regexp.MustCompile(`(?m)^(\d+)\. `).FindAllStringSubmatch(list, -1) {
		given[match[1]] = true
	}
	g.Expect(used).NotTo(BeEmpty())
	g.Expect(used).To(Equal(given))
}

// The layouts in other tests and in the demo are those of the nodes here.
func TestTheSimulatedLayoutsAreOfTheseNodes(t *testing.T) {
	for _, layout := range hnstest.Layouts() {
		t.Run(layout.Name, func(t *testing.T) {
			var want []string
			for _, l := range append([]hnstest.LayoutNetwork{layout.Pods}, layout.Others...) {
				want = append(want, l.Name+" "+string(l.Type))
			}
			matched := false
			for _, n := range nodes() {
				if n.distribution() != layout.Name {
					continue
				}
				text := read(t, "testdata", filepath.FromSlash(n.file)+".json")
				var got []string
				for _, match := range regexp.MustCompile(`"Name": "([^"]+)", "Type": "(\w+)"`).FindAllStringSubmatch(text, -1) {
					got = append(got, match[1]+" "+match[2])
				}
				same, err := ConsistOf(want).Match(got)
				NewWithT(t).Expect(err).NotTo(HaveOccurred())
				matched = matched || same
			}
			NewWithT(t).Expect(matched).To(BeTrue(), "no node of %s has just %v", layout.Name, want)
		})
	}
}
