// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/verdict"
)

// nothingWrong is the summary if nothing speaks against it.
const nothingWrong = "Nothing is wrong with the endpoints of this address."

// summarize says the whole in a sentence or two. What a pod lacks comes first.
func (e Explanation) summarize(t Target, r Report) string {
	if t.Pod.Name != "" && len(e.Pods) > 0 {
		return e.ofPod(e.Pods[0], r)
	}
	if len(e.Pods) > 0 {
		return fmt.Sprintf("Pod %s runs on this node with the address %s and without a local endpoint: it has no network. %s",
			e.Pods[0].Name, joined(e.Pods[0].Addresses), replaceIt)
	}
	if len(e.Endpoints) == 0 {
		return "HNS on this node has no such endpoint."
	}
	return e.ofEndpoints(r)
}

const replaceIt = "Delete it: its replacement gets one."

// ofPod looks at what explains a missing endpoint first: a pod that needs none here must not be deleted for it.
func (e Explanation) ofPod(p Pod, r Report) string {
	switch p.State {
	case PodAttached:
		return e.ofEndpoints(r)
	case PodWithoutNetwork:
		return "The pod runs on this node without a local endpoint: it has no network. " + replaceIt
	case PodHostNetwork:
		return "The pod uses the node's own network and has no HNS endpoint; nothing is wrong."
	case PodElsewhere:
		return e.elsewhere(p, r)
	case PodUnscheduled:
		return "The pod is not scheduled to a node yet: " + describePod(p) + " says why."
	case PodUnknown:
		return "Whether the pod has a network is unknown: the record of an endpoint that may be its own is incomplete."
	case PodEnded:
		return e.andAddress(fmt.Sprintf("The pod has ended (%s) and needs no endpoint any more.", p.Phase), r)
	case PodDeleting:
		return e.andAddress("The pod is being deleted, and its local endpoint is gone.", r)
	default:
		return e.andAddress(starting(p), r)
	}
}

// elsewhere is about a pod of another node, whose endpoint here is a remote one.
func (e Explanation) elsewhere(p Pod, r Report) string {
	where := fmt.Sprintf("The pod runs on node %s, not on %s", p.Node, e.Node)
	switch p.NodeOS {
	case "windows":
		where += ": explain it there."
	case "":
		where += ": explain it there, if that is a Windows node."
	default:
		where += fmt.Sprintf(". That is a %s node, which has no HNS.", capital(p.NodeOS))
	}
	inUse := func(e Explained) bool { return e.Verdict == string(verdict.InUse) }
	switch {
	case len(e.Endpoints) == 0:
		return where + " Here HNS has no endpoint with its address; it needs one only if a Service leads to the pod."
	case !slices.ContainsFunc(e.Endpoints, func(e Explained) bool { return !inUse(e) }):
		return where + " Here its remote endpoint is in use and right."
	default:
		return e.andAddress(where, r)
	}
}

// andAddress adds what is to be said of the endpoints with the pod's address, which may be another pod's by now.
func (e Explanation) andAddress(ofPod string, r Report) string {
	if s := e.ofEndpoints(r); len(e.Endpoints) > 0 && s != nothingWrong {
		return ofPod + " Of its address here: " + s
	}
	return ofPod
}

func starting(p Pod) string {
	phase := "is " + p.Phase
	if !p.Created.IsZero() && p.Phase == "Pending" {
		phase += " since " + p.Created.Format(time.DateTime+"Z")
	}
	const look = " If that does not change, look at the log of the CNI on its node, and at "
	switch {
	case len(p.Addresses) == 0:
		return "The pod " + phase + " and has no address yet." + look + describePod(p) + "."
	case p.Phase == "Running":
		return "The pod has only just started, and HNS has no endpoint for it yet. Ask again in half a minute."
	default:
		return "The pod " + phase + " and has no endpoint yet." + look + describePod(p) + "."
	}
}

