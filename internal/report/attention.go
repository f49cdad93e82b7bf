// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"

	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Attention counts what a report has that nothing is removed for, and that is not right all the same.
type Attention struct {
	Contested   int `json:"contested"`
	Held        int `json:"held"`
	LeakedLocal int `json:"leakedLocal"`
	// PodsWithoutNetwork counts the pods of the report's list.
	PodsWithoutNetwork int `json:"podsWithoutNetwork"`
}

func attentionOf(rows []Row, without []Pod) Attention {
	a := Attention{PodsWithoutNetwork: len(without)}
	for _, r := range rows {
		switch {
		case r.Verdict == string(verdict.Contested):
			a.Contested++
		case r.Verdict == string(verdict.Held):
			a.Held++
		case r.Reason == string(verdict.ReasonLocalLeaked):
			a.LeakedLocal++
		}
	}
	return a
}

// Needed reports whether anything needs attention.
func (a Attention) Needed() bool { return a != Attention{} }

func (a Attention) String() string {
	var parts []string
	for _, part := range []struct {
		count     int
		one, many string
	}{
		{a.Contested, "contested", "contested"},
		{a.Held, "held", "held"},
		{a.LeakedLocal, "leaked local", "leaked local"},
		{a.PodsWithoutNetwork, "pod without network", "pods without network"},
	} {
		switch {
		case part.count == 1:
			parts = append(parts, "1 "+part.one)
		case part.count > 1:
			parts = append(parts, fmt.Sprintf("%d %s", part.count, part.many))
		}
	}
	return strings.Join(parts, ", ")
}
