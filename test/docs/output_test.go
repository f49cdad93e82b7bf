// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/cli"
	pictures "github.com/hnsguard/hnsguard/test/page"
)

// Invariant 6: commands that read files of the repository print what the page shows.
func TestTheExampleWithoutAClusterIsWhatIsPrinted(t *testing.T) {
	g := NewWithT(t)
	text := readFile(t, "docs/troubleshooting.md")
	blocks := regexp.MustCompile("(?s)```console\n\\$ bin/hnsguard ((?:[^\n]*\\\\\n)*[^\n]*--cluster-dump internal/[^\n]*)\n(.*?)\n```").
		FindAllStringSubmatch(text, -1)
	g.Expect(blocks).To(HaveLen(1), "a scan")
	t.Chdir(root)
	for _, block := range blocks {
		args := strings.Fields(strings.ReplaceAll(block[1], "\\\n", " "))
		var out, errs strings.Builder
		cli.Run(t.Context(), args, cli.Process{
			Out: &out, Err: &errs, Env: func(string) (string, bool) { return "", false },
		})
		g.Expect(errs.String()).To(BeEmpty())
		g.Expect(strings.TrimSpace(out.String())).To(Equal(block[2]), "hnsguard "+args[0])
	}
}

// Invariant 7.
func TestThePicturesOfTheNodePageAreCurrent(t *testing.T) {
	g := NewWithT(t)
	sum, err := pictures.Sum(root)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(readFile(t, "docs/images/"+pictures.SumFile)).To(Equal(sum),
		"the page or its story has changed: run make screenshots, and look at the pictures")
}
