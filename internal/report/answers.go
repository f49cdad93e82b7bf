// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Answer is the meaning of a verdict for the reader.
type Answer struct {
	// Because is the rule that decided the verdict.
	Because string `json:"because"`
	// Next is what happens next, and when.
	Next string `json:"next"`
	// Do is what the reader can do; empty if nothing.
	Do string `json:"do,omitempty"`
}

const nothing = "hnsguard leaves it alone."

// removeByHand has a placeholder for the ID: see [Report.answerTo].
const removeByHand = "Make sure that no container uses it, and remove it on the node: Get-HnsEndpoint | Where-Object " +
	"Id -eq 'ID' | Remove-HnsEndpoint. If a load balancer names it, restart kube-proxy, which programs the Services " +
	"again. Find out why the CNI's DEL failed."

// upgrade is the lasting cure for the stale record.
func upgrade() string {
	return "upgrade kube-proxy on Windows nodes to a version without the stale record: " +
		version.DocsURL("how-it-works.md#the-faults-of-kube-proxy")
}

// answers returns the answer for every reason.
func answers() map[verdict.Reason]Answer { //nolint:funlen // a table
	return map[verdict.Reason]Answer{
		verdict.ReasonLivePod: {
			"A running pod on this node has the address and an attached endpoint of its own. The remote endpoint is stale: " +
				"kube-proxy may send traffic for the pod to where the address was before.",
			"hnsguard removes it within seconds, after it has read HNS and the API server again.",
			"If it stays, a brake keeps it: 'hnsguard explain' on the node says which.",
		},
		verdict.ReasonNewEndpoint: {
			"A local endpoint with this address appeared after a pod on this node began to wait for its address, and no other " +
				"pod claims it: the waiting pod is about to get it.",
			"hnsguard removes the remote endpoint once it has proved that no EndpointSlice lists the address.", "",
		},
		verdict.ReasonStaleRecord: {
			"A pod on this node has the address, but an EndpointSlice still lists it elsewhere. This kube-proxy remembers " +
				"addresses that slices drop, and would delete the pod's own endpoint if the remote one were gone by then.",
			"hnsguard keeps the address listed by a slice of its own, so that no drop reaches kube-proxy, and then removes " +
				"the endpoint. Where it cannot, as on an overlay network, it waits until the slice has dropped the address and " +
				"kube-proxy has forgotten it.",
			"If it stays, the keep-slice cannot be written: see the history. Lasting cure: " + upgrade(),
		},
		verdict.ReasonMayRemember: {
			"kube-proxy may still remember the address as one that EndpointSlices have dropped. It would delete any endpoint " +
				"that it finds under it, a pod's own too.",
			"hnsguard makes kube-proxy replace what it remembers, and sees in HNS when it has: within seconds, if kube-proxy " +
				"syncs.",
			"If it stays, kube-proxy does not sync, or the Service hnsguard-flush is missing: see kube-proxy's log. Lasting " +
				"cure: " + upgrade(),
		},
		verdict.ReasonPodDeleting: {
			"A pod on this node that is being deleted has the address. Which endpoint is valid is unknown until the pod is " +
				"gone.",
			"hnsguard decides again when the pod is gone.",
			"If the pod hangs in Terminating, look for finalizers and at the kubelet's log.",
		},
		verdict.ReasonNoLocalEndpoint: {
			"A pod on this node has the address, but no attached local endpoint: it has no network, or is only starting. " +
				"Which state would be right is unknown, so the remote endpoint stays.",
			"If the pod stays without an endpoint, hnsguard reports NetworkEndpointLost on it, and evicts it where " +
				"mode and eviction.mode are enforce.", "Delete the pod; its replacement gets an endpoint.",
		},
		verdict.ReasonPodElsewhere: {
			"The API server also has a pod on another node with this address. Which claim is valid is unknown: the status of " +
				"a pod keeps the address of a sandbox that is gone.",
			"hnsguard keeps the endpoint and reads the pods again, at least every minute while a pod on this node has the " +
				"address.",
			"Find the pods with this address: kubectl get pods -A -o wide. If none of their nodes has lost a sandbox, the " +
				"cluster's IPAM has assigned the address twice: delete one of the pods.",
		},
		verdict.ReasonListedReady: {
			"An EndpointSlice lists the address as ready on another node: the endpoint is in use.", nothing, "",
		},
		verdict.ReasonListed: {
			"An EndpointSlice lists the address, but not as ready: the endpoint may still be in use.", nothing, "",
		},
		verdict.ReasonListedHere: {
			"An EndpointSlice lists the address on this node, but no pod on this node has it.",
			"hnsguard decides again when the slice or the pods change.", "",
		},
		verdict.ReasonExcluded: {
			"The configuration excludes the address.", nothing, "Look at exclusions in the configuration.",
		},
		verdict.ReasonVIP: {
			"It is the address of a Service, for which kube-proxy creates endpoints on overlay networks.", nothing, "",
		},
		verdict.ReasonNodeAddress: {
			"A pod on the host network has the address: it is the node's own.", nothing, "",
		},
		verdict.ReasonUnclaimed: {
			"No pod, EndpointSlice or load balancer uses the address.",
			"hnsguard removes it once the address has been unused for orphan.gracePeriod and the absence is proved.", "",
		},
		verdict.ReasonGracePeriod: {
			"The address is unused, but not for long enough yet.", "It becomes an orphan when orphan.gracePeriod is over.", "",
		},
		verdict.ReasonReferenced: {
			"The address is unused, but an HNS load balancer names the endpoint.",
			"It stays until kube-proxy has updated or deleted the load balancer.",
			"If that takes longer than a few minutes, restart kube-proxy on this node.",
		},
		verdict.ReasonLoadBalancersUnknown: {
			"The address is unused, but whether a load balancer names the endpoint is unknown.",
			"The agent reads load balancers and decides then.",
			"Record them: Get-HnsPolicyList | ConvertTo-Json -Depth 10 > policies.json",
		},
		verdict.ReasonNoSlices: {
			"The EndpointSlices are not those of all namespaces at this moment: the absence of a listing proves nothing.",
			"hnsguard removes nothing until they are known.",
			"Record the cluster again, with all namespaces, at the same moment as HNS.",
		},
		verdict.ReasonServicesUnknown: {
			"On an overlay network Service addresses have endpoints, and the Services are unknown.",
			"The agent watches Services on such networks and decides then.", "Record Services too.",
		},
		verdict.ReasonOtherNetwork: {"It is not on the pod network.", nothing, ""},
		verdict.ReasonOfNode: {
			"By its name it is the node's own: the source VIP of kube-proxy, or the gateway of a bridge. No pod uses it.",
			nothing, "",
		},
		verdict.ReasonOtherMaker: {
			"It does not have the MAC address that kube-proxy derives: a CNI or another program created it.", nothing, "",
		},
		verdict.ReasonLocalPod: {
			"It is the endpoint of a pod on this node.", nothing + " Local endpoints are never removed.", "",
		},
		verdict.ReasonLocalNotAttached: {
			"A pod on this node has the address, but the endpoint is not attached to it: the pod has no network, or is only " +
				"starting or ending.",
			"hnsguard reports NetworkEndpointNotAttached on the pod. Local endpoints are never removed.",
			"Delete the pod; its replacement gets an endpoint of its own.",
		},
		verdict.ReasonLocalBesidePods: {
			"A pod on this node uses another endpoint with this address. Nothing is attached to this one: the CNI left it " +
				"behind.",
			"hnsguard reports DuplicateLocalEndpoints on the node. Local endpoints are never removed.", removeByHand,
		},
		verdict.ReasonLocalLeftBehind: {
			"No pod on this node has the address, and nothing is attached to the endpoint: the CNI left it behind. It keeps " +
				"its address from the CNI's pods. When a pod elsewhere gets the address, kube-proxy takes this endpoint for " +
				"that pod's.",
			"hnsguard reports LeakedLocalEndpoint on the node. Local endpoints are never removed.", removeByHand,
		},
		verdict.ReasonLocalUnclaimed: {
			"It is a local endpoint, and no pod on this node has its address: it was left behind, or its pod is only starting.",
			nothing + " Local endpoints are never removed.", "",
		},
		verdict.ReasonLocalLeaked: {
			"The CNI left this local endpoint behind, and another node uses its address: this node cannot reach that pod.",
			"hnsguard reports LeakedLocalEndpoint on the node. Local endpoints are never removed.",
			removeByHand + " To repair the node, follow " + version.RunbookURL("HNSGuardLeakedLocalEndpoints"),
		},
	}
}

