// SPDX-License-Identifier: Apache-2.0

package suggest_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/suggest"
)

func TestNear(t *testing.T) {
	names := []string{"network", "mode", "orphan", "shop/web-0", "shop/web-1", "shop/web-2", "shop/web-3", ""}
	for given, want := range map[string]string{
		"netwerk":   "; did you mean network?",
		"Mode":      "; did you mean mode?",
		"mode":      "",
		"something": "",
		"shop/web":  "; did you mean shop/web-0 or shop/web-1 or shop/web-2?",
	} {
		NewWithT(t).Expect(suggest.Near(given, names)).To(Equal(want), given)
	}
	NewWithT(t).Expect(suggest.Near("mode", nil)).To(BeEmpty())
}
