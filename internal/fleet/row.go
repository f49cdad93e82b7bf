// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"encoding/json"
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
	// Status is what the agent says of the node, without endpoints and history. It is missing without an answer.
	Status *report.NodeStatus `json:"status,omitempty"`
	// Problem is why the agent does not answer, or what needs attention.
	Problem string `json:"problem,omitempty"`
}

// late is how old the last pass may be. The longest interval of passes that can be configured is five minutes.
const late = 6 * time.Minute

// RowOf reads the status of the agent of a node (invariant 3). Agents of other versions may have more fields.
func RowOf(node string, status []byte) (Row, error) {
	var s report.NodeStatus
	if err := json.Unmarshal(status, &s); err != nil {
		return Row{}, fmt.Errorf("reading the agent's status: %w", err)
	}
	if s.APIVersion != report.APIVersion || s.Kind != report.Kind {
		return Row{}, fmt.Errorf("reading the agent's status: want kind %q %q, found %.100q %.100q",
			report.APIVersion, report.Kind, s.APIVersion, s.Kind)
	}
	if s.Node != node {
		return Row{}, fmt.Errorf("the agent answers for node %.100q, not for %q", s.Node, node)
	}
	s.Endpoints, s.Answers, s.History = nil, nil, nil
	return Row{Node: node, Status: &s, Problem: problem(s)}, nil
}

// problem says why the agent may not do its work, or which pods have lost their endpoint, or returns an empty string.
func problem(s report.NodeStatus) string {
	var victims []string
	for _, v := range s.Victims {
		victims = append(victims, v.Pod)
	}
	const named = 3
	switch n := len(victims); {
	case s.State == report.StateUnknown:
		return "cannot observe the node: " + cmp.Or(s.Message, "no reason given")
	case s.State == report.StateStarting:
		return "has not completed a pass yet"
	case age(s) > late:
		return fmt.Sprintf("the last pass ended %s ago", age(s))
	case s.State == report.StateNetworkGone && n == 0:
		return "the pod network is gone: " + cmp.Or(s.Message, "no reason given")
	case n > named:
		return fmt.Sprintf("pods without network: %s, and %d more", strings.Join(victims[:named], ", "), n-named)
	case n > 0:
		return "pods without network: " + strings.Join(victims, ", ")
	case len(s.LoadBalancers) > 0:
		first := s.LoadBalancers[0]
		return fmt.Sprintf("%d load balancer(s) broken, the first: %s %s %s", len(s.LoadBalancers), first.Verdict,
			first.Service, first.Frontend)
	default:
		return ""
	}
}

// age is how long ago the last pass ended, on the clock of the node, or zero if there was none.
func age(s report.NodeStatus) time.Duration {
	if s.Pass == nil {
		return 0
	}
	return s.Time.Sub(s.Pass.Ended).Round(time.Second)
}

// cells are the row of a table. What is unknown is empty (invariant 1).
func (r Row) cells() []string {
	if r.Status == nil {
		return []string{r.Node, "", "", "", "", "", "", "", "", r.Problem}
	}
	s := r.Status
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
		r.Node, s.Agent.Version, string(s.Mode), string(s.State), version, endpoints, stale, held, ended, r.Problem,
	}
}
