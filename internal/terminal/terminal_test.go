// SPDX-License-Identifier: Apache-2.0

package terminal_test

import (
	"os"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/terminal"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

// Invariant 1.
func TestOnlyATerminalGetsColours(t *testing.T) {
	g := NewWithT(t)
	none := func(string) (string, bool) { return "", false }
	file, err := os.Create(tempdir.New(t) + "/out")
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = file.Close() })
	g.Expect(terminal.PaletteFor(file, none)).To(BeEquivalentTo(false), "a file")
	g.Expect(terminal.PaletteFor(&strings.Builder{}, none)).To(BeEquivalentTo(false))
	for name, tc := range map[string]struct {
		goos string
		env  map[string]string
		want bool
	}{
		"Linux":                {"linux", map[string]string{"TERM": "xterm"}, true},
		"Linux, unwanted":      {"linux", map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, false},
		"Linux, not unwanted":  {"linux", map[string]string{"TERM": "xterm", "NO_COLOR": ""}, true},
		"a dumb one":           {"linux", map[string]string{"TERM": "dumb"}, false},
		"Windows' old console": {"windows", nil, false},
		"Windows Terminal":     {"windows", map[string]string{"WT_SESSION": "x"}, true},
		"mintty":               {"windows", map[string]string{"TERM": "xterm"}, true},
	} {
		g.Expect(terminal.Colours(tc.goos, func(name string) (string, bool) {
			value, set := tc.env[name]
			return value, set
		})).To(Equal(tc.want), name)
	}
}

// Invariant 2.
func TestPaint(t *testing.T) {
	g := NewWithT(t)
	g.Expect(terminal.Palette(false).Paint(terminal.Red, "fail")).To(Equal("fail"))
	g.Expect(terminal.Palette(true).Paint(terminal.Red, "fail")).To(Equal("\x1b[31mfail\x1b[0m"))
}

func TestWrap(t *testing.T) {
	g := NewWithT(t)
	text := strings.Repeat("1234567 ", 100)
	lines := strings.Split(terminal.Wrap(text, 20), "\n")
	g.Expect(lines).To(HaveLen(10), "each has room for 11 words of 8 columns, and a hundred are in 10 lines")
	for i, line := range lines {
		if i > 0 {
			g.Expect(line).To(HavePrefix(strings.Repeat(" ", 20) + "1"))
			g.Expect(len(line)).To(BeNumerically("<=", terminal.Width))
		}
	}
	g.Expect(strings.Fields(strings.Join(lines, " "))).To(Equal(strings.Fields(text)), "no word is lost")
	long := strings.Repeat("x", 200)
	g.Expect(terminal.Wrap("a "+long+" b", 4)).To(Equal("a\n    " + long + "\n    b"))
	g.Expect(terminal.Wrap("", 4)).To(BeEmpty())
}

func TestWrapLines(t *testing.T) {
	g := NewWithT(t)
	long := strings.Repeat("x", 200)
	g.Expect(terminal.WrapLines("a fault\n\nb "+long+"\n", 2)).To(Equal("a fault\n  b\n  " + long))
	g.Expect(terminal.WrapLines("\n", 2)).To(BeEmpty())
}
