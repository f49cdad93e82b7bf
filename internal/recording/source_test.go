// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

func TestLoad(t *testing.T) {
	g := NewWithT(t)
	name := filepath.Join(tempdir.New(t), "hns.json")
	g.Expect(os.WriteFile(name, []byte("0123456789"), 0o600)).To(Succeed())
	data, err := recording.Load(name, nil, 10)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(data)).To(Equal("0123456789"))

	data, err = recording.Load(recording.Stdin, strings.NewReader("abc"), 3)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(data)).To(Equal("abc"))
}

// Invariant 5.
func TestLoadRefusesWhatIsTooLarge(t *testing.T) {
	g := NewWithT(t)
	name := filepath.Join(tempdir.New(t), "huge.json")
	g.Expect(os.WriteFile(name, nil, 0o600)).To(Succeed())
	g.Expect(os.Truncate(name, 1<<30)).To(Succeed()) // takes no space
	_, err := recording.Load(name, nil, recording.MaxSize)
	g.Expect(err).To(MatchError(recording.ErrTooLarge))
	g.Expect(err).To(MatchError(And(
		ContainSubstring("huge.json: file too large: at most 256 MiB are read"),
		ContainSubstring("--field-selector spec.nodeName=NODE"),
	)))

	endless := iotest.OneByteReader(zeros{})
	_, err = recording.Load(recording.Stdin, endless, 1<<10)
	g.Expect(err).To(MatchError(recording.ErrTooLarge))
	g.Expect(err).To(MatchError(ContainSubstring("reading recording stdin: ")))
}

// zeros is a stream without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestLoadNamesWhatCannotBeRead(t *testing.T) {
	g := NewWithT(t)
	_, err := recording.Load(filepath.Join(tempdir.New(t), "nowhere.json"), nil, 10)
	g.Expect(err).To(MatchError(os.ErrNotExist))
	g.Expect(err).To(MatchError(ContainSubstring("nowhere.json")))
	_, err = recording.Load(recording.Stdin, iotest.ErrReader(errors.New("broken pipe")), 10)
	g.Expect(err).To(MatchError("reading recording stdin: broken pipe"))
	_, err = recording.Load(recording.Stdin, nil, 10)
	g.Expect(err).To(MatchError("reading recording: there is no stdin"))
	_, err = recording.Load(tempdir.New(t), nil, 1<<20)
	g.Expect(err).To(HaveOccurred(), "a folder")
}

func TestTextFaultsNameTheFile(t *testing.T) {
	_, err := recording.NewSource("hns.json", []byte("[\n\x81"))
	NewWithT(t).Expect(err).To(MatchError(HavePrefix("reading hns.json: line 2, column 1")))
}

// Invariant 1.
func TestFaultsAreInOrderAndCountedInCharacters(t *testing.T) {
	g := NewWithT(t)
	const text = "ab\nÜx\n\nend"
	file, err := recording.NewSource("hns.json", []byte(text))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(file.Err()).To(Succeed())
	file.Report(999, "beyond the end")
	file.Report(strings.Index(text, "x"), "found %q", "x")
	file.Report(0, "first")
	file.Report(strings.Index(text, "x"), "and again")
	file.Report(strings.Index(text, "end")+1, "last line")
	g.Expect(strings.Split(file.Err().Error(), "\n")).To(Equal([]string{
		"hns.json:1:1: first",
		`hns.json:2:2: found "x"`,
		"hns.json:2:2: and again",
		"hns.json:4:2: last line",
		"hns.json:4:4: beyond the end",
	}))
}

// Invariant 5: neither many faults nor long ones make a long error, and the advice stands once.
func TestFaultsAreLimited(t *testing.T) {
	g := NewWithT(t)
	file, err := recording.NewSource("f", []byte("text"))
	g.Expect(err).NotTo(HaveOccurred())
	file.Advise("record JSON")
	for range 20 {
		file.Report(0, "%s", strings.Repeat("x", 1<<20))
	}
	g.Expect(strings.Split(file.Err().Error(), "\n")).To(And(HaveLen(20), HaveEach(HavePrefix("f:1:1: xxx"))))
	g.Expect(len(file.Err().Error())).To(BeNumerically("<", 20_000))
	g.Expect(strings.Count(file.Err().Error(), "; record JSON")).To(Equal(1))
	file.Report(0, "one more")
	lines := strings.Split(file.Err().Error(), "\n")
	g.Expect(lines).To(HaveLen(21))
	g.Expect(lines[20]).To(Equal("f: and more; record JSON"))
}

// Invariant 1, for what encoding/json counts and for what it does not: the bytes of tokens.
func TestReportJSONFindsTheFault(t *testing.T) {
	for text, want := range map[string]string{
		"{\n\"a\": x}":          "f:3:6: invalid JSON: invalid character 'x' looking for beginning of value",
		"[{}, {}\n, {\"a\" 1}]": "f:3:8: invalid JSON: invalid character '1' after object key",
		"[{}\n{}]":              "f:3:1: invalid JSON: invalid character '{' after array element",
		"[{},\n]":               "f:3:1: invalid JSON: invalid character ']' looking for beginning of value",
		"[\n{\"a\": \"x\ny\"}]": "f:3:9: invalid JSON: invalid character '\\n' in string literal",
		"[{}, {":                "f:2:7: the file is truncated: it ends inside the JSON value that begins in line 2; record it again",
		"{\"a\":\n\n":           "f:4:1: the file is truncated",
		"[{}":                   "f:2:4: the file is truncated",
		"[{\"a\": \"\U0001d11e": "f:2:10: the file is truncated",
		strings.Repeat("[", 10_002) + strings.Repeat("]", 10_002): "f:2:10001: invalid JSON: invalid character '[' exceeded max depth",
	} {
		t.Run(fmt.Sprintf("%.20s", text), func(t *testing.T) {
			g := NewWithT(t)
			const start = len("first line\n")
			file, err := recording.NewSource("f", []byte("first line\n"+text))
			g.Expect(err).NotTo(HaveOccurred())
			file.ReportJSON(start, elements(json.NewDecoder(strings.NewReader(text))))
			g.Expect(file.Err()).To(MatchError(HavePrefix(want)))
		})
	}
}

// elements decodes an object, or the elements of a list one by one.
func elements(dec *json.Decoder) error {
	if token, err := dec.Token(); err != nil || token != json.Delim('[') {
		for err == nil {
			_, err = dec.Token()
		}
		return err
	}
	for dec.More() {
		if err := dec.Decode(&json.RawMessage{}); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

func TestReportJSONOfAnotherError(t *testing.T) {
	g := NewWithT(t)
	file, err := recording.NewSource("f", []byte("{}"))
	g.Expect(err).NotTo(HaveOccurred())
	file.ReportJSON(0, io.ErrClosedPipe)
	g.Expect(file.Err()).To(MatchError("f:1:1: reading JSON: io: read/write on closed pipe"))
}