// answerFor returns the meaning of a verdict. It returns false if the reason is unknown.
func answerFor(kind verdict.Kind, reason verdict.Reason) (Answer, bool) {
	if kind == verdict.LeakedLocal {
		return Answer{
			"An EndpointSlice lists the address as ready elsewhere, so that the remote endpoint is the valid one; the local " +
				"one with the same address was left behind.",
			"hnsguard keeps both. kube-proxy 1.34.8, 1.35.5, 1.36.1, 1.37.0 and later delete the remote one, once.",
			"Follow " + version.RunbookURL("HNSGuardLeakedLocalEndpoints"),
		}, true
	}
	a, known := answers()[reason]
	return a, known
}

// answer returns the meaning of a verdict on this node, in its mode.
func (r Report) answer(kind verdict.Kind, reason verdict.Reason) Answer {
	answer, known := answerFor(kind, reason)
	if !known {
		return Answer{
			"It cannot be judged: " + string(reason) + ".", "A scan changes nothing. The agent on the node knows more.",
			"Record what is missing, or give --kube-proxy-version.",
		}
	}
	remembers := slices.Contains(r.KubeProxy.Faults, "stale-record")
	if kind.Removes() && remembers { // a scan cannot see kube-proxy's record
		answer.Next = "hnsguard removes it when it has proved that kube-proxy does not remember the address, which takes " +
			"seconds. Do not delete it by hand before."
	}
	setting := r.observing(kind)
	if setting == "" && reason == verdict.ReasonMayRemember && r.Modes["flush"] == config.Observe {
		setting = "flush.mode: observe"
	}
	if setting != "" && kind.Stale() {
		return answer.whileObserving(kind, setting, remembers)
	}
	return answer
}

