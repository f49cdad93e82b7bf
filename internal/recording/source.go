// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"
)

// The limits of reading (invariant 5).
const (
	// MaxSize is the largest file that is read.
	MaxSize = 256 << 20
	// maxFaults is how many faults are reported.
	maxFaults = 20
	// maxObject is the largest JSON object. The API server takes none above 3 MiB, and HNS has none near it.
	maxObject = 4 << 20
	// maxFields is how many fields and elements an object may have: an EndpointSlice has about 15,000 at most. Each takes
	// up to a kilobyte while it is decoded.
	maxFields = 50_000
	// minWidth is that of the narrowest console whose lines are joined.
	minWidth = 40
)

// Stdin is the file name for stdin.
const Stdin = "-"

// ErrTooLarge says that a file is larger than the limit.
var ErrTooLarge = errors.New("file too large")

// File is the content of a file. Faults refer to it by its name.
type File struct {
	Name string
	Data []byte
	// unpacked is set if it comes from a zip file, which may be far smaller.
	unpacked bool
}

// Load reads the named file, or stdin for [Stdin], if it is not larger than [MaxSize].
func Load(name string, stdin io.Reader) (File, error) {
	in, size := stdin, int64(0)
	if name != Stdin {
		file, err := os.Open(name)
		if err != nil {
			return File{}, fmt.Errorf("reading recording: %w", err)
		}
		defer file.Close() //nolint:errcheck // it was only read
		if info, err := file.Stat(); err == nil {
			size = info.Size()
		}
		in = file
	} else if name = "stdin"; in == nil {
		return File{}, errors.New("reading recording: there is no stdin")
	}
	data, err := readUpTo(in, size, MaxSize)
	if errors.Is(err, ErrTooLarge) {
		err = fmt.Errorf("%w: at most %d MiB are read; of a large cluster, record the Pods on the node only (kubectl get "+
			"pods -A --field-selector spec.nodeName=NODE -o json) and the other kinds in another file", err, MaxSize>>20)
	}
	if err != nil {
		return File{}, fmt.Errorf("reading recording %s: %w", name, err)
	}
	return File{Name: name, Data: data}, nil
}

// readUpTo reads all of r, if it is not more than limit bytes. The size is a hint.
func readUpTo(r io.Reader, size, limit int64) ([]byte, error) {
	var data bytes.Buffer
	data.Grow(int(min(size, limit)) + bytes.MinRead)
	read, err := data.ReadFrom(io.LimitReader(r, limit+1))
	if err == nil && read > limit {
		err = ErrTooLarge
	}
	return data.Bytes(), err
}

// budget is the remaining memory for reading some files, and their faults so far.
type budget struct {
	// memory is how many bytes may still be kept.
	memory int
	faults []error
	// known has the places of the objects that were kept in the lists of their kinds, by kind and name.
	known map[string]int
	// more is set once a fault was not kept.
	more bool
}

// budgetFor returns the budget for reading some files.
func budgetFor(files ...File) *budget {
	b := &budget{memory: 48 << 20, known: map[string]int{}}
	for _, f := range files {
		if f.unpacked {
			b.memory -= len(f.Data)
		} else {
			b.memory += 2 * len(f.Data)
		}
	}
	return b
}

// full reports whether there are so many faults, or so much was kept, that the rest need not be read.
func (b *budget) full() bool { return b.more || b.memory < 0 }

// err returns the faults in one error that ends with advice, or nil.
func (b *budget) err(advice string) error {
	if len(b.faults) == 0 {
		return nil
	}
	all := b.faults
	if b.more {
		all = append(all, errors.New("and more"))
	}
	if advice != "" {
		all = append(all, errors.New(advice))
	}
	return errors.Join(all...)
}

// source is the text of one file.
type source struct {
	*budget
	name string
	text []byte
	// unwrapped is set once lines were joined.
	unwrapped bool
}

// report notes a fault at an offset of the text. It clips what the file itself put into the reason.
func (s *source) report(offset int, format string, args ...any) {
	if len(s.faults) == maxFaults {
		s.more = true
		return
	}
	before := s.text[:offset]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	s.faults = append(s.faults, fmt.Errorf("%s:%d:%d: %.600s", s.name, line, column, fmt.Sprintf(format, args...)))
}

// keep adds an object to a list and accounts for it. The same again is dropped, and one that differs is a fault.
func keep[T any](s *source, at int, name string, list []T, object T) []T {
	i, again := s.known[name]
	switch {
	case again && !reflect.DeepEqual(list[i], object):
		s.report(at, "%s occurs twice, with different content", name)
	case !again:
		s.known[name] = len(list)
		if s.memory -= sizeOf(object); s.memory < 0 {
			s.report(at, "reading stops here: the objects take too much memory for a file of this size; record less")
		}
		list = append(list, object)
	}
	return list
}

