// SPDX-License-Identifier: Apache-2.0

package terminal_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/terminal"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

func none(string) (string, bool) { return "", false }

// hostile has values from a stranger's recording, and their escaped forms.
var hostile = map[string]string{
	"web\x1b]52;c;aGk=\a\x1b[31m": `web\u001b]52;c;aGk=\u0007\u001b[31m`, // writes to the clipboard
	"a\rb\bc\x7f":                 `a\u000db\u0008c\u007f`,
	"\u009b2J":                    `\u009b2J`,
	"a\u202egnp.exe":              `a\u202egnp.exe`,
	"a\u2066b\u2069\u200f":        `a\u2066b\u2069\u200f`,
	"a\u2028b":                    `a\u2028b`,
	"\xff\xfe":                    `\xff\xfe`,
	"\x00":                        `\u0000`,
	"Grüße, 世界 \ufffd 🙂":          "Grüße, 世界 \ufffd 🙂",
}

// Invariant 1.
func TestControlCharactersAreEscaped(t *testing.T) {
	for value, want := range hostile {
		g := NewWithT(t)
		var out strings.Builder
		w := terminal.NewWriter(&out, none)
		n, err := w.Write([]byte("x\ty " + value + "\n"))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(n).To(Equal(len(value) + 5))
		g.Expect(out.String()).To(Equal("x\ty " + want + "\n"))
		g.Expect(terminal.Escape(value)).To(Equal(want))
	}
}

// JSON decodes an escape to the character: scripts read the same value.
func TestEscapedJSONIsTheSameValue(t *testing.T) {
	g := NewWithT(t)
	for value := range hostile {
		value = strings.ToValidUTF8(value, "?")
		data, err := json.Marshal(value)
		g.Expect(err).NotTo(HaveOccurred())
		var out strings.Builder
		_, _ = terminal.NewWriter(&out, none).Write(data)
		var read string
		g.Expect(json.Unmarshal([]byte(out.String()), &read)).To(Succeed())
		g.Expect(read).To(Equal(value))
	}
}

// Invariants 1 and 3.
func TestOnlyThePagesColoursReachATerminal(t *testing.T) {
	g := NewWithT(t)
	for _, tc := range []struct {
		writer func(*strings.Builder) *terminal.Writer
		want   string
	}{
		{func(b *strings.Builder) *terminal.Writer { return terminal.Coloured(b) }, "\x1b[31mfail\x1b[0m " + `\u001b[8mhidden` + "\n"},
		{func(b *strings.Builder) *terminal.Writer { return terminal.NewWriter(b, none) }, `fail \u001b[8mhidden` + "\n"},
	} {
		var out strings.Builder
		page := terminal.NewPage(tc.writer(&out))
		page.Paragraph(page.Paint(terminal.Red, "fail")+" ", "\x1b[8mhidden")
		g.Expect(page.Flush()).To(Succeed())
		g.Expect(out.String()).To(Equal(tc.want))
	}
}

// Invariant 3.
func TestOnlyATerminalGetsColours(t *testing.T) {
	g := NewWithT(t)
	file, err := os.Create(tempdir.New(t) + "/out")
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = file.Close() })
	g.Expect(terminal.Is(terminal.NewWriter(file, none))).To(BeFalse(), "a file")
	g.Expect(terminal.Width(terminal.NewWriter(file, none))).To(Equal(80))
	page := terminal.NewPage(terminal.NewWriter(file, none))
	g.Expect(page.Paint(terminal.Red, "fail")).To(Equal("fail"))
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
