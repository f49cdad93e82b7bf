// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Row is one node.
type Row struct {
	Node string `json:"node"`
	// Pod is the agent's pod, as namespace/name.
	Pod string `json:"pod,omitempty"`
	// Report is what the agent says of the node, without endpoints and history. It is missing without an answer.
	Report *report.Report `json:"report,omitempty"`
	// Problem is why the agent does not answer, or what needs attention.
	Problem string `json:"problem,omitempty"`
}

// late is how old the last pass may be. The longest interval of passes that can be configured is five minutes.
const late = 6 * time.Minute

// RowOf reads the report of the agent of a node (invariant 3). Agents of other versions may have more fields.
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

// problem says why the agent may not do its work, or what is wrong with the node, or returns an empty string. Remote
// endpoints are no problem: hnsguard removes them by itself, and the row counts them.
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

// age is how long ago the last pass ended, on the clock of the node, or zero if there was none.
func age(r report.Report) time.Duration {
	if r.Pass == nil {
		return 0
	}
	return r.Time.Sub(r.Pass.Ended).Round(time.Second)
}

// cells are the row of a table. What is unknown is empty (invariant 1).
func (r Row) cells() []string {
	if r.Report == nil {
		return []string{r.Node, "", "", "", "", "", "", "", "", r.Problem}
	}
	s := r.Report
	version, endpoints, stale, held, ended := "", "", "", "", ""
	if s.KubeProxy.Known {
		version = s.KubeProxy.Version
	}
	if s.Pass != nil {
		all, removable := 0, 0
		for kind, n := range s.Counts {
			all += n
			if kind.Removes() {
				removable += n
			}
		}
		endpoints, stale = strconv.Itoa(all), strconv.Itoa(removable)
		held, ended = strconv.Itoa(s.Counts[verdict.Held]), age(*s).String()+" ago"
	}
	return []string{
		r.Node, s.Agent.Agent.Version, string(s.Mode), string(s.State), version, endpoints, stale, held, ended, r.Problem,
	}
}
