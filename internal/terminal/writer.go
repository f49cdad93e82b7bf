// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// Writer writes text with escaped control characters (invariant 1).
type Writer struct {
	to      io.Writer
	colours bool
}

// NewWriter returns a writer to w. The environment decides whether it uses colours (invariant 3).
func NewWriter(w io.Writer, env func(string) (string, bool)) *Writer {
	return &Writer{to: w, colours: Is(w) && colours(runtime.GOOS, env)}
}

// Unescaped returns the underlying writer, for output that is not text.
func (w *Writer) Unescaped() io.Writer { return w.to }

// paint matches the colours of [Page.Paint].
var paint = regexp.MustCompile(`\x1b\[(31|32|33|90|0)m`)

// Write implements [io.Writer].
func (w *Writer) Write(data []byte) (int, error) {
	if _, err := w.to.Write(w.escape(data)); err != nil {
		return 0, err
	}
	return len(data), nil
}

func (w *Writer) escape(data []byte) []byte {
	if !w.colours {
		return escape(data, isLayout)
	}
	var out []byte
	for {
		at := paint.FindIndex(data)
		if at == nil {
			return append(out, escape(data, isLayout)...)
		}
		out = append(append(out, escape(data[:at[0]], isLayout)...), data[at[0]:at[1]]...)
		data = data[at[1]:]
	}
}

func isLayout(r rune) bool { return r == '\n' || r == '\t' }

// Escape replaces every control character in a value by an escape, including newlines and tabs (invariant 2).
func Escape(value string) string {
	return string(escape([]byte(value), func(rune) bool { return false }))
}

// escape replaces control characters that are not allowed by escapes such as \u001b, as in JSON.
func escape(data []byte, allowed func(rune) bool) []byte {
	if utf8.Valid(data) && !bytes.ContainsFunc(data, func(r rune) bool { return isControl(r) && !allowed(r) }) {
		return data
	}
	var out bytes.Buffer
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, data[0])
		case isControl(r) && !allowed(r):
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			out.Write(data[:size])
		}
		data = data[size:]
	}
	return out.Bytes()
}

// isControl reports whether a terminal may act on the character: C0, C1 and DEL, marks that change the direction of
// text, and line separators.
func isControl(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Is reports whether w is a terminal.
func Is(w io.Writer) bool {
	file, is := fileOf(w)
	return is && term.IsTerminal(int(file.Fd()))
}

// widthElsewhere is the width of text that is not for a terminal.
const widthElsewhere = 80

// Width returns the number of columns of the terminal w.
func Width(w io.Writer) int {
	file, is := fileOf(w)
	if !is {
		return widthElsewhere
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width <= 0 {
		return widthElsewhere
	}
	return width
}

func fileOf(w io.Writer) (*os.File, bool) {
	if writer, is := w.(*Writer); is {
		w = writer.to
	}
	file, is := w.(*os.File)
	return file, is
}

// colours reports whether a terminal gets colours. A Windows console supports them in Windows Terminal, which sets
// $WT_SESSION, or if $TERM is set.
func colours(goos string, env func(string) (string, bool)) bool {
	set := func(name string) bool {
		value, _ := env(name)
		return value != ""
	}
	kind, _ := env("TERM")
	switch {
	case set("NO_COLOR"), strings.EqualFold(kind, "dumb"):
		return false
	case goos == "windows":
		return set("WT_SESSION") || kind != ""
	default:
		return true
	}
}
