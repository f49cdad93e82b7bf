// SPDX-License-Identifier: Apache-2.0

package mutation_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/test/mutation"
)

const program = `package toy

type Door struct{ Open, Locked bool; Turns int }

// Enter fails at a door that is closed, or has been turned too often.
func (d *Door) Enter(most int) string {
	d.Turns++
	switch {
	case !d.Open || d.Locked:
		return "closed"
	case d.Turns >= most:
		return "worn"
	}
	return ""
}
`

const tests = `package toy

import "testing"

func TestEnter(t *testing.T) {
	if got := (&Door{Open: true}).Enter(2); got != "" {
		t.Fatal(got)
	}
	if got := (&Door{}).Enter(2); got != "closed" {
		t.Fatal(got)
	}
	if got := (&Door{Open: true, Turns: 1}).Enter(2); got != "worn" {
		t.Fatal(got)
	}
}
`

// toy returns a package whose tests do not cover one branch.
func toy(t *testing.T, tests string) *mutation.Package {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "toy")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"go.mod": "module toy\n\ngo 1.26\n", "toy.go": program, "toy_test.go": tests,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := mutation.Build(t.Context(), dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhatLives(t *testing.T) {
	g := NewWithT(t)
	p := toy(t, tests)
	g.Expect(p.Tried()).To(Equal(7))
	lived, err := p.Run(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	var what []string
	for _, m := range lived {
		what = append(what, m.String())
	}
	g.Expect(what).To(ConsistOf("toy.go:9: d.Locked is always false"), "no door of the tests is locked")
}

// Invariant 1.
func TestTheProgramHasToPassItsTests(t *testing.T) {
	g := NewWithT(t)
	_, err := toy(t, strings.Replace(tests, `"worn"`, `"new"`, 1)).Run(t.Context())
	g.Expect(err).To(MatchError(ContainSubstring("fail without any mutant")))
}
