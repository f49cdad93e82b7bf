// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/observe"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/internal/version"
)

// APIVersion and Kind identify a report in its JSON form.
const (
	APIVersion = config.APIVersion
	Kind       = "NodeReport"
)

// Report is the state of a node. Its JSON form is for scripts: fields may be added, but do not change.
type Report struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Target is the target of an explanation, such as "pod shop/web"; otherwise empty.
	Target string `json:"target,omitempty"`
	Node   string `json:"node"`
	// Time is when the node was judged, by the clock of the node in an agent's report.
	Time time.Time `json:"time"`
	// Agent is the state of the agent. Only its own reports have it.
	*Agent

	KubeProxy KubeProxy `json:"kubeProxy"`
	// Mode is the upper limit, and Modes the resulting mode of each class of acts.
	Mode  config.Mode            `json:"mode"`
	Modes map[string]config.Mode `json:"modes"`
	// Network is the pod network, as far as it is known; nil if there is none.
	Network *Network `json:"network,omitempty"`
	// Summary sums up the endpoints in a sentence or two. The agent's own reports have none.
	Summary string `json:"summary,omitempty"`
	// Findings are the problems, most urgent first.
	Findings []Finding `json:"findings"`
	// Removable and Undecided count the endpoints that would be removed, and those for which this is unknown.
	Removable int `json:"removable"`
	Undecided int `json:"undecided"`
	// Counts are the endpoints by verdict, and Omitted is the number of endpoints that the filter does not select.
	Counts  map[verdict.Kind]int `json:"counts"`
	Omitted int                  `json:"omitted,omitempty"`
	// Endpoints are the endpoints that the filter selects, those that need attention first.
	Endpoints []Endpoint `json:"endpoints"`
	// LoadBalancerCounts are the load balancers by verdict.
	LoadBalancerCounts map[verdict.BalancerKind]int `json:"loadBalancerCounts"`
	// LoadBalancers are the broken load balancers; in an explanation, all of its target.
	LoadBalancers []Balancer `json:"loadBalancers"`
	// Pods are the pods that lack their network or may lack it, and those that the filter names.
	Pods []Pod `json:"pods"`
	// Answers explain the verdicts of the endpoints, by "verdict/reason".
	Answers map[string]Answer `json:"answers"`
	// History is what the agent has decided and done recently, most recent first.
	History []history.Entry `json:"history"`
	Notes   []string        `json:"notes,omitempty"`

	// leftBehind counts the local endpoints that a CNI has left behind.
	leftBehind int
}

// Agent is the state of an agent.
type Agent struct {
	Agent version.Info `json:"agent"`
	// Started is when the agent started.
	Started time.Time `json:"started"`
	State   State     `json:"state"`
	// Since is when the state began.
	Since time.Time `json:"since"`
	// Message says why the node is idle, has no network or is unknown, and Class is the class of an HNS error.
	Message string         `json:"message,omitempty"`
	Class   hns.ErrorClass `json:"class,omitempty"`
	HNS     HNS            `json:"hns"`
	// Pass is the last complete pass; it is missing if there was none.
	Pass *Pass `json:"pass,omitempty"`
	// Config is the configuration in effect.
	Config config.Config `json:"config"`
}

// State is the closed set of states of a node for its agent.
type State string

// The states.
const (
	// StateStarting: there has been no pass yet.
	StateStarting State = "starting"
	// StateGuarding: the last pass was complete, and endpoints that conflict with pods are removed.
	StateGuarding State = "guarding"
	// StateObserving: the last pass was complete, and such endpoints are only reported (invariant 9).
	StateObserving State = "observing"
	// StateIdle: there is no pod network and no pod that needs one, so there is nothing to guard.
	StateIdle State = "idle"
	// StateNetworkGone: there is no pod network, and pods run that need one.
	StateNetworkGone State = "network-gone"
	// StateUnknown: the node cannot be observed, and nothing is removed.
	StateUnknown State = "unknown"
)

// HNS is the health of HNS.
type HNS struct {
	observe.Health
	// HungCalls is the number of abandoned calls that have not returned.
	HungCalls int `json:"hungCalls"`
}

// Pass is a complete observation of the node.
type Pass struct {
	Ended           time.Time `json:"ended"`
	DurationSeconds float64   `json:"durationSeconds"`
	// Waiting is set if a pod on the node has begun to wait for its address recently.
	Waiting bool `json:"waiting"`
	// LoadBalancers is the number of load balancers at the last reading; nil if unknown.
	LoadBalancers *int `json:"loadBalancers,omitempty"`
}

// Network is the pod network. A recording of endpoints alone has only its ID.
type Network struct {
	ID      hns.NetworkID   `json:"id,omitempty"`
	Name    string          `json:"name,omitempty"`
	Type    hns.NetworkType `json:"type,omitempty"`
	Subnets []netip.Prefix  `json:"subnets,omitempty"`
}

