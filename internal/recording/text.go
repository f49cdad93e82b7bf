// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// open decodes a file in UTF-8 or in UTF-16 of either byte order, with or without a byte order mark. It reports a file
// that is no text (invariant 6), and returns whether it is one.
func (b *budget) open(f File) (s *source, ok bool) {
	s = &source{budget: b, name: f.Name, text: bytes.TrimPrefix(f.Data, []byte("\xEF\xBB\xBF"))}
	utf16, err := utf16Of(f.Data), error(nil)
	if utf16 != nil {
		s.text, _, err = transform.Bytes(utf16.NewDecoder(), f.Data)
	}
	at := damage(s.text, utf16 == nil)
	switch {
	case bytes.HasPrefix(f.Data, []byte("PK\x03\x04")):
		s.report(0, "this is a zip archive, not a recording: give it with --recording")
	case err != nil:
		s.report(0, "decoding text: %v", err)
	case at >= 0:
		s.report(at, "the file is not text, is damaged or truncated, or mixes two encodings; save it as UTF-8")
	default:
		return s, true
	}
	return s, false
}

// utf16Of returns the encoding of a file in UTF-16, or nil. Every recording begins with ASCII, of which UTF-16 makes a
// NUL and another byte.
func utf16Of(data []byte) encoding.Encoding {
	switch {
	case len(data) < 2:
		return nil
	case data[1] == 0, bytes.HasPrefix(data, []byte("\xFF\xFE")), bytes.HasPrefix(data, []byte("\xFE\xFF")):
		return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	case data[0] == 0:
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	default:
		return nil
	}
}

// damage returns where a text holds what no text does, or -1. A decoder of UTF-16 replaces what it cannot read; in a
// file in UTF-8 the replacement character is one that its writer wrote.
func damage(text []byte, isUTF8 bool) int {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == 0 || r == utf8.RuneError && (size == 1 || !isUTF8) {
			return at
		}
		at += size
	}
	return -1
}
