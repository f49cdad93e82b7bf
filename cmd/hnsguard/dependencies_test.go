// SPDX-License-Identifier: Apache-2.0

package main_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// The program runs as SYSTEM: it must not link simulations or anything only for tests. (client-go's own package testing
// is not checked: typed clients import it themselves, so go list names it for every program with an event recorder.)
func TestTheProgramLinksNothingForTests(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command here")
	}
	for _, system := range []string{"linux", "windows"} {
		t.Run(system, func(t *testing.T) {
			g := NewWithT(t)
			list := exec.CommandContext(t.Context(), "go", "list", "-deps", ".")
			list.Env = append(os.Environ(), "GOOS="+system)
			out, err := list.Output()
			g.Expect(err).NotTo(HaveOccurred())
			packages := strings.Fields(string(out))
			g.Expect(packages).To(ContainElement("github.com/hnsguard/hnsguard/internal/agent"))
			for _, linked := range packages {
				for _, unwanted := range []string{
					"github.com/hnsguard/hnsguard/test/", "sigs.k8s.io/controller-runtime/pkg/client/fake", "github.com/onsi/", "testing",
				} {
					g.Expect(linked == unwanted || strings.HasSuffix(unwanted, "/") && strings.HasPrefix(linked, unwanted)).
						To(BeFalse(), linked)
				}
			}
		})
	}
}
