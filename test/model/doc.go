// SPDX-License-Identifier: Apache-2.0

// Package model is the proof of hnsguard's promise: nothing valid is ever deleted, unknown is never absent, and no pod
// is worse off than without hnsguard. It simulates a cluster around the real agent and plays random histories.
//
// A [World] has an API server, Windows nodes with a simulated HNS, a kubelet with its CNI, the EndpointSlice controller
// and kube-proxy. kube-proxy is a process: it learns of EndpointSlices by a watch of its own, which lags, breaks and
// lists again; it syncs when it may, a sync takes time, and between its stages the world goes on. What it does in a
// sync was read in its sources, version by version, and is compared with what real ones were measured to do
// (kubeproxy_test.go). The agents are the product: only HNS, the API server, the watches and kube-proxy's metrics
// behind them are the world's.
//
// A [History] is a setup and a list of actions, drawn by pgregory.net/rapid, which shrinks those that break an
// invariant. [Judge] plays each history twice with the same luck, with and without agents. The world runs in a bubble
// of testing/synctest: time is simulated, one thing happens after the other, and a history is played the same way
// every time.
//
// Invariants, judged by [World] while a history is played and by [Judge] afterwards:
//
//  1. No local endpoint is deleted by hnsguard.
//  2. No endpoint is deleted that kube-proxy did not make.
//  3. No remote endpoint is deleted whose address a live pod of another node, one in the host's network included, has
//     reported since before the pass began; nor one whose address EndpointSlices have listed for another node since
//     then. The listing alone does not count if a pod of this node has the address: then no live pod of another node has
//     it, and the listing is late. An agent that reads what it relies on can see all of this.
//  4. No pod loses its endpoint to a lookup of kube-proxy's that would have found a remote endpoint, had hnsguard not
//     deleted it since kube-proxy looked for the address last.
//  5. No pod is lost that lives without hnsguard. Requests to the API server make kube-proxy sync at other times; a pod
//     that is lost just as well when the same requests are made and nothing else is done does not count.
//  6. Nothing is deleted in a pass that could not list HNS, or in which no request to the API server succeeds.
//  7. Removals stay within removals.perSecond and removals.burst.
//  8. Every removal is logged and counted.
//  9. When all faults have ended, every stale remote endpoint goes within orphan.gracePeriod and twenty minutes. One
//     whose address a pod of another node has is not stale, although no EndpointSlice lists it.
//  10. hnsguard writes only EndpointSlices of its own.
//  11. No pod is evicted whose endpoint is there, and none that would not be made again.
//  12. When all faults have ended, a change of an EndpointSlice has followed each drop of an address that a kube-proxy
//     which deletes local endpoints still has in its record.
//  13. Where nothing is wrong, a conflict goes before the pod has reported its address. This one is judged by a scene.
//
// The world keeps to what is known of clusters, and the invariants hold within it:
//
//   - The CNI gives an address to one pod at a time, unless the history says otherwise. It may leave local endpoints
//     behind, attached or not.
//   - The status of a Running pod keeps its address when its sandbox dies, until another sandbox has an address.
//   - The EndpointSlice controller drops and lists addresses late, and repacks with a gap of at most 8 s. A foreign
//     author drops an address at most a minute after its pod is gone. No author lists an address for a pod that does not
//     have it any more, other than by being late.
//   - A sync of kube-proxy takes at most 45 s, and its watch lags at most 3 min.
//   - HNS enumerates in some order, or in another one at every list.
//   - The clock of the API server may differ from the nodes' clocks by five minutes.
//   - A machine that is paused stands still as a whole: agent, kube-proxy and CNI alike. Its clocks go on.
package model
