// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// source is the text of one file and what is wrong with it.
type source struct {
	name string
	text string

	faults []fault
}

// fault is one thing wrong with a file.
type fault struct {
	offset int
	reason string
}

// newSource turns the content of a file into text.
func newSource(name string, data []byte) (*source, error) {
	text, err := decodeText(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return &source{name: name, text: text}, nil
}

// report notes a fault at an offset of the text.
func (f *source) report(offset int, format string, args ...any) {
	offset = max(0, min(offset, len(f.text)))
	f.faults = append(f.faults, fault{offset, fmt.Sprintf(format, args...)})
}

// reportJSON notes what a [json.Decoder] complained of that reads a JSON value beginning at the offset start.
func (f *source) reportJSON(start int, err error) {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		// A decoder that was used for tokens does not count their bytes. So the value is checked again, from its beginning.
		if again := json.Unmarshal([]byte(f.text[start:]), &json.RawMessage{}); again != nil {
			errors.As(again, &syntax)
		}
		f.report(start+int(syntax.Offset)-1, "invalid JSON: %v", syntax)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.report(len(f.text), "the file is truncated: it ends inside the JSON value that begins in line %d; record it again",
			strings.Count(f.text[:start], "\n")+1)
	default:
		f.report(start, "reading JSON: %v", err)
	}
}

// sound reports whether no fault was found so far.
func (f *source) sound() bool { return len(f.faults) == 0 }

// err returns all faults in one error, in the order of the file, or nil.
func (f *source) err() error {
	slices.SortStableFunc(f.faults, func(a, b fault) int { return cmp.Compare(a.offset, b.offset) })
	errs := make([]error, len(f.faults))
	// Lines and columns are counted on from one fault to the next: a large file may have thousands of them, on one line.
	line, column, counted := 1, 1, 0
	for i, fault := range f.faults {
		passed := f.text[counted:fault.offset]
		if last := strings.LastIndexByte(passed, '\n'); last >= 0 {
			line += strings.Count(passed, "\n")
			column, passed = 1, passed[last+1:]
		}
		column += utf8.RuneCountInString(passed)
		counted = fault.offset
		errs[i] = fmt.Errorf("%s:%d:%d: %s", f.name, line, column, fault.reason)
	}
	return errors.Join(errs...)
}
