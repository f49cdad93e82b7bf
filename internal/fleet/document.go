// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Kind identifies the status of a node.
const Kind = "NodeStatus"

// document has the fields of an agent's status that are read here. Agents of other versions may have more.
type document struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Time       time.Time `json:"time"`
	Node       string    `json:"node"`
	Agent      struct {
		Version string `json:"version"`
	} `json:"agent"`
	State     string `json:"state"`
	Message   string `json:"message"`
	Mode      string `json:"mode"`
	KubeProxy struct {
		Version string   `json:"version"`
		Known   bool     `json:"known"`
		Faults  []string `json:"faults"`
	} `json:"kubeProxy"`
	Pass *struct {
		Ended time.Time `json:"ended"`
	} `json:"pass"`
	Victims []struct {
		Pod string `json:"pod"`
	} `json:"victims"`
	Counts map[verdict.Kind]int `json:"counts"`
}

// The states of an agent that matter here.
const (
	stateStarting = "starting"
	stateUnknown  = "unknown"
)

// late is how old the last pass may be. The longest interval of passes that can be configured is five minutes.
const late = 6 * time.Minute

// RowOf reads the status of the agent of a node (invariant 3).
func RowOf(node string, status []byte) (Row, error) {
	var d document
	if err := json.Unmarshal(status, &d); err != nil {
		return Row{}, fmt.Errorf("reading the agent's status: %w", err)
	}
	if d.APIVersion != config.APIVersion || d.Kind != Kind {
		return Row{}, fmt.Errorf("reading the agent's status: want kind %q %q, found %.100q %.100q",
			config.APIVersion, Kind, d.APIVersion, d.Kind)
	}
	if d.Node != node {
		return Row{}, fmt.Errorf("the agent answers for node %.100q, not for %q", d.Node, node)
	}
	row := Row{
		Node: node, Version: d.Agent.Version, Mode: d.Mode, State: d.State, KubeProxyFaults: d.KubeProxy.Faults,
		Message: d.Message,
	}
	if d.KubeProxy.Known {
		row.KubeProxy = d.KubeProxy.Version
	}
	if d.Pass != nil {
		row.count(d.Counts)
		row.PassAge = new(d.Time.Sub(d.Pass.Ended).Seconds())
	}
	for _, v := range d.Victims {
		row.Victims = append(row.Victims, v.Pod)
	}
	row.Problem = cmp.Or(d.problem(), withoutNetwork(row.Victims))
	return row, nil
}

// count sums up the verdicts of a pass.
func (r *Row) count(verdicts map[verdict.Kind]int) {
	r.Endpoints, r.Stale, r.Held = new(0), new(0), new(0)
	for kind, n := range verdicts {
		*r.Endpoints += n
		switch {
		case kind.Removes():
			*r.Stale += n
		case kind == verdict.Held:
			*r.Held += n
		}
	}
}

// withoutNetwork names some of the pods that have lost their endpoint. It returns an empty string for none.
func withoutNetwork(pods []string) string {
	const named = 3
	switch n := len(pods); {
	case n == 0:
		return ""
	case n == 1:
		return "a pod has no network: " + pods[0]
	case n > named:
		return fmt.Sprintf("%d pods have no network: %s, and %d more", n, strings.Join(pods[:named], ", "), n-named)
	default:
		return fmt.Sprintf("%d pods have no network: %s", n, strings.Join(pods, ", "))
	}
}

// problem says why the agent may not do its work, or returns an empty string.
func (d document) problem() string {
	switch {
	case d.State == stateUnknown:
		return "cannot observe the node: " + cmp.Or(d.Message, "no reason given")
	case d.State == stateStarting:
		return "has not completed a pass yet"
	case d.Pass != nil && d.Time.Sub(d.Pass.Ended) > late:
		return fmt.Sprintf("the last pass ended %s ago", d.Time.Sub(d.Pass.Ended).Round(time.Second))
	default:
		return ""
	}
}
