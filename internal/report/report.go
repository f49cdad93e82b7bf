// SPDX-License-Identifier: Apache-2.0

package report

import (
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

// Report is what is known of a node. Its JSON form is for scripts: fields may be added, but do not change.
type Report struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Target is what an explanation is about, such as "pod shop/web". Otherwise it is empty.
	Target string `json:"target,omitempty"`
	Node   string `json:"node"`
	// Time is the moment for which the node was judged, on the clock of the node if its agent did.
	Time time.Time `json:"time"`
	// Agent is what the agent says of itself. Only its own reports have it.
	*Agent

	KubeProxy KubeProxy `json:"kubeProxy"`
	// Mode is the upper limit, and Modes what follows for each class of acts.
	Mode  config.Mode            `json:"mode"`
	Modes map[string]config.Mode `json:"modes"`
	// Network is the pod network, as far as it is known. It is missing if HNS has none.
	Network *Network `json:"network,omitempty"`
	// Summary says in a sentence or two what the endpoints come to. The agent's own reports have none.
	Summary string `json:"summary,omitempty"`
	// Findings are what is wrong, the worst first.
	Findings []Finding `json:"findings"`
	// Removable and Undecided count endpoints: those that would be removed, and those of which it is unknown.
	Removable int `json:"removable"`
	Undecided int `json:"undecided"`
	// Counts are the endpoints by verdict, and Omitted those that the filter does not select.
	Counts  map[verdict.Kind]int `json:"counts"`
	Omitted int                  `json:"omitted,omitempty"`
	// Endpoints are those that the filter selects, the ones that need attention first.
	Endpoints []Endpoint `json:"endpoints"`
	// LoadBalancerCounts are the load balancers by verdict.
	LoadBalancerCounts map[verdict.BalancerKind]int `json:"loadBalancerCounts"`
	// LoadBalancers are those that are broken; in an explanation, all that it is about.
	LoadBalancers []Balancer `json:"loadBalancers"`
	// Pods are those that lack their network or may lack it, and those that the filter names.
	Pods []Pod `json:"pods"`
	// Answers explain the verdicts of the endpoints, by "verdict/reason".
	Answers map[string]Answer `json:"answers"`
	// History is what the agent has decided and done recently, the last first.
	History []history.Entry `json:"history"`
	Notes   []string        `json:"notes,omitempty"`

	// leftBehind counts the local endpoints of the node that no pod uses and nothing is attached to.
	leftBehind int
}

// Agent is what an agent says of itself and of its work.
type Agent struct {
	Agent version.Info `json:"agent"`
	// Started is when the agent started.
	Started time.Time `json:"started"`
	State   State     `json:"state"`
	// Since is when the state began.
	Since time.Time `json:"since"`
	// Message says why the node is idle or unknown, and Class is the class of that error if it is HNS's.
	Message string         `json:"message,omitempty"`
	Class   hns.ErrorClass `json:"class,omitempty"`
	HNS     HNS            `json:"hns"`
	// Pass is the last complete pass; it is missing if there was none.
	Pass *Pass `json:"pass,omitempty"`
	// Config is the configuration in effect.
	Config config.Config `json:"config"`
}

// State is the closed set of what an agent can say of its node.
type State string

// The states.
const (
	// StateStarting: there was no pass yet.
	StateStarting State = "starting"
	// StateGuarding: the last pass was complete, and endpoints in the way of pods are removed.
	StateGuarding State = "guarding"
	// StateObserving: the last pass was complete, and they are only reported (invariant 9).
	StateObserving State = "observing"
	// StateIdle: there is no pod network and no pod that needs one, and so nothing to guard.
	StateIdle State = "idle"
	// StateNetworkGone: there is no pod network, and pods run that need one.
	StateNetworkGone State = "network-gone"
	// StateUnknown: the node cannot be observed, and nothing is touched.
	StateUnknown State = "unknown"
)

// HNS is how HNS has answered recently.
type HNS struct {
	observe.Health
	// HungCalls is how many calls were abandoned and have not returned.
	HungCalls int `json:"hungCalls"`
}

// Pass is a complete look at the node.
type Pass struct {
	Ended           time.Time `json:"ended"`
	DurationSeconds float64   `json:"durationSeconds"`
	// Waiting is set while a pod on the node has been waiting for its address for a short time.
	Waiting bool `json:"waiting"`
	// LoadBalancers is how many there were when they were last read; it is missing if that is not known.
	LoadBalancers *int `json:"loadBalancers,omitempty"`
}

// Network is the pod network. Recordings of endpoints alone have only its ID.
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

// KubeProxy is what is known of the node's kube-proxy.
type KubeProxy struct {
	Version string `json:"version"`
	// Known is false if the version is unknown. The faults are then those that any version has.
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

// count counts endpoints, whether the filter selects them or not.
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

// Judged reports whether all that was asked about could be judged.
func (r Report) Judged() bool {
	return r.Undecided == 0 && len(r.unknownPods()) == 0
}

func (r Report) unknownPods() []Pod {
	return slices.DeleteFunc(slices.Clone(r.Pods), func(p Pod) bool { return p.State != verdict.PodUnknown })
}

// summarize says what a scan comes to.
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

// observing returns the setting because of which endpoints with the verdict are never removed, such as "mode: observe".
// It is empty if there is none.
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

// Parse reads the report of an agent of this or another version.
func Parse(document []byte) (Report, error) {
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
