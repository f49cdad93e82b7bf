// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// open decodes a file in UTF-8, or in UTF-16 with a byte order mark. It reports a file that is no text (invariant 6),
// and returns whether it is one.
func (b *budget) open(f File) (s *source, ok bool) {
	s = &source{budget: b, name: f.Name, text: f.Data}
	if len(f.Data) > 0 && f.Data[0] >= 0xEF { // as every mark begins
		s.text, _, _ = transform.Bytes(unicode.BOMOverride(transform.Nop), f.Data)
	}
	at := damage(s.text)
	switch {
	case bytes.HasPrefix(f.Data, []byte("PK\x03\x04")):
		s.report(0, "this is a zip archive, not a recording: give it with --recording")
	case at >= 0:
		s.report(at, "the file is not text, is damaged or truncated, or mixes two encodings; save it as UTF-8")
	default:
		return s, true
	}
	return s, false
}

// damage returns where a text holds what no text does, or -1.
func damage(text []byte) int {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == 0 || r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}
