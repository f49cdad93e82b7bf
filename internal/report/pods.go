// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Pod is a pod and its state in the HNS of the node.
type Pod struct {
	// Name is the name of the pod, as namespace/name.
	Name  string           `json:"name"`
	State verdict.PodState `json:"state"`
	// Why says what is missing if the state is unknown.
	Why string `json:"why,omitempty"`
	// Node is the node of the pod, and NodeOS the node's operating system, if known.
	Node      string       `json:"node,omitempty"`
	NodeOS    string       `json:"nodeOS,omitempty"`
	Phase     string       `json:"phase,omitempty"`
	Addresses []netip.Addr `json:"addresses,omitempty"`
	// Ready is the status of the pod's Ready condition.
	Ready   string    `json:"ready,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Started time.Time `json:"started,omitzero"`
	// Ends is when a pod that is being deleted should be gone.
	Ends time.Time `json:"ends,omitzero"`
	// Since is when the agent first found the state.
	Since time.Time `json:"since,omitzero"`
}

// lacks reports whether something is wrong with the pod: it lacks its network, or takes too long to end.
func (p Pod) lacks() bool { return p.State.LacksNetwork() || p.State == verdict.PodEndingTooLong }

// podStates determines the state of pods.
type podStates struct {
	in     Input
	locals verdict.Locals
	// obscured are the endpoints that may have other addresses than recorded, and partial says why endpoints may be
	// missing.
	obscured []hns.Endpoint
	partial  string
}

func (in Input) podStates() podStates {
	s := podStates{in: in, locals: verdict.Locals{}, partial: in.partialHNS()}
	for _, e := range in.HNS.Endpoints {
		switch {
		case e.Remote():
		case in.HNS.Incomplete[e.ID] != "", e.Untranslated != "" && len(e.Addresses) == 0:
			s.obscured = append(s.obscured, e)
		default:
			s.locals.Add(e)
		}
	}
	return s
}

func (s podStates) of(pod *corev1.Pod) Pod {
	known, started := cluster.PodOf(pod), time.Time{}
	if pod.Status.StartTime != nil {
		started = pod.Status.StartTime.Time
	}
	node, _ := s.in.node(known.Node)
	p := Pod{
		Name: known.Key.String(), Node: known.Node, NodeOS: node.OperatingSystem,
		Phase: string(pod.Status.Phase), Addresses: known.Addresses, Created: known.Created.UTC(), Started: started.UTC(),
		Ends: known.Ends.UTC(),
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			p.Ready = string(c.Status)
		}
	}
	p.State, p.Why = s.state(known, p)
	return p
}

// state returns the state according to package verdict, but does not guess what was not recorded. HNS and the cluster
// are not recorded at the same moment, so the endpoint of a pod that started in between is missing; and the recording
// of HNS may be partial. Even in a partial recording, a pod that is not ready counts as lacking its network.
func (s podStates) state(known cluster.Pod, p Pod) (state verdict.PodState, why string) {
	state = s.locals.StateOf(known, s.in.Node, s.in.Now)
	switch {
	case !state.LacksNetwork():
		return state, ""
	case s.in.Now.Sub(p.Started) < s.in.Config.Eviction.After.Duration:
		return verdict.PodStarting, ""
	case !s.in.HNSRecorded.IsZero() && s.in.HNSRecorded.Sub(p.Started) < s.in.Config.Eviction.After.Duration:
		return verdict.PodUnknown, "it started when HNS had been recorded"
	case slices.ContainsFunc(s.obscured, func(e hns.Endpoint) bool { return mayHave(e, p.Addresses) }):
		return verdict.PodUnknown, "the record of an endpoint that may be its own is incomplete"
	case state == verdict.PodWithoutNetwork && s.partial != "" && p.Ready == string(corev1.ConditionTrue):
		return verdict.PodUnknown, s.partial + ", and the pod is ready"
	default:
		return state, ""
	}
}

// pods returns the pods that lack their network or cannot be judged, and those that the filter names.
func (in Input) pods() (reported []Pod, note string) {
	states, attached, lacking := in.podStates(), 0, 0
	reported = []Pod{}
	for _, pod := range in.Cluster.Pods {
		p := states.of(pod)
		if p.State == verdict.PodAttached {
			attached++
		}
		selected := in.Filter.selectsPod(p)
		if selected && p.lacks() {
			lacking++
		}
		if in.Filter.names(p) || selected && (p.lacks() || p.State == verdict.PodUnknown) {
			reported = append(reported, p)
		}
	}
	if attached == 0 {
		note = in.noneAttached(lacking)
	}
	return reported, note
}

// noneAttached returns a note if no pod on the node has its network.
func (in Input) noneAttached(lacking int) string {
	switch {
	case in.networkGone:
		return ""
	case len(in.HNS.Endpoints) == 0 && lacking > 0:
		return fmt.Sprintf("HNS of %s has no endpoint at all: it was reset, unless a filter or an error of the command has "+
			"left them out. If no pod on the node has a network, drain the node and restart it", in.Node)
	case lacking > 1:
		return fmt.Sprintf("no pod of %s seems to have a network: HNS may have been recorded on another node, at another "+
			"time, or in part", in.Node)
	default:
		return ""
	}
}

// describe says why a pod needs no local endpoint or may have none. It is empty if the pod has one, and if the pod
// lacks its network, because a finding describes that.
func (p Pod) describe(r Report) string {
	namespace, name, _ := strings.Cut(p.Name, "/")
	kubectl := fmt.Sprintf("'kubectl -n %s describe pod %s'", namespace, name)
	switch p.State {
	case verdict.PodHostNetwork:
		return fmt.Sprintf("Pod %s uses the node's own network and has no HNS endpoint; nothing is wrong.", p.Name)
	case verdict.PodElsewhere:
		return fmt.Sprintf("Pod %s runs on node %s, not on %s. %s Here it has a remote endpoint only if a Service leads to "+
			"it.", p.Name, p.Node, r.Node, p.whereToExplain())
	case verdict.PodUnscheduled:
		return fmt.Sprintf("Pod %s is not scheduled to a node yet: %s says why.", p.Name, kubectl)
	case verdict.PodUnknown:
		return fmt.Sprintf("Whether Pod %s has a network is unknown: %s.", p.Name, p.Why)
	case verdict.PodEnded:
		return fmt.Sprintf("Pod %s has ended (%s) and needs no endpoint any more.", p.Name, p.Phase)
	case verdict.PodDeleting:
		return fmt.Sprintf("Pod %s is being deleted, and its local endpoint is gone.", p.Name)
	case verdict.PodStarting:
		return p.describeStart(r, kubectl)
	case verdict.PodAttached, verdict.PodWithoutNetwork, verdict.PodNotAttached, verdict.PodEndingTooLong:
	}
	return ""
}

// title returns the title of the finding about such pods.
func (p Pod) title() string {
	switch p.State {
	case verdict.PodNotAttached:
		return "pod~ with an endpoint that is not attached"
	case verdict.PodEndingTooLong:
		return "pod~ ending for too long"
	default:
		return "pod~ without network"
	}
}

// since returns when the pod's problem began.
func (p Pod) since() time.Time {
	if p.State == verdict.PodEndingTooLong {
		return p.Ends
	}
	return p.Since
}

// ofPod inserts the name of the pod.
func (a Answer) ofPod(p Pod) Answer {
	namespace, name, _ := strings.Cut(p.Name, "/")
	names := strings.NewReplacer("The pod", "Pod "+p.Name, "NAMESPACE", namespace, "NAME", name)
	return Answer{Because: names.Replace(a.Because), Next: a.Next, Do: names.Replace(a.Do)}
}

// answerToPods says what pods in the state lack, and how to repair them.
func (r Report) answerToPods(state verdict.PodState, networkGone bool) Answer {
	if state == verdict.PodEndingTooLong {
		return Answer{
			"The pod should have been gone by now, and its local endpoint is gone: the runtime fails to remove its sandbox.",
			"hnsguard reports it.",
			"Look for finalizers, and at the log of containerd on its node. If nothing else helps: 'kubectl -n NAMESPACE " +
				"delete pod NAME --grace-period=0 --force', then restart containerd or the node.",
		}
	}
	a := Answer{
		Because: "The pod runs on this node without a local endpoint: it has no network.",
		Next: "hnsguard reports it on the pod. It evicts pods that a controller replaces, one at a time, as far as " +
			"disruption budgets allow.",
		Do: "Delete it: its replacement gets one. If it hangs in Terminating, delete it with --grace-period=0 --force, " +
			"and restart containerd on the node.",
	}
	if r.Modes["eviction"] != config.Enforce {
		a.Next = "hnsguard reports it on the pod. It evicts pods only where mode and eviction.mode are enforce."
	}
	if networkGone {
		a.Do = "HNS has no pod network for a replacement either: drain the node and restart it."
	}
	if state == verdict.PodNotAttached {
		a.Because = "The pod runs on this node, and the local endpoint with its address is not attached to it: it has no " +
			"network."
	}
	return a
}

// describeStart says what a pod is waiting for.
func (p Pod) describeStart(r Report, kubectl string) string {
	what, left := "endpoint", ""
	if len(p.Addresses) == 0 {
		what, left = "address", r.exhausted()
	} else if p.Phase == string(corev1.PodRunning) {
		return fmt.Sprintf("Pod %s has only just started, and HNS has no endpoint for it yet. Ask again in half a minute.",
			p.Name)
	}
	return fmt.Sprintf("Pod %s is %s since %s and has no %s yet. %sIf that does not change, look at the log of the CNI "+
		"on its node, and at %s.", p.Name, p.Phase, p.Created.Format(time.DateTime+"Z"), what, left, kubectl)
}

// exhausted says how many addresses are held by endpoints that a CNI has left behind.
func (r Report) exhausted() string {
	if r.leftBehind == 0 {
		return ""
	}
	return fmt.Sprintf("%s that no pod uses may hold all addresses that the CNI could assign to it: see 'hnsguard scan'. ",
		plural(r.leftBehind, "local endpoint~"))
}

func (p Pod) whereToExplain() string {
	switch p.NodeOS {
	case "windows":
		return "Explain it there."
	case "":
		return "Explain it there, if that is a Windows node."
	default:
		return fmt.Sprintf("That is a %s node, which has no HNS.", capital(p.NodeOS))
	}
}
