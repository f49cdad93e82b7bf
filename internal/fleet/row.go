// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Row is the status of one node. Fields that are unknown are empty or missing.
type Row struct {
	Node string `json:"node"`
	// Pod is the agent's pod, as namespace/name.
	Pod     string `json:"pod,omitempty"`
	Version string `json:"version,omitempty"`
	Mode    string `json:"mode,omitempty"`
	// State is the agent's view of its node: starting, guarding, idle or unknown.
	State string `json:"state,omitempty"`
	// Message explains the state.
	Message         string   `json:"message,omitempty"`
	KubeProxy       string   `json:"kubeProxyVersion,omitempty"`
	KubeProxyFaults []string `json:"kubeProxyFaults,omitempty"`
	// Endpoints, Stale and Held count the endpoints of the last complete pass, those of them that are to be removed, and
	// those that wait for kube-proxy.
	Endpoints *int `json:"endpoints,omitempty"`
	Stale     *int `json:"stale,omitempty"`
	Held      *int `json:"held,omitempty"`
	// Victims are the pods, as namespace/name, that had lost their endpoint in that pass, and with it their network.
	Victims []string `json:"podsWithoutNetwork,omitempty"`
	// PassAge is how long ago that pass ended, in seconds on the clock of the node.
	PassAge *float64 `json:"lastPassAgeSeconds,omitempty"`
	// Problem is why the node does not answer, or what needs attention.
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
	row := Row{
		Node: node, Version: s.Agent.Version, Mode: string(s.Mode), State: string(s.State), Message: s.Message,
		KubeProxyFaults: s.KubeProxy.Faults,
	}
	if s.KubeProxy.Known {
		row.KubeProxy = s.KubeProxy.Version
	}
	age := time.Duration(0)
	if s.Pass != nil {
		age = s.Time.Sub(s.Pass.Ended)
		row.PassAge = new(age.Seconds())
		row.count(s.Counts)
	}
	for _, v := range s.Victims {
		row.Victims = append(row.Victims, v.Pod)
	}
	row.Problem = problem(s, age, row.Victims)
	return row, nil
}

// count sums up the verdicts of a pass.
func (r *Row) count(verdicts map[verdict.Kind]int) {
	r.Endpoints, r.Stale, r.Held = new(0), new(0), new(verdicts[verdict.Held])
	for kind, n := range verdicts {
		*r.Endpoints += n
		if kind.Removes() {
			*r.Stale += n
		}
	}
}

// problem says why the agent may not do its work, or which pods have lost their endpoint, or returns an empty string.
func problem(s report.NodeStatus, age time.Duration, victims []string) string {
	const named = 3
	switch n := len(victims); {
	case s.State == report.StateUnknown:
		return "cannot observe the node: " + cmp.Or(s.Message, "no reason given")
	case s.State == report.StateStarting:
		return "has not completed a pass yet"
	case age > late:
		return fmt.Sprintf("the last pass ended %s ago", age.Round(time.Second))
	case n == 0:
		return ""
	case n > named:
		return fmt.Sprintf("pods without network: %s, and %d more", strings.Join(victims[:named], ", "), n-named)
	default:
		return "pods without network: " + strings.Join(victims, ", ")
	}
}
