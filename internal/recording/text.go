// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
)

// The byte order marks.
const (
	bomUTF8    = "\xEF\xBB\xBF"
	bomUTF16LE = "\xFF\xFE"
	bomUTF16BE = "\xFE\xFF"
)

// errTruncated says that UTF-16 text ends inside a character.
var errTruncated = errors.New("the file is truncated: its UTF-16 text ends inside a character; record it again")

// decodeText returns the text of a file in UTF-8, or in UTF-16 of either byte order, with or without a byte order mark.
func decodeText(data []byte) (string, error) {
	switch {
	case hasMark(data, bomUTF8):
		return decodeUTF8(data[len(bomUTF8):])
	case hasMark(data, bomUTF16LE):
		return decodeUTF16(data[len(bomUTF16LE):], unicode.LittleEndian)
	case hasMark(data, bomUTF16BE):
		return decodeUTF16(data[len(bomUTF16BE):], unicode.BigEndian)
	case nulAt(data, 1):
		return decodeUTF16(data, unicode.LittleEndian)
	case nulAt(data, 0):
		return decodeUTF16(data, unicode.BigEndian)
	default:
		return decodeUTF8(data)
	}
}

func hasMark(data []byte, mark string) bool { return bytes.HasPrefix(data, []byte(mark)) }

// nulAt reports whether the data looks like UTF-16 without a mark: at its beginning, of each pair of bytes the one at
// the given index is NUL and the other is not. This assumes that a file begins with ASCII, as all dumps do.
func nulAt(data []byte, index int) bool {
	const enough = 32
	sample := data[:min(len(data), enough)&^1]
	if len(sample) == 0 {
		return false
	}
	for i := 0; i < len(sample); i += 2 {
		if sample[i+index] != 0 || sample[i+1-index] == 0 {
			return false
		}
	}
	return true
}

func decodeUTF8(data []byte) (string, error) {
	for at := 0; at < len(data); {
		r, size := utf8.DecodeRune(data[at:])
		switch {
		case r == utf8.RuneError && size == 1:
			return "", fmt.Errorf("%s: byte 0x%02x is invalid in UTF-8; save the file as UTF-8, or record it again",
				position(data, at), data[at])
		case r == 0:
			// PowerShell 5's ">>" appends UTF-16 to a UTF-8 file.
			return "", fmt.Errorf("%s: NUL byte in UTF-8 text: the file mixes two encodings, or is not a text file",
				position(data, at))
		}
		at += size
	}
	return string(data), nil
}

func decodeUTF16(data []byte, order unicode.Endianness) (string, error) {
	if len(data)%2 != 0 {
		return "", errTruncated
	}
	text, err := unicode.UTF16(order, unicode.IgnoreBOM).NewDecoder().Bytes(data)
	if err != nil {
		return "", fmt.Errorf("decoding UTF-16: %w", err)
	}
	// The decoder replaces what it cannot read.
	if at := bytes.IndexAny(text, "\x00\uFFFD"); at >= 0 {
		return "", fmt.Errorf("%s: invalid character in UTF-16 text: the file is damaged, or mixes two encodings",
			position(text, at))
	}
	return string(text), nil
}

// position names the line and the column of an offset, counted from 1.
func position(data []byte, offset int) string {
	before := string(data[:offset])
	lineStart := strings.LastIndexByte(before, '\n') + 1
	return fmt.Sprintf("line %d, column %d",
		strings.Count(before, "\n")+1, utf8.RuneCountInString(before[lineStart:])+1)
}
