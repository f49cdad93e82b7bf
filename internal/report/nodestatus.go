// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/observe"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/internal/version"
)

// APIVersion and Kind identify a document.
const (
	APIVersion = config.APIVersion
	Kind       = "NodeStatus"
)

// State is the closed set of what an agent can say of its node.
type State string

// The states.
const (
	// StateStarting: there was no pass yet.
	StateStarting State = "starting"
	// StateGuarding: the last pass was complete.
	StateGuarding State = "guarding"
	// StateIdle: there is no pod network and no pod that needs one, and so nothing to guard.
	StateIdle State = "idle"
	// StateNetworkGone: there is no pod network, and pods run that need one.
	StateNetworkGone State = "network-gone"
	// StateUnknown: the node cannot be observed, and nothing is touched.
	StateUnknown State = "unknown"
)

// NodeStatus is all that the agent knows of its node. Its JSON form is for scripts: fields may be added, but do not
// change.
type NodeStatus struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Time is when the document was made, on the clock of the node.
	Time  time.Time    `json:"time"`
	Node  string       `json:"node"`
	Agent version.Info `json:"agent"`
	// Started is when the agent started.
	Started time.Time `json:"started"`

	State State `json:"state"`
	// Since is when the state began.
	Since time.Time `json:"since"`
	// Message says why the node is idle or unknown, and Class is the class of that error if it is HNS's.
	Message string         `json:"message,omitempty"`
	Class   hns.ErrorClass `json:"class,omitempty"`
	// Mode is the upper limit of what the agent may do; the modes of the classes are in Config.
	Mode config.Mode `json:"mode"`

	KubeProxy KubeProxy `json:"kubeProxy"`
	HNS       HNS       `json:"hns"`
	// Pass is the last complete pass; it is missing if there was none.
	Pass *Pass `json:"pass,omitempty"`
	// Victims are the running pods that lacked their network in the last pass that could read HNS.
	Victims []Victim `json:"victims,omitempty"`
	// LoadBalancers are those that were broken in that pass.
	LoadBalancers []Balancer `json:"loadBalancers,omitempty"`
	// Counts are the endpoints of that pass by verdict.
	Counts map[verdict.Kind]int `json:"counts"`
	// Endpoints are those of that pass, the ones that need attention first.
	Endpoints []NodeEndpoint `json:"endpoints"`
	// Answers explain the verdicts of the endpoints, by "verdict/reason".
	Answers map[string]Answer `json:"answers"`
	// History is what was decided and done lately, the last first.
	History []history.Entry `json:"history"`
	// Config is the configuration in effect.
	Config config.Config `json:"config"`
}

// HNS is how HNS has answered lately.
type HNS struct {
	observe.Health
	// HungCalls is how many calls were abandoned and have not returned.
	HungCalls int `json:"hungCalls"`
}

// Pass is a complete look at the node.
type Pass struct {
	Ended           time.Time `json:"ended"`
	DurationSeconds float64   `json:"durationSeconds"`
	Network         Network   `json:"network"`
	// Waiting is set while a pod of the node has been waiting for its address for a short time.
	Waiting bool `json:"waiting"`
	// LoadBalancers is how many there were when they were last read; it is missing if that is not known.
	LoadBalancers *int `json:"loadBalancers,omitempty"`
}

// Network is the pod network.
type Network struct {
	ID      hns.NetworkID   `json:"id"`
	Name    string          `json:"name"`
	Type    hns.NetworkType `json:"type"`
	Subnets []netip.Prefix  `json:"subnets,omitempty"`
}

// Victim is a running pod that lacks its network.
type Victim struct {
	// Pod is its namespace/name.
	Pod     string     `json:"pod"`
	Address netip.Addr `json:"address"`
	// State is what it lacks: an endpoint, or one that is attached.
	State verdict.PodState `json:"state"`
	// Since is when the agent first found it so.
	Since time.Time `json:"since"`
}

// NodeEndpoint is one endpoint with its verdict: the row of a scan, and what only the agent knows.
type NodeEndpoint struct {
	Row
	Network hns.NetworkID `json:"network"`
	// Attached is set if a container uses the endpoint.
	Attached bool `json:"attached,omitempty"`
	// StaleSince is when it was first found to be stale.
	StaleSince time.Time `json:"staleSince,omitzero"`
	// Due is when an orphan's grace period ends.
	Due time.Time `json:"due,omitzero"`
}

// AnswerKey is the key of an endpoint's answer in [NodeStatus.Answers].
func AnswerKey(e NodeEndpoint) string { return e.Verdict + "/" + e.Reason }

// HistoryOf returns the history of a document in its JSON form. The document may be that of an agent of another
// version.
func HistoryOf(document []byte) ([]history.Entry, error) {
	var d struct {
		Kind    string          `json:"kind"`
		History []history.Entry `json:"history"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, fmt.Errorf("reading the agent's status: %w", err)
	}
	if d.Kind != Kind {
		return nil, fmt.Errorf("reading the agent's status: want kind %q, found %.100q", Kind, d.Kind)
	}
	return d.History, nil
}