func describePod(p Pod) string {
	namespace, name, _ := strings.Cut(p.Name, "/")
	return fmt.Sprintf("'kubectl -n %s describe pod %s'", namespace, name)
}

// ofEndpoints says what their verdicts come to, the worst first.
func (e Explanation) ofEndpoints(r Report) string {
	for _, s := range summaries() {
		applies := func(e Explained) bool {
			return slices.Contains(s.kinds, verdict.Kind(e.Verdict)) &&
				(len(s.reasons) == 0 || slices.Contains(s.reasons, verdict.Reason(e.Reason)))
		}
		i := slices.IndexFunc(e.Endpoints, applies)
		if i < 0 {
			continue
		}
		if setting := r.Observes(verdict.Kind(e.Endpoints[i].Verdict)); setting != "" && s.observed != "" {
			return s.text + fmt.Sprintf(s.observed, setting)
		}
		return s.text + s.enforced
	}
	return nothingWrong
}

// summary is what it comes to if an endpoint has one of the verdicts, and one of the reasons if there are any.
type summary struct {
	kinds   []verdict.Kind
	reasons []verdict.Reason
	text    string
	// enforced follows the text, or observed with the setting because of which nothing is removed.
	enforced, observed string
}

func summaries() []summary {
	const stale = "A stale remote endpoint conflicts with a pod on this node. "
	return []summary{
		{
			kinds: []verdict.Kind{verdict.Conflict, verdict.EarlyConflict}, text: stale,
			enforced: "hnsguard removes it, see below.",
			observed: "hnsguard would remove it; it only observes (%s).",
		},
		{
			kinds: []verdict.Kind{verdict.Held}, text: stale,
			enforced: "hnsguard holds it, because kube-proxy would delete the pod's own endpoint.",
			observed: "hnsguard would hold it, because kube-proxy would delete the pod's own endpoint, and remove it later; " +
				"it only observes (%s).",
		},
		{
			kinds: []verdict.Kind{verdict.Contested}, reasons: []verdict.Reason{verdict.ReasonNoLocalEndpoint},
			text: "A pod on this node has the address, but no attached local endpoint: it has no network, or is only starting.",
		},
		{
			kinds: []verdict.Kind{verdict.Contested},
			text:  "Ownership of the address is ambiguous; hnsguard keeps the endpoint.",
		},
		{
			kinds: []verdict.Kind{verdict.LeakedLocal},
			text:  "A local endpoint was left behind on this node. The remote one is valid, and hnsguard keeps it.",
		},
		{
			kinds: []verdict.Kind{verdict.Local}, reasons: []verdict.Reason{verdict.ReasonLocalLeaked},
			text: "A local endpoint was left behind on this node, and another node uses its address: this node cannot reach " +
				"that pod.",
		},
		{kinds: []verdict.Kind{KindUnknown}, text: "Something that the verdict needs is unknown."},
		{
			kinds: []verdict.Kind{verdict.Local}, reasons: []verdict.Reason{verdict.ReasonLocalUnclaimed},
			text: "A local endpoint has the address, and no pod on this node has it: it was left behind, or its pod is only " +
				"starting.",
		},
		{kinds: []verdict.Kind{verdict.Orphan, verdict.OrphanPending}, text: "The address is not used any more."},
	}
}

// podsOf returns the pods that the explanation is about: the one that is asked about, or those without network that
// have an address of the target.
func (e Explanation) podsOf(t Target, r Report) []Pod {
	if t.Pod.Name != "" {
		return slices.DeleteFunc(slices.Clone(r.Pods), func(p Pod) bool { return p.Name != t.Pod.String() })
	}
	asked := func(addr netip.Addr) bool {
		return addr == t.Address || slices.ContainsFunc(e.Endpoints, func(e Explained) bool {
			return slices.Contains(e.Addresses, addr)
		})
	}
	return slices.DeleteFunc(slices.Clone(r.PodsWithoutNetwork), func(p Pod) bool {
		return !slices.ContainsFunc(p.Addresses, asked)
	})
}
