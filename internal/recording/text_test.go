// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"testing"
	"unicode/utf8"

	. "github.com/onsi/gomega"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"

	"github.com/hnsguard/hnsguard/internal/recording"
)

// sample holds what a file from a localised Windows may hold: CRLF, a name in Chinese, a character beyond 16 bits.
const sample = "Name : Microsoft Windows 筛选平台 𝄞\r\nIP Address : 10.0.0.5\r\n"

func encode(t *testing.T, e encoding.Encoding, text string) []byte {
	t.Helper()
	data, err := e.NewEncoder().Bytes([]byte(text))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return data
}

func TestTextReadsEveryEncodingWindowsWrites(t *testing.T) {
	for name, e := range map[string]encoding.Encoding{
		"UTF-8":                              unicode.UTF8,
		"UTF-8 with a mark":                  unicode.UTF8BOM,
		"UTF-16, little endian, with a mark": unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
		"UTF-16, big endian, with a mark":    unicode.UTF16(unicode.BigEndian, unicode.UseBOM),
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			text, err := recording.DecodeText(encode(t, e, sample))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(string(text)).To(Equal(sample))
		})
	}
}

func TestTextOfNothingIsNothing(t *testing.T) {
	g := NewWithT(t)
	for _, data := range [][]byte{nil, {}, {0xEF, 0xBB, 0xBF}, {0xFF, 0xFE}, {0xFE, 0xFF}} {
		text, err := recording.DecodeText(data)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(text).To(BeEmpty())
	}
}

// Invariant 6: a damaged file is an error that names the place.
func TestTextRefusesDamage(t *testing.T) {
	le := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"UTF-16 without a mark":         {encode(t, unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), "[]"), "f:1:2: the file is not text"},
		"an OEM code page":              {[]byte("Name\r\nM\x81ller"), "f:2:2: the file is not text"},
		"UTF-16 appended to UTF-8":      {append([]byte("[\n"), encode(t, le, "{}")[2:]...), "f:2:2: the file is not text"},
		"a binary file":                 {[]byte{0x4D, 0x5A, 0x90, 0x00}, "f:1:3: the file is not text"},
		"NULs from the first byte on":   {make([]byte, 64), "f:1:1: the file is not text"},
		"a NUL late in ASCII text":      {[]byte("abcdefgh\x00"), "f:1:9: the file is not text"},
		"UTF-16 text that holds a NUL":  {encode(t, le, "ab\x00"), "f:1:3: the file is not text"},
		"a single byte that is not one": {[]byte{0xFF}, "f:1:1: the file is not text"},
		"a zip archive":                 {[]byte("PK\x03\x04"), "this is a zip archive"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			_, err := recording.DecodeText(tc.data)
			g.Expect(err).To(MatchError(ContainSubstring(tc.want)))
		})
	}
}

// A program that wrote UTF-8 may have replaced characters itself.
func TestTextWithReplacedCharactersIsRead(t *testing.T) {
	text, err := recording.DecodeText([]byte("Name : \uFFFD\uFFFD"))
	NewWithT(t).Expect(string(text), err).To(Equal("Name : \uFFFD\uFFFD"))
}

// Invariant 6 holds for any input.
func FuzzText(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("\xFF\xFEa\x00"))
	f.Add([]byte("a\x00b\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := recording.DecodeText(data)
		if err == nil && !utf8.Valid(text) {
			t.Errorf("no valid UTF-8: %q", text)
		}
	})
}
