// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"unicode/utf8"
)

// The limits of what is read (invariant 5).
const (
	// MaxSize is the largest file that is read.
	MaxSize = 256 << 20
	// maxFaults is how many faults of a file are reported.
	maxFaults = 20
	// maxObject is the largest JSON object of a file. The API server takes none above 3 MiB, and HNS has none near it.
	maxObject = 4 << 20
)

// Stdin is the name that stands for stdin.
const Stdin = "-"

// ErrTooLarge says that a file is larger than the limit.
var ErrTooLarge = errors.New("file too large")

// Load reads the named file, or stdin for [Stdin], if it is no larger than limit bytes.
func Load(name string, stdin io.Reader, limit int64) ([]byte, error) {
	in, size := stdin, int64(0)
	if name != Stdin {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("reading recording: %w", err)
		}
		defer file.Close() //nolint:errcheck // it was only read
		if info, err := file.Stat(); err == nil {
			size = info.Size()
		}
		in = file
	} else if name = "stdin"; in == nil {
		return nil, errors.New("reading recording: there is no stdin")
	}
	data, err := readUpTo(in, size, limit)
	if errors.Is(err, ErrTooLarge) {
		err = fmt.Errorf("%w: at most %d MiB are read; of a large cluster, record the Pods of the node only (kubectl get "+
			"pods -A --field-selector spec.nodeName=NODE -o json) and the other kinds in another file", err, limit>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("reading recording %s: %w", name, err)
	}
	return data, nil
}

// readUpTo reads all of r, at most limit bytes. The size is the expected one; that of a pipe is 0.
func readUpTo(r io.Reader, size, limit int64) ([]byte, error) {
	if size > limit {
		return nil, ErrTooLarge
	}
	var data bytes.Buffer
	data.Grow(int(size) + bytes.MinRead)
	read, err := data.ReadFrom(io.LimitReader(r, limit+1))
	if err == nil && read > limit {
		err = ErrTooLarge
	}
	return data.Bytes(), err
}

// source is the text of one file and what is wrong with it.
type source struct {
	name string
	text []byte
	// memory is how much of what is read may still be kept.
	memory *int

	faults []fault
	// more is set once a fault was not kept.
	more bool
	// advice is what to do about the faults. It follows the last of them.
	advice string
}

// fault is one thing wrong with a file.
type fault struct {
	offset int
	reason string
}

// memoryFor is how much may be kept of what is read from a file of a size.
func memoryFor(size int) int { return 48<<20 + 2*size }

// newSource turns the content of a file into text.
func newSource(name string, data []byte, memory *int) (*source, error) {
	text, err := decodeText(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return &source{name: name, text: text, memory: memory}, nil
}

// report notes a fault at an offset of the text. It clips what the file itself put into the reason.
func (s *source) report(offset int, format string, args ...any) {
	if len(s.faults) == maxFaults {
		s.more = true
		return
	}
	reason := fmt.Sprintf("%.600s", fmt.Sprintf(format, args...))
	s.faults = append(s.faults, fault{max(0, min(offset, len(s.text))), reason})
}

// reportJSON notes what a [json.Decoder] complained of that reads a JSON value beginning at the offset start.
func (s *source) reportJSON(start int, err error) {
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, errFull):
	case errors.As(err, &syntax):
		// A decoder that was used for tokens does not count their bytes. So the value is checked again, from its beginning.
		if again := json.Unmarshal(s.text[start:], &skipped{}); again != nil {
			errors.As(again, &syntax)
		}
		s.report(start+int(syntax.Offset)-1, "invalid JSON: %v", syntax)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		s.report(len(s.text), "the file is truncated: it ends inside the JSON value that begins in line %d; record it again",
			bytes.Count(s.text[:start], []byte("\n"))+1)
	default:
		s.report(start, "reading JSON: %v", err)
	}
}

// skipped is a JSON value that is not kept.
type skipped struct{}

// UnmarshalJSON implements [json.Unmarshaler].
func (*skipped) UnmarshalJSON([]byte) error { return nil }

// errFull says that a file has so many faults, or so much to keep, that the rest of it is not read.
var errFull = errors.New("enough was read")

// full reports whether the rest of the file need not be read.
func (s *source) full() bool { return s.more || *s.memory < 0 }

// keep accounts for a value that is kept, at an offset of the text.
func (s *source) keep(offset int, value any) {
	if *s.memory -= sizeOf(value); *s.memory < 0 {
		s.report(offset, "reading stops here: the objects take too much memory for a file of this size; record less")
	}
}

// elements reads the elements of the list whose bracket a decoder has read, and passes each on with its offset. The
// JSON is valid until the next one is read.
func (s *source) elements(dec *json.Decoder, element func(raw []byte, at int)) error {
	var raw json.RawMessage
	for dec.More() {
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		if element(raw, int(dec.InputOffset())-len(raw)); s.full() {
			return errFull
		}
	}
	_, err := dec.Token()
	return err
}

// err returns the faults in one error, in the order of the file, or nil.
func (s *source) err() error {
	slices.SortStableFunc(s.faults, func(a, b fault) int { return cmp.Compare(a.offset, b.offset) })
	var errs []error
	line, column, counted := 1, 1, 0
	for i, fault := range s.faults {
		passed := s.text[counted:fault.offset]
		if last := bytes.LastIndexByte(passed, '\n'); last >= 0 {
			line += bytes.Count(passed, []byte("\n"))
			column, passed = 1, passed[last+1:]
		}
		column += utf8.RuneCount(passed)
		counted = fault.offset
		if i == len(s.faults)-1 && s.advice != "" && !s.more {
			fault.reason += "; " + s.advice
		}
		errs = append(errs, fmt.Errorf("%s:%d:%d: %s", s.name, line, column, fault.reason))
	}
	if s.more {
		errs = append(errs, fmt.Errorf("%s: and more; %s", s.name, cmp.Or(s.advice, "record it again")))
	}
	return errors.Join(errs...)
}