// answersTo returns the answers for the verdicts on endpoints, by "verdict/reason".
func (r Report) answersTo(all []Endpoint) map[string]Answer {
	answers := map[string]Answer{}
	for _, e := range all {
		key := string(e.Verdict) + "/" + string(e.Reason)
		if _, has := answers[key]; !has {
			answers[key] = r.answer(e.Verdict, e.Reason)
		}
	}
	return answers
}

// answerTo returns the meaning of the verdict on an endpoint, with the names of its objects.
func (r Report) answerTo(e Endpoint) Answer {
	answer := r.answer(e.Verdict, e.Reason)
	answer.Do = strings.Replace(answer.Do, "'ID'", "'"+string(e.ID)+"'", 1)
	switch {
	case e.Reason == verdict.ReasonOfNode && len(e.Pods) > 0:
		answer.Do = "The IPAM has assigned its address to a pod too, which has no network of its own: exclude the address " +
			"from the range of the pods, and delete " + strings.Join(e.Pods, ", ") + "."
	case e.Reason == verdict.ReasonLivePod && r.observing(e.Verdict) == "": // only the agent knows its brakes
		answer.Do = "If it stays, ask the agent which brake keeps it: kubectl hnsguard explain " + e.target() + " --node " +
			r.Node
	case e.Reason == verdict.ReasonStaleRecord:
		answer.Do = fmt.Sprintf("Find out why EndpointSlices still list it elsewhere: %s (a pod stuck in Terminating?). "+
			"Lasting cure: %s", e.listedElsewhere(r.Node), upgrade())
	}
	return answer
}

// whileObserving returns the answer if hnsguard may not remove the endpoint.
func (a Answer) whileObserving(kind verdict.Kind, setting string, remembers bool) Answer {
	name, _, _ := strings.Cut(setting, ":")
	a.Next = fmt.Sprintf("hnsguard would remove it; it only observes (%s).", setting)
	a.Do = fmt.Sprintf("To let hnsguard remove it, set %s in its configuration to enforce.", name)
	if kind == verdict.Held {
		a.Next = fmt.Sprintf("hnsguard would keep the address listed, make kube-proxy forget it, and remove the endpoint; "+
			"it only observes (%s): the hold ends only with a change from elsewhere, however long that takes.", setting)
		a.Do += " Lasting cure: " + upgrade()
	}
	if remembers {
		a.Next += " Do not delete it by hand: kube-proxy may remember the address, and would delete the pod's own endpoint."
	}
	return a
}
