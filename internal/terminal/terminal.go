// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/term"
)

// Is reports whether what is written to w is shown on a terminal.
func Is(w io.Writer) bool {
	file, is := w.(*os.File)
	return is && term.IsTerminal(int(file.Fd()))
}

// Colour is how a word is shown.
type Colour string

// The colours. The terminal's own scheme decides what they look like, on light ground and on dark.
const (
	Red    Colour = "31"
	Green  Colour = "32"
	Yellow Colour = "33"
	Grey   Colour = "90"
)

// Palette colours text, or leaves it as it is.
type Palette bool

// PaletteFor returns the palette for what is written to w (invariant 1). A console of Windows understands colours if it
// runs in Windows Terminal, which sets $WT_SESSION, or if $TERM says so.
func PaletteFor(w io.Writer, env func(string) (string, bool)) Palette {
	return Palette(Is(w) && colours(runtime.GOOS, env))
}

func colours(goos string, env func(string) (string, bool)) bool {
	set := func(name string) bool {
		value, _ := env(name)
		return value != ""
	}
	kind, _ := env("TERM")
	switch {
	case set("NO_COLOR"), kind == "dumb":
		return false
	case goos == "windows":
		return set("WT_SESSION") || kind != ""
	default:
		return true
	}
}

// Paint returns the text in the colour.
func (p Palette) Paint(colour Colour, text string) string {
	if !p {
		return text
	}
	return "\x1b[" + string(colour) + "m" + text + "\x1b[0m"
}

// Width is how many columns a line of text has.
const Width = 114

// Wrap breaks a text into lines below each other, each of which is indented so far; the first one is where the caller
// writes it. A word that is longer than a line stays whole: it may be an address that a person copies.
func Wrap(text string, indent int) string {
	var out strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case column+1+len(word) > Width-indent:
			out.WriteString("\n" + strings.Repeat(" ", indent))
			column = 0
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	return out.String()
}

// WrapLines wraps each line of a text by itself, and leaves out empty ones.
func WrapLines(text string, indent int) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = Wrap(line, indent); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n"+strings.Repeat(" ", indent))
}
