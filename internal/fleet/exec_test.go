// SPDX-License-Identifier: Apache-2.0

package fleet_test

import (
	"io"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/fleet"
)

// The limit also applies to io.Copy, which prefers ReadFrom to Write.
func TestAnAnswerIsBounded(t *testing.T) {
	g := NewWithT(t)
	b, content := fleet.Bounded(5)
	g.Expect(io.Copy(b, io.LimitReader(strings.NewReader("abc"), 3))).To(BeEquivalentTo(3))
	data, cut := content()
	g.Expect(string(data)).To(Equal("abc"))
	g.Expect(cut).To(BeFalse())
	g.Expect(io.Copy(b, io.LimitReader(strings.NewReader("defgh"), 5))).To(BeEquivalentTo(5))
	data, cut = content()
	g.Expect(string(data)).To(Equal("abcde"))
	g.Expect(cut).To(BeTrue())
}
