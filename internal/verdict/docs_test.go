// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"os"
	"regexp"
	"testing"

	. "github.com/onsi/gomega"
)

// Users look up the output of scan in the documentation.
func TestTheDocumentationNamesEveryVerdictAndReason(t *testing.T) {
	g := NewWithT(t)
	source, err := os.ReadFile("verdict.go")
	g.Expect(err).NotTo(HaveOccurred())
	page, err := os.ReadFile("../../docs/how-it-works.md")
	g.Expect(err).NotTo(HaveOccurred())
	constants := regexp.MustCompile(`(?:Kind|Reason) = "(.*)"`).FindAllSubmatch(source, -1)
	g.Expect(len(constants)).To(BeNumerically(">", 30))
	for _, c := range constants {
		g.Expect(string(page)).To(ContainSubstring("`" + string(c[1]) + "`"))
	}
}
