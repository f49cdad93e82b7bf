// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// update writes the program's output into testdata/cases. Read it before you commit it.
var update = flag.Bool("update", false, "write what the program says into testdata/cases")

// TestCases replays recordings from users' reports: see testdata/cases/README.md. The expected output follows each
// command, with the exit status.
func TestCases(t *testing.T) {
	cases, err := filepath.Glob("testdata/cases/*/expected.txt")
	if err != nil || len(cases) == 0 {
		t.Fatal("there are no cases", err)
	}
	for _, path := range cases {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			path, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(filepath.Dir(path))
			said := ""
			for line := range strings.Lines(string(data)) {
				if command, is := strings.CutPrefix(line, "$ hnsguard "); is {
					got := invoke(t, nil, strings.Fields(command)...)
					said += fmt.Sprintf("%s%s%s[exit %d]\n\n", line, got.out, got.err, got.code)
				}
			}
			if *update {
				if err := os.WriteFile(path, []byte(said), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			NewWithT(t).Expect(said).To(Equal(strings.ReplaceAll(string(data), "\r\n", "\n")))
		})
	}
}
