// SPDX-License-Identifier: Apache-2.0

package terminal_test

import (
	"errors"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/terminal"
)

// printed returns the text of a page that is not for a terminal.
func printed(t *testing.T, fill func(*terminal.Page)) string {
	t.Helper()
	var out strings.Builder
	page := terminal.NewPage(&out)
	fill(page)
	if err := page.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Invariant 2.
func TestAValueFakesNoRow(t *testing.T) {
	const faked = "win-1\nwin-2\tguarding"
	g := NewWithT(t)
	g.Expect(printed(t, func(p *terminal.Page) {
		p.Table([]string{"NODE", "STATE"}, []terminal.Row{{Cells: []string{faked, "unknown"}}, {Cells: []string{"win-3", ""}, Colour: terminal.Red}})
	})).To(Equal(`NODE                            STATE
win-1\u000awin-2\u0009guarding  unknown
win-3                           -
`))
	type kind string
	g.Expect(printed(t, func(p *terminal.Page) {
		p.Printf("Node %s, %s: %v, %d pods\n", faked, kind("a\nb"), errors.New("c\x1b"), 3)
	})).To(Equal(`Node win-1\u000awin-2\u0009guarding, a\u000ab: c\u001b, 3 pods` + "\n"))
}

// Invariant 3: each line has its colour, and columns stay aligned.
func TestWhatNeedsAttentionHasAColour(t *testing.T) {
	g := NewWithT(t)
	var out strings.Builder
	page := terminal.NewPage(terminal.Coloured(&out))
	page.Table([]string{"NODE", "STATE"}, []terminal.Row{
		{Cells: []string{"win-1", "guarding"}}, {Cells: []string{"a", "unknown"}, Colour: terminal.Red},
	})
	page.Heading(terminal.Yellow, strings.Repeat("1234567 ", 11)+"\x1b[0m")
	g.Expect(page.Flush()).To(Succeed())
	g.Expect(out.String()).To(Equal("NODE   STATE\nwin-1  guarding\n\x1b[31ma      unknown\x1b[0m\n\x1b[33m" +
		strings.TrimSpace(strings.Repeat("1234567 ", 10)) + "\x1b[0m\n\x1b[33m1234567 \\u001b[0m\x1b[0m\n"))
}

// Invariant 4.
func TestParagraph(t *testing.T) {
	g := NewWithT(t)
	text := strings.Repeat("1234567 ", 100)
	lines := strings.Split(strings.TrimSuffix(printed(t, func(p *terminal.Page) { p.Paragraph("  because  ", text) }), "\n"), "\n")
	g.Expect(lines).To(HaveLen(13), "each has room for 8 words of 8 columns")
	g.Expect(lines[0]).To(HavePrefix("  because  1234567 1234567"))
	for _, line := range lines[1:] {
		g.Expect(line).To(HavePrefix(strings.Repeat(" ", 11) + "1"))
		g.Expect(len(line)).To(BeNumerically("<=", 80))
	}
	long := strings.Repeat("x", 200)
	g.Expect(printed(t, func(p *terminal.Page) { p.Lines("- ", "a fault\n\nb "+long+"\n") })).
		To(Equal("- a fault\n  b\n  " + long + "\n"))
	g.Expect(printed(t, func(p *terminal.Page) { p.Paragraph("- ", "a\nb") })).To(Equal(`- a\u000ab` + "\n"))
	g.Expect(printed(t, func(p *terminal.Page) { p.Paragraph("- ", "") })).To(Equal("- \n"))
}

func TestAWordStaysWhole(t *testing.T) {
	g := NewWithT(t)
	long := strings.Repeat("x", 200)
	g.Expect(terminal.WrapAt("a "+long+" b", 80)).To(Equal("a\n" + long + "\nb"))
	g.Expect(terminal.WrapAt("ää öö üü", 5)).To(Equal("ää öö\nüü"), "columns are counted, not bytes")
	g.Expect(terminal.WrapAt("", 80)).To(BeEmpty())
}
