// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// Invariant 1. Links to other sites are not followed.
func TestLinksLeadSomewhere(t *testing.T) {
	pages := readPages(t)
	for _, p := range pages {
		for _, link := range p.links {
			if fault := follow(pages, p, link); fault != "" {
				t.Errorf("%s links to %q: %s", p.path, link, fault)
			}
		}
	}
}

// follow returns what is wrong with a link.
func follow(pages map[string]page, from page, link string) string {
	target, err := url.Parse(link)
	if err != nil {
		return err.Error()
	}
	if target.Scheme != "" {
		return ""
	}
	to := from.path
	if target.Path != "" {
		to = path.Join(path.Dir(from.path), target.Path)
	}
	if strings.HasPrefix(to, "..") {
		return "it leaves the repository"
	}
	if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(to))); err != nil {
		return "there is no such file"
	}
	if target.Fragment != "" && !slices.Contains(pages[to].anchors, target.Fragment) {
		return "the page has no such heading"
	}
	return ""
}

// Two links to one page would make a reader of the README wonder about the difference.
func TestTheReadmeLinksToEachPageOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, link := range readPages(t)["README.md"].links {
		if seen[link] {
			t.Errorf("README.md links to %s more than once", link)
		}
		seen[link] = true
	}
}

// Invariant 4: a page without a link to it is not read.
func TestEveryPageIsLinked(t *testing.T) {
	pages := readPages(t)
	linked := map[string]bool{"README.md": true}
	for _, p := range pages {
		for _, link := range p.links {
			target, _, _ := strings.Cut(link, "#")
			linked[path.Join(path.Dir(p.path), target)] = true
		}
	}
	for name := range pages {
		if strings.HasPrefix(name, "docs/") && !linked[name] && !linked[path.Dir(name)] {
			t.Errorf("no page links to %s", name)
		}
	}
}

func TestAFaultyLinkIsFound(t *testing.T) {
	g := NewWithT(t)
	pages := map[string]page{"docs/upgrade.md": parse([]byte("# One\n\n## One\n\n## The `code` & more\n"))}
	pages["docs/upgrade.md"] = page{path: "docs/upgrade.md", anchors: pages["docs/upgrade.md"].anchors}
	g.Expect(pages["docs/upgrade.md"].anchors).To(Equal([]string{"one", "one-1", "the-code--more"}))
	for link, fault := range map[string]string{
		"#one": "", "#one-1": "", "#two": "no such heading", "missing.md": "no such file", "../../elsewhere": "leaves",
		"https://example.com/missing": "",
	} {
		g.Expect(follow(pages, pages["docs/upgrade.md"], link)).To(ContainSubstring(fault), link)
		if fault == "" {
			g.Expect(follow(pages, pages["docs/upgrade.md"], link)).To(BeEmpty(), link)
		}
	}
}
