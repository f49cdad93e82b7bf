// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"errors"
	"fmt"
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
	data, err := recording.Load(name, nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(data.Data)).To(Equal("0123456789"))

	data, err = recording.Load(recording.Stdin, strings.NewReader("abc"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(data.Data)).To(Equal("abc"))
}

// Invariant 5.
func TestLoadRefusesWhatIsTooLarge(t *testing.T) {
	g := NewWithT(t)
	name := filepath.Join(tempdir.New(t), "huge.json")
	g.Expect(os.WriteFile(name, nil, 0o600)).To(Succeed())
	g.Expect(os.Truncate(name, 1<<30)).To(Succeed()) // takes no space
	_, err := recording.Load(name, nil)
	g.Expect(err).To(MatchError(recording.ErrTooLarge))
	g.Expect(err).To(MatchError(And(
		ContainSubstring("huge.json: file too large: at most 256 MiB are read"),
		ContainSubstring("--field-selector spec.nodeName=NODE"),
	)))

	_, err = recording.ReadUpTo(iotest.OneByteReader(zeros{}), 0, 1<<10)
	g.Expect(err).To(MatchError(recording.ErrTooLarge), "a stream without an end")
}

// zeros is a stream without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestLoadNamesWhatCannotBeRead(t *testing.T) {
	g := NewWithT(t)
	_, err := recording.Load(filepath.Join(tempdir.New(t), "nowhere.json"), nil)
	g.Expect(err).To(MatchError(os.ErrNotExist))
	g.Expect(err).To(MatchError(ContainSubstring("nowhere.json")))
	_, err = recording.Load(recording.Stdin, iotest.ErrReader(errors.New("broken pipe")))
	g.Expect(err).To(MatchError("reading recording stdin: broken pipe"))
	_, err = recording.Load(recording.Stdin, nil)
	g.Expect(err).To(MatchError("reading recording: there is no stdin"))
	_, err = recording.Load(tempdir.New(t), nil)
	g.Expect(err).To(HaveOccurred(), "a folder")
}

// Invariant 1.
func TestFaultsAreCountedInCharacters(t *testing.T) {
	g := NewWithT(t)
	const text = "ab\nÜx\n\nend"
	faults := recording.Report("hns.json", text, func(report func(int, string, ...any)) {
		report(0, "first")
		report(strings.Index(text, "x"), "found %q", "x")
		report(strings.Index(text, "end")+1, "last line")
		report(len(text), "the end")
	})
	g.Expect(strings.Split(faults.Error(), "\n")).To(Equal([]string{
		"hns.json:1:1: first", `hns.json:2:2: found "x"`, "hns.json:4:2: last line", "hns.json:4:4: the end", "record JSON",
	}))
	g.Expect(recording.Report("f", text, func(func(int, string, ...any)) {})).To(Succeed())
}

// Invariant 5: neither many faults nor long ones make a long error, and the advice stands once.
func TestFaultsAreLimited(t *testing.T) {
	g := NewWithT(t)
	faults := func(n int) []string {
		err := recording.Report("f", "text", func(report func(int, string, ...any)) {
			for range n {
				report(0, "%s", strings.Repeat("x", 1<<20))
			}
		})
		g.Expect(len(err.Error())).To(BeNumerically("<", 20_000))
		return strings.Split(err.Error(), "\n")
	}
	g.Expect(faults(20)).To(And(HaveLen(21), ContainElements(HavePrefix("f:1:1: xxx")), Not(ContainElement("and more"))))
	g.Expect(faults(21)[20:]).To(Equal([]string{"and more", "record JSON"}))
	g.Expect(faults(99)).To(HaveLen(22))
}

// Invariant 1.
func TestSyntaxFaultsHaveTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"{\n\"a\": x}":          "f:3:6: invalid JSON: invalid character 'x' looking for beginning of value",
		"[{}, {}\n, {\"a\" 1}]": "f:3:8: invalid JSON: invalid character '1' after object key",
		"[{}\n{}]":              "f:3:1: invalid JSON: invalid character '{' after array element",
		"[{},\n]\n":             "f:3:1: invalid JSON: invalid character ']' looking for beginning of value",
		"[\n{\"a\": \"x\ny\"}]": "f:3:9: invalid JSON: invalid character '\\n' in string literal",
		"{} {\"a\": x}":         "f:2:10: invalid JSON: invalid character 'x' looking for beginning of value",
		"[{}, {":                "f:2:7: the file is truncated: it ends inside the JSON value that begins in line 2",
		"{\"a\":\n\n":           "f:4:1: the file is truncated",
		"[{}":                   "f:2:4: the file is truncated",
		"[{\"a\": tru":          "f:2:11: the file is truncated",
		"[{\"a\": \"\U0001d11e": "f:2:10: the file is truncated",
		"{}\n[{}":               "f:3:4: the file is truncated: it ends inside the JSON value that begins in line 3",
		strings.Repeat("[", 10_002) + strings.Repeat("]", 10_002): "f:2:10001: invalid JSON: invalid character '[' exceeded max depth",
	} {
		t.Run(fmt.Sprintf("%.20s", text), func(t *testing.T) {
			_, err := recording.ReadCluster(file("f", []byte("\n"+text)))
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(want)))
		})
	}
}
