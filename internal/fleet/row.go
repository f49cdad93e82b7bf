// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/terminal"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Row is the row of one node.
type Row struct {
	Node string `json:"node"`
	// Pod is the agent's pod, as namespace/name.
	Pod string `json:"pod,omitempty"`
	// Report is the agent's report, without endpoints, answers and history; nil without an answer.
	Report *report.Report `json:"report,omitempty"`
	// Problem says why the agent does not answer, or what needs attention.
	Problem string `json:"problem,omitempty"`
}

// late is the maximum age of the last pass. The longest interval of passes that can be configured is five minutes.
const late = 6 * time.Minute

// RowOf parses the report of the agent on a node (invariant 3). Agents of other versions may have more fields.
func RowOf(node string, document []byte) (Row, error) {
	r, err := report.Parse(document)
	if err != nil {
		return Row{}, err
	}
	if r.Node != node {
		return Row{}, fmt.Errorf("the agent answers for node %.100q, not for %q", r.Node, node)
	}
	r.Endpoints, r.Answers, r.History = nil, nil, nil
	return Row{Node: node, Report: &r, Problem: problem(r)}, nil
}

// problem says why the agent may not work, or what is wrong with the node; empty if nothing is. Remote endpoints are
// not a problem: hnsguard removes them itself, and the row counts them.
func problem(r report.Report) string {
	var found []string
	for _, f := range r.Findings {
		reason := verdict.Reason(f.Reason)
		if f.Kind != report.FindingEndpoint || reason.LeftBehind() || reason == verdict.ReasonLocalLeaked {
			found = append(found, f.String())
		}
	}
	switch {
	case r.State == report.StateUnknown:
		return "cannot observe the node: " + cmp.Or(r.Message, "no reason given")
	case r.State == report.StateStarting:
		return "has not completed a pass yet"
	case age(r) > late:
		return fmt.Sprintf("the last pass ended %s ago", age(r))
	default:
		return strings.Join(found, "; ")
	}
}

// age returns the time since the last pass, by the node's clock; zero if there was no pass.
func age(r report.Report) time.Duration {
	if r.Pass == nil {
		return 0
	}
	return r.Time.Sub(r.Pass.Ended).Round(time.Second)
}

// headings returns the headings of the table.
func headings(wide bool) []string {
	if wide {
		return []string{
			"NODE", "AGENT", "MODE", "STATE", "KUBE-PROXY", "ENDPOINTS", "STALE", "HELD", "LAST PASS", "PROBLEM",
		}
	}
	return []string{"NODE", "STATE", "KUBE-PROXY", "STALE", "HELD", "LAST PASS"}
}

// row returns the row of a table. Unknown values are empty (invariant 1).
func (r Row) row(wide bool) (row terminal.Row) {
	switch {
	case r.Problem != "":
		row.Colour = terminal.Red
	case r.Report != nil && r.Report.State == report.StateObserving:
		row.Colour = terminal.Yellow
	}
	var agent, mode, state, version, endpoints, stale, held, ended string
	if s := r.Report; s != nil {
		agent, mode, state = s.Agent.Agent.Version, string(s.Mode), string(s.State)
		if s.KubeProxy.Known {
			version = s.KubeProxy.Version
		}
		if s.Pass != nil {
			endpoints, stale, held = counts(*s)
			ended = age(*s).String() + " ago"
		}
	}
	row.Cells = []string{r.Node, state, version, stale, held, ended}
	if wide {
		row.Cells = []string{r.Node, agent, mode, state, version, endpoints, stale, held, ended, r.Problem}
	}
	return row
}

// counts returns the number of endpoints, and how many of them are to be removed or held.
func counts(r report.Report) (endpoints, stale, held string) {
	all, removable := 0, 0
	for kind, n := range r.Counts {
		all += n
		if kind.Removes() {
			removable += n
		}
	}
	return strconv.Itoa(all), strconv.Itoa(removable), strconv.Itoa(r.Counts[verdict.Held])
}
