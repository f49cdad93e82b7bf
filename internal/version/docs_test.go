// SPDX-License-Identifier: Apache-2.0

package version_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/version"
)

func TestTheURLIsThatOfTheChartsRunbooks(t *testing.T) {
	g := NewWithT(t)
	values, err := os.ReadFile("../../charts/hnsguard/values.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(values)).To(ContainSubstring("runbookURL: " + strings.TrimSuffix(version.RunbookURL("X"), "/X.md") + "\n"))
}

// Every page that the program refers to exists.
func TestReferredPagesExist(t *testing.T) {
	g := NewWithT(t)
	call := regexp.MustCompile(`version\.(DocsURL|RunbookURL)\("([^"]+)"\)`)
	found := 0
	g.Expect(filepath.WalkDir("..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range call.FindAllStringSubmatch(string(source), -1) {
			found++
			page := strings.SplitN(m[2], "#", 2)[0]
			if m[1] == "RunbookURL" {
				page = "runbooks/" + page + ".md"
			}
			g.Expect(filepath.Join("../../docs", page)).To(BeARegularFile(), path)
		}
		return err
	})).To(Succeed())
	g.Expect(found).To(BeNumerically(">", 2))
}