func networkOf(n hns.Network) *Network {
	if n.ID == "" && n.Name == "" {
		return nil
	}
	return &Network{ID: n.ID, Name: n.Name, Type: n.Type, Subnets: n.Subnets}
}

// KubeProxy describes the node's kube-proxy.
type KubeProxy struct {
	Version string `json:"version"`
	// Known is false if the version is unknown. Then Faults are those of all versions.
	Known bool `json:"known"`
	// Faults are explained in docs/how-it-works.md.
	Faults []string `json:"faults"`
}

func kubeProxyOf(p kubeproxy.Profile) KubeProxy { return KubeProxy{p.Version, p.Known, p.Faults()} }

func (k KubeProxy) String() string {
	if !k.Known {
		return "of unknown version"
	}
	return k.Version + " with " + strings.Join(k.Faults, ", ")
}

// newReport returns a report without objects.
func newReport(node string, now time.Time, policy config.Config, proxy kubeproxy.Profile) Report {
	return Report{
		APIVersion: APIVersion, Kind: Kind, Node: node, Time: now.UTC(), KubeProxy: kubeProxyOf(proxy), Mode: policy.Mode,
		Modes: policy.EffectiveModes(), Findings: []Finding{}, Counts: map[verdict.Kind]int{},
		LoadBalancerCounts: map[verdict.BalancerKind]int{}, Endpoints: []Endpoint{},
		LoadBalancers: []Balancer{}, Pods: []Pod{}, History: []history.Entry{},
	}
}

// count counts all endpoints, including those that the filter does not select.
func (r *Report) count(all []Endpoint) {
	for _, e := range all {
		r.Counts[e.Verdict]++
		if e.Reason.LeftBehind() {
			r.leftBehind++
		}
	}
}

// Wrong reports whether anything is wrong with the node.
func (r Report) Wrong() bool { return len(r.Findings) > 0 }

// Judged reports whether everything in the report could be judged.
func (r Report) Judged() bool {
	return r.Undecided == 0 && len(r.unknownPods()) == 0
}

func (r Report) unknownPods() []Pod {
	return slices.DeleteFunc(slices.Clone(r.Pods), func(p Pod) bool { return p.State != verdict.PodUnknown })
}

// summarize returns the summary of a scan.
func (r Report) summarize(networkGone bool) string {
	shown := len(r.Endpoints)
	switch {
	case shown == 0 && r.Omitted > 0:
		return fmt.Sprintf("None of the %d endpoints matches the filter.", r.Omitted)
	case shown == 0:
		return "HNS has no endpoints."
	case networkGone && !slices.ContainsFunc(r.Pods, Pod.lacks):
		return "HNS has no pod network, and no pod on this node needs one: there is nothing to guard."
	case networkGone:
		return "HNS has no pod network, and pods on this node need one."
	}
	s := fmt.Sprintf("%d of %d endpoints would be removed", r.Removable, shown)
	if r.Removable > 0 && !slices.ContainsFunc(r.Endpoints, func(e Endpoint) bool {
		return e.removable() && r.observing(e.Verdict) == ""
	}) {
		s += ", but hnsguard only observes"
	}
	if r.Undecided > 0 {
		s += fmt.Sprintf("; %d cannot be judged", r.Undecided)
	}
	if r.Omitted > 0 {
		s += fmt.Sprintf("; %d do not match the filter", r.Omitted)
	}
	return s + "."
}

// observing returns the setting that keeps endpoints with the verdict from being removed, such as "mode: observe";
// empty if none does.
func (r Report) observing(kind verdict.Kind) string {
	class := "conflict"
	if kind == verdict.Orphan || kind == verdict.OrphanPending {
		class = "orphan"
	}
	switch config.Observe {
	case r.Mode:
		return "mode: observe"
	case r.Modes[class]:
		return class + ".mode: observe"
	default:
		return ""
	}
}

// maxParts is how many fields and elements a report may have: that of a node with 20,000 endpoints has fewer. Each may
// take a hundred times its text while it is decoded.
const maxParts = 500_000

// Parse parses the report of an agent of this or another version, whose node may be in other hands.
func Parse(document []byte) (Report, error) {
	if bytes.Count(document, []byte(",")) > maxParts {
		return Report{}, fmt.Errorf("reading the agent's report: it has more than %d parts", maxParts)
	}
	var r Report
	if err := json.Unmarshal(document, &r); err != nil {
		return Report{}, fmt.Errorf("reading the agent's report: %w", err)
	}
	if r.APIVersion != APIVersion || r.Kind != Kind || r.Agent == nil {
		return Report{}, fmt.Errorf("reading the agent's report: want kind %q %q, found %.100q %.100q",
			APIVersion, Kind, r.APIVersion, r.Kind)
	}
	return r, nil
}