// part is a part of a JSON text, whose memory it shares.
type part []byte

// UnmarshalJSON implements [json.Unmarshaler].
func (p *part) UnmarshalJSON(text []byte) error {
	*p = text
	return nil
}

// values reads the JSON values at which the pattern matches, at the beginning of a line or after another value, and
// returns the text outside of them. It ends at a damaged value: where the next one begins is unknown.
func (s *source) values(start *regexp.Regexp, read func(value []byte, at int)) (outside []byte, whole bool) {
	outside = bytes.Clone(s.text)
	for at := 0; at < len(s.text) && !s.full(); {
		if !start.Match(s.text[at:]) {
			at = afterLine(s.text, at)
			continue
		}
		value, invalid := firstValue(s.text[at:])
		if invalid != nil {
			if value = s.unwrap(at); value == nil {
				s.reportInvalid(at, invalid)
				return outside, false
			}
			outside = append(outside[:at], s.text[at:]...)
		}
		read(value, at)
		blank(outside[at : at+len(value)])
		at += len(value)
	}
	return outside, !s.full()
}

// firstValue is the JSON value at the beginning of a text. Space may follow in it.
func firstValue(text []byte) (value []byte, invalid *json.SyntaxError) {
	if !errors.As(json.Unmarshal(text, new(part)), &invalid) {
		return text, nil
	}
	if before := text[:invalid.Offset-1]; json.Valid(before) { // something follows
		return before, nil
	}
	return nil, invalid
}

// unwrap returns the value at an offset of what a console has broken into lines of its width, and joins these lines. It
// returns nil if that makes no value of it either: a console drops the spaces at the end of a line.
func (s *source) unwrap(at int) []byte {
	width := 0
	if s.unwrapped {
		return nil
	}
	s.unwrapped = true
	for line := range bytes.Lines(s.text) {
		width = max(width, utf8.RuneCount(bytes.TrimRight(line, "\r\n")))
	}
	joined := bytes.Clone(s.text[:at])
	for line := range bytes.Lines(s.text[at:]) {
		if text := bytes.TrimRight(line, "\r\n"); utf8.RuneCount(text) == width {
			line = text
		}
		joined = append(joined, line...)
	}
	value, invalid := firstValue(joined[at:])
	if invalid != nil || width < minWidth {
		return nil
	}
	s.text = joined
	return value
}

func (s *source) reportInvalid(at int, invalid *json.SyntaxError) {
	rest, end := s.text[at:], int(invalid.Offset)-1
	if end == len(rest)-1 && !strings.Contains(invalid.Error(), fmt.Sprintf("character %q", rest[end])) {
		s.report(len(s.text), "the file is truncated: it ends inside the JSON value that begins in line %d (%v)",
			bytes.Count(s.text[:at], []byte("\n"))+1, invalid)
		return
	}
	s.report(at+end, "invalid JSON: %v", invalid)
}

// jsonRest matches a line from the middle or the end of a JSON value.
var jsonRest = regexp.MustCompile(`(?m)^[ \t]*(?:[\]},]|"[^"\n]*"[ \t]*:)`)

// checkRest reports text outside of any JSON value that is a part of one.
func (s *source) checkRest(outside []byte) (ok bool) {
	rest := jsonRest.FindIndex(outside)
	if rest != nil {
		s.report(rest[0], "found %.40q outside of any JSON value: the beginning of the file is missing, or it is damaged",
			bytes.TrimSpace(outside[rest[0]:afterLine(outside, rest[0])]))
	}
	return rest == nil
}

// blank overwrites a text, except for its line ends.
func blank(text []byte) {
	for i, c := range text {
		if c != '\n' {
			text[i] = ' '
		}
	}
}

// elements are the elements of a valid JSON list, with their offsets in it. An element is valid until the next one.
func (b *budget) elements(list []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		dec := json.NewDecoder(bytes.NewReader(list))
		_, _ = dec.Token()
		var raw json.RawMessage
		for !b.full() && dec.More() && dec.Decode(&raw) == nil {
			if !yield(int(dec.InputOffset())-len(raw), raw) {
				return
			}
		}
	}
}

// oversized reports whether an object is larger than any that HNS or an API server has.
func oversized(object []byte) bool {
	return len(object) > maxObject || bytes.Count(object, []byte(",")) > maxFields
}

// afterLine is the offset of the line after the one at an offset.
func afterLine(text []byte, at int) int {
	if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(text)
}
