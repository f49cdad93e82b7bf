// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/terminal"
)

// concerning returns the entries that are about the target, or about an address of it. An endpoint that is gone by now
// is found by its address.
func (e Explanation) concerning(t Target, past []history.Entry) []history.Entry {
	var found []history.Entry
	for _, entry := range past {
		about := entry.Address.IsValid() && entry.Address == t.Address ||
			t.ID != "" && strings.EqualFold(string(entry.Endpoint), string(t.ID)) ||
			t.Pod.Name != "" && slices.Contains(entry.Pods, t.Pod.String()) ||
			slices.ContainsFunc(e.Endpoints, func(e Explained) bool {
				return e.ID == entry.Endpoint && e.ID != "" || slices.Contains(e.Addresses, entry.Address)
			})
		if about {
			found = append(found, entry)
		}
	}
	return found
}

// printHistory writes what the agent has done, the last first.
func printHistory(page *terminal.Page, entries []history.Entry) {
	if len(entries) == 0 {
		return
	}
	page.Printf("\nWhat the agent has decided and done, the last first\n")
	for _, e := range entries {
		page.Paragraph("  "+e.Last.UTC().Format(time.DateTime+"Z")+"  ", sentence(e))
	}
}

// sentence says what an entry is about in a line.
func sentence(e history.Entry) string {
	what := string(e.Act)
	if e.Result != "" {
		what += " " + e.Result
	}
	if e.Verdict != "" {
		what += ": " + string(e.Verdict)
		if e.Reason != "" {
			what += " (" + string(e.Reason) + ")"
		}
	}
	for _, more := range []struct{ name, value string }{
		{"endpoint", string(e.Endpoint)}, {"of", e.Subject}, {"pods", strings.Join(e.Pods, " ")},
	} {
		if more.value != "" {
			what += ", " + more.name + " " + more.value
		}
	}
	if e.Count > 1 {
		what += fmt.Sprintf(", %d times since %s", e.Count, since(e))
	}
	if e.AfterSeconds > 0 {
		what += fmt.Sprintf(", after %v s", e.AfterSeconds)
	}
	if e.Detail != "" {
		what += "; " + e.Detail
	}
	return what
}

// since says when an entry began, with the day where it is another one.
func since(e history.Entry) string {
	if first := e.First.UTC(); first.Format(time.DateOnly) != e.Last.UTC().Format(time.DateOnly) {
		return first.Format(time.DateTime + "Z")
	}
	return e.First.UTC().Format(time.TimeOnly + "Z")
}
