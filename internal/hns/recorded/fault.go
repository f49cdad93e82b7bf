// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Remedies that several faults share.
const (
	remedyDepth    = "PowerShell cut the value off: record it again with | ConvertTo-Json -Depth 20"
	remedyJSON     = "record it with | ConvertTo-Json -Depth 20"
	remedyOneState = "give files of one node and one moment"
)

// source is the text of one file.
type source struct {
	name string
	text string
}

// place is where in a file something stands.
type place struct {
	// offset counts bytes of the decoded text.
	offset int
	// path is the JSON path, or in the text formats the name of the property. It may be empty.
	path string
	// owner names the object that the place belongs to, for people: "endpoint 2462B2D1-…". It may be empty.
	owner string
}

// fault is one thing wrong with a file.
type fault struct {
	place
	file         string
	line, column int
	reason       string
	remedy       string
}

// Error reads as compilers' messages do: the place, what is wrong there, and what can be done about it.
func (f *fault) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", f.file, f.line, f.column)
	switch {
	case f.path != "" && f.owner != "":
		fmt.Fprintf(&b, "%s of %s: ", f.path, f.owner)
	case f.path != "" || f.owner != "":
		fmt.Fprintf(&b, "%s: ", f.path+f.owner)
	}
	b.WriteString(f.reason)
	if f.remedy != "" {
		b.WriteString("; " + f.remedy)
	}
	return b.String()
}

// faults collects everything that is wrong with one file, so that it can be mended in one go.
type faults struct {
	source source
	list   []*fault
}

// add notes a fault. The remedy may be empty.
func (f *faults) add(at place, remedy, format string, args ...any) {
	f.list = append(f.list, &fault{
		place:  at,
		file:   f.source.name,
		reason: fmt.Sprintf(format, args...),
		remedy: remedy,
	})
}

// err is all faults in one error, in the order of the file, or nil.
func (f *faults) err() error {
	slices.SortStableFunc(f.list, func(a, b *fault) int { return cmp.Compare(a.offset, b.offset) })
	errs := make([]error, len(f.list))
	// Lines are counted on from fault to fault, because a large file may have thousands.
	line, lineStart, counted := 1, 0, 0
	for i, one := range f.list {
		passed := f.source.text[counted:one.offset]
		line += strings.Count(passed, "\n")
		if last := strings.LastIndexByte(passed, '\n'); last >= 0 {
			lineStart = counted + last + 1
		}
		counted = one.offset
		one.line, one.column = line, utf8.RuneCountInString(f.source.text[lineStart:counted])+1
		errs[i] = one
	}
	return errors.Join(errs...)
}
