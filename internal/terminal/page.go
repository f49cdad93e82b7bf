// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// Page is text for users that is laid out before it is written. Formats and headings are constants of the program;
// values come from elsewhere (invariant 2).
type Page struct {
	to    io.Writer
	text  strings.Builder
	width int
}

// NewPage returns a page that is written to w.
func NewPage(w io.Writer) *Page { return &Page{to: w, width: Width(w)} }

// Flush writes the page.
func (p *Page) Flush() error {
	_, err := io.WriteString(p.to, p.text.String())
	p.text.Reset()
	return err
}

// Paragraph adds a label and a value, which is wrapped to the width of the page.
func (p *Page) Paragraph(label, value string) { p.Lines(label, Escape(value)) }

// Lines is Paragraph for a text with several lines, such as an error with several faults. It indents each line to the
// end of the label, so that no line looks like a row.
func (p *Page) Lines(label, text string) {
	indent := utf8.RuneCountInString(paint.ReplaceAllString(label, ""))
	var lines []string
	for line := range strings.Lines(text) {
		if line = wrap(Escape(strings.TrimRight(line, "\n")), p.width-indent); line != "" {
			lines = append(lines, strings.ReplaceAll(line, "\n", "\n"+strings.Repeat(" ", indent)))
		}
	}
	p.text.WriteString(label + strings.Join(lines, "\n"+strings.Repeat(" ", indent)) + "\n")
}

// Heading adds a paragraph in a colour.
func (p *Page) Heading(colour Colour, text string) {
	for line := range strings.SplitSeq(wrap(Escape(text), p.width), "\n") {
		p.text.WriteString(p.Paint(colour, line) + "\n")
	}
}

// Row is a row of a table. A row that needs attention has a colour.
type Row struct {
	Cells  []string
	Colour Colour
}

// Table adds a table. Empty cells show a dash.
func (p *Page) Table(headings []string, rows []Row) {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, strings.Join(headings, "\t"))
	for _, row := range rows {
		cells := make([]string, len(row.Cells))
		for i, cell := range row.Cells {
			if cells[i] = Escape(cell); cell == "" {
				cells[i] = "-"
			}
		}
		_, _ = fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	_ = table.Flush() // a strings.Builder never fails
	lines := strings.Split(text.String(), "\n")
	for i, row := range rows {
		lines[i+1] = p.Paint(row.Colour, lines[i+1])
	}
	p.text.WriteString(strings.Join(lines, "\n"))
}

// Printf adds text. It escapes the values.
func (p *Page) Printf(format string, values ...any) {
	escaped := make([]any, len(values))
	for i, value := range values {
		escaped[i] = escapeValue(value)
	}
	_, _ = fmt.Fprintf(&p.text, format, escaped...)
}

func escapeValue(value any) any {
	switch v := value.(type) {
	case error:
		return Escape(v.Error())
	case fmt.Stringer:
		return Escape(v.String())
	}
	if v := reflect.ValueOf(value); v.Kind() == reflect.String {
		return Escape(v.String())
	}
	return value
}

// wrap breaks a text into lines of the width (invariant 4).
func wrap(text string, width int) string {
	var out strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		length := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+length > width:
			out.WriteByte('\n')
			column = 0
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += length
	}
	return out.String()
}

// Colour is the colour of a text.
type Colour string

// The colours. The terminal's scheme makes them readable on light and dark backgrounds.
const (
	Red    Colour = "31"
	Green  Colour = "32"
	Yellow Colour = "33"
	Grey   Colour = "90"
)

// Paint returns the text in the colour, if the page is for a terminal with colours (invariant 3).
func (p *Page) Paint(colour Colour, text string) string {
	if w, is := p.to.(*Writer); !is || !w.colours || colour == "" {
		return text
	}
	return "\x1b[" + string(colour) + "m" + text + "\x1b[0m"
}
