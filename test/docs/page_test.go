// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// root is the path of the repository.
const root = "../.."

// page is a Markdown file, as far as the tests need it.
type page struct {
	path string // from the root
	// links are the targets of links and images, and anchors the possible targets in the page.
	links, anchors []string
	// code are the code spans and the lines of code blocks.
	code []string
	// blocks are the paragraphs, the items of lists and the cells of tables.
	blocks []block
}

// block is a piece of text with the links in it.
type block struct {
	text  string
	links []string
}

// readPages reads every Markdown file of the repository.
func readPages(t *testing.T) map[string]page {
	t.Helper()
	pages := map[string]page{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin"}, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		p := parse(source)
		p.path = filepath.ToSlash(relative)
		pages[p.path] = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

func parse(source []byte) page {
	var p page
	document := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	// Walk returns only the errors of its visitor, which has none.
	_ = ast.Walk(document, func(node ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := node.(type) {
		case *ast.Paragraph, *ast.TextBlock, *extast.TableCell:
			p.blocks = append(p.blocks, block{text: textOf(n, source), links: linksOf(n)})
		case *ast.Link:
			p.links = append(p.links, string(n.Destination))
		case *ast.Image:
			p.links = append(p.links, string(n.Destination))
		case *ast.Heading:
			p.anchors = append(p.anchors, unused(p.anchors, anchor(textOf(n, source))))
		case *ast.CodeSpan:
			p.code = append(p.code, textOf(n, source))
		case *ast.FencedCodeBlock:
			for _, line := range n.Lines().Sliced(0, n.Lines().Len()) {
				p.code = append(p.code, strings.TrimRight(string(line.Value(source)), "\n"))
			}
		}
		return ast.WalkContinue, nil
	})
	return p
}

// textOf returns the text of a node without its markup.
func textOf(node ast.Node, source []byte) string {
	out := &strings.Builder{}
	_ = ast.Walk(node, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, is := n.(*ast.Text); is && entering {
			out.Write(t.Segment.Value(source))
			if t.SoftLineBreak() {
				out.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return out.String()
}

// linksOf returns the targets of the links in a node.
func linksOf(node ast.Node) []string {
	var links []string
	_ = ast.Walk(node, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if link, is := n.(*ast.Link); is && entering {
			links = append(links, string(link.Destination))
		}
		return ast.WalkContinue, nil
	})
	return links
}

// anchor returns GitHub's anchor for a heading.
func anchor(heading string) string {
	dropped := regexp.MustCompile(`[^\p{L}\p{N}\- _]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(dropped, " ", "-")
}

// unused adds a number to an anchor that an earlier heading of the page has.
func unused(anchors []string, wanted string) string {
	name := wanted
	for n := 1; slices.Contains(anchors, name); n++ {
		name = fmt.Sprintf("%s-%d", wanted, n)
	}
	return name
}
