// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// decodeText returns the text of a file in UTF-8 or in UTF-16 of either byte order, with or without a byte order mark.
func decodeText(data []byte) ([]byte, error) {
	if bytes.HasPrefix(data, []byte("PK\x03\x04")) {
		return nil, errors.New("this is a zip archive, not a recording: unpack it and give the files in it; " +
			"one that 'hnsguard bundle' wrote is read with --bundle")
	}
	text, _, err := transform.Bytes(unicode.BOMOverride(withoutMark(data)), data)
	if err != nil {
		return nil, fmt.Errorf("decoding text: %w", err)
	}
	if at := damage(text, bytes.HasSuffix(data, text)); at >= 0 {
		return nil, fmt.Errorf("%s: the file is no text, is damaged or truncated, or mixes two encodings; record it again, "+
			"or save it as UTF-8", position(text, at))
	}
	return text, nil
}

// withoutMark decodes a file that has no byte order mark. Every recording begins with ASCII, of which UTF-16 makes a
// NUL and another byte.
func withoutMark(data []byte) transform.Transformer {
	switch {
	case len(data) > 1 && data[1] == 0:
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewDecoder()
	case len(data) > 1 && data[0] == 0:
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewDecoder()
	default:
		return encoding.Nop.NewDecoder()
	}
}

// damage returns where a text holds what no text does, or -1. A decoder of UTF-16 replaces what it cannot read; in a
// file in UTF-8, which is taken as it is, the replacement character is one that its writer wrote.
func damage(text []byte, unchanged bool) int {
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRune(text[at:])
		if r == 0 || r == utf8.RuneError && (size == 1 || !unchanged) {
			return at
		}
		at += size
	}
	return -1
}

// position names the line and the column of an offset, counted from 1.
func position(text []byte, offset int) string {
	before := text[:offset]
	lineStart := bytes.LastIndexByte(before, '\n') + 1
	return fmt.Sprintf("line %d, column %d", bytes.Count(before, []byte("\n"))+1, utf8.RuneCount(before[lineStart:])+1)
}
