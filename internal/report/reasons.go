// SPDX-License-Identifier: Apache-2.0

package report

import (
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Answer is what a verdict means to a person.
type Answer struct {
	// Because is the rule that decided.
	Because string `json:"because"`
	// Next is what happens next, and when.
	Next string `json:"next"`
	// Do is what a person can do. It is empty if there is nothing to do.
	Do string `json:"do,omitempty"`
}

const nothing = "hnsguard does nothing about it."

// upgrade is the lasting cure of the stale record.
func upgrade() string {
	return "Upgrade kube-proxy on Windows nodes to a version without the stale record: " + version.DocsURL("results/kube-proxy-matrix.md")
}

// answers has one for every reason.
func answers() map[verdict.Reason]Answer { //nolint:funlen // a table
	return map[verdict.Reason]Answer{
		verdict.ReasonLivePod: {
			"A pod of this node lives with this address and has its own, attached endpoint, so that the remote one is stale: " +
				"traffic to the pod may be sent to where the address was before.",
			"hnsguard removes it within seconds, after it has read endpoints from HNS and the pod from the API server again.",
			"If it stays, a brake keeps it: see what the agent has decided and done.",
		},
		verdict.ReasonNewEndpoint: {
			"A local endpoint with this address appeared after a pod of this node began to wait for its address, and nobody " +
				"else claims the address: the pod is about to have it.",
			"hnsguard removes the remote endpoint when it has proved that no EndpointSlice lists the address.", "",
		},
		verdict.ReasonStaleRecord: {
			"A pod of this node has the address, but an EndpointSlice still lists it elsewhere. This kube-proxy remembers " +
				"what slices drop, and would delete the pod's own endpoint if the remote one were gone by then.",
			"hnsguard holds it until the slice has dropped the address and kube-proxy is known to have forgotten it, which " +
				"takes 7 to 12 minutes after the drop.", upgrade(),
		},
		verdict.ReasonMayRemember: {
			"This kube-proxy may still remember the address as one that EndpointSlices have dropped, and would delete " +
				"whatever endpoint it then finds, a pod's own too.",
			"hnsguard waits until kube-proxy is known to have forgotten the address: at most about 12 minutes.", upgrade(),
		},
		verdict.ReasonPodDeleting: {
			"A pod of this node that is being deleted has the address. Whose endpoint is the right one is not known until it " +
				"is gone.", "It is judged again when the pod is gone.",
			"If the pod hangs in Terminating, find out what keeps it: finalizers, or the kubelet of the node.",
		},
		verdict.ReasonNoLocalEndpoint: {
			"A pod of this node has the address, but no attached local endpoint: it has no network, or is only starting. The " +
				"remote endpoint is kept, because what the right state would be is not known.",
			"If the pod stays without an endpoint, hnsguard reports NetworkEndpointLost on it, and evicts it where " +
				"mode and eviction.mode are enforce.", "Delete the pod; its replacement gets an endpoint.",
		},
		verdict.ReasonPodElsewhere: {
			"A pod on another node has the address, too, by what the API server has. Which of the two claims is valid is not " +
				"known: the status of a pod keeps the address of a sandbox that is gone.",
			"hnsguard keeps the endpoint and looks the pods up again, at least each minute where a pod on this node has the " +
				"address.",
			"Find the pods with this address: kubectl get pods -A -o wide. If none of their nodes has lost a sandbox, the " +
				"cluster's IPAM has given the address twice: delete one of the pods.",
		},
		verdict.ReasonListedReady: {
			"An EndpointSlice lists the address as ready on another node: the endpoint is in use.", nothing, "",
		},
		verdict.ReasonListed: {
			"An EndpointSlice lists the address, although not as ready: the endpoint may still be in use.", nothing, "",
		},
		verdict.ReasonListedHere: {
			"An EndpointSlice lists the address on this node, but no pod of this node is known to have it.",
			"It is judged again when the slice or the pods change.", "",
		},
		verdict.ReasonExcluded: {
			"The configuration excludes the address.", nothing, "Look at exclusions in the configuration.",
		},
		verdict.ReasonVIP: {
			"It is the virtual address of a Service, for which kube-proxy has endpoints on overlay networks.", nothing, "",
		},
		verdict.ReasonNodeAddress: {
			"It is the address of a pod in the host's network, which is the node's own.", nothing, "",
		},
		verdict.ReasonUnclaimed: {
			"No pod of this node, no EndpointSlice and no load balancer uses the address: a left-over.",
			"hnsguard removes it when the address has been unused for orphan.gracePeriod, and it is proved that no " +
				"EndpointSlice lists it.", "",
		},
		verdict.ReasonGracePeriod: {
			"Nobody uses the address, but not for long enough yet.", "It becomes an orphan when orphan.gracePeriod is over.", "",
		},
		verdict.ReasonReferenced: {
			"Nobody uses the address, but a load balancer of HNS names the endpoint.",
			"It stays until kube-proxy has updated or deleted the load balancer.",
			"If that takes longer than a few minutes, restart kube-proxy on this node.",
		},
		verdict.ReasonLoadBalancersUnknown: {
			"Nobody uses the address, but whether a load balancer names the endpoint is not known.",
			"The agent reads load balancers by itself and decides then.",
			"Record them: Get-HnsPolicyList | ConvertTo-Json -Depth 10 > policies.json",
		},
		verdict.ReasonNoSlices: {
			"There is no EndpointSlice at all, not even that of the API server: the absence of a listing proves nothing.",
			"Nothing is removed as long as that is so.", "Record the cluster again, with all namespaces.",
		},
		verdict.ReasonServicesUnknown: {
			"On an overlay network the addresses of Services have endpoints, and the Services are not known.",
			"The agent watches Services on such networks and decides then.", "Record Services too.",
		},
		verdict.ReasonOtherNetwork: {"It is not on the pod network.", nothing, ""},
		verdict.ReasonOtherMaker: {
			"Its MAC address is not the one that kube-proxy gives: a CNI or another program made it.", nothing, "",
		},
		verdict.ReasonLocalPod: {
			"It is the endpoint of a pod of this node.", nothing + " Local endpoints are never removed.", "",
		},
		verdict.ReasonLocalUnclaimed: {
			"It is a local endpoint, and no pod of this node has its address: it was left behind, or its pod is only starting.",
			nothing + " Local endpoints are never removed.", "",
		},
		verdict.ReasonLocalLeaked: {
			"The CNI left this local endpoint behind, and another node uses its address: this node cannot reach that pod.",
			"hnsguard reports LeakedLocalEndpoint on the node. Local endpoints are never removed.",
			"Find out why the CNI's DEL failed. To repair the node, follow " +
				version.RunbookURL("HNSGuardLeakedLocalEndpoints"),
		},
	}
}

// afterTheHold is what happens next to a stale endpoint on a kube-proxy with the stale record. A scan cannot see what
// kube-proxy remembers.
const afterTheHold = "hnsguard removes it when kube-proxy is known to have forgotten the address: 7 to 12 minutes " +
	"after the last EndpointSlice has dropped it. Do not delete it by hand before."

// besideLeaked is what a remote endpoint beside a leaked local one means.
func besideLeaked() Answer {
	return Answer{
		"An EndpointSlice lists the address as ready elsewhere, so that the remote endpoint is the valid one; the local " +
			"one with the same address was left behind.",
		"hnsguard keeps both. kube-proxy 1.34.8, 1.35.5, 1.36.1, 1.37.0 and later delete the remote one.",
		"Follow " + version.RunbookURL("HNSGuardLeakedLocalEndpoints"),
	}
}

// undecided is what a verdict means that could not be made.
func undecided(reason string) Answer {
	return Answer{
		"It cannot be judged: " + reason + ".", "Nothing: a scan changes nothing, and the agent on the node knows more.",
		"Record what is missing, or give --kube-proxy-version.",
	}
}

// AnswerFor returns what a verdict means. The last value is false if there is no such reason.
func AnswerFor(kind verdict.Kind, reason verdict.Reason) (Answer, bool) {
	if kind == verdict.LeakedLocal {
		return besideLeaked(), true
	}
	a, known := answers()[reason]
	return a, known
}
