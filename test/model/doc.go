// SPDX-License-Identifier: Apache-2.0

// Package model is the proof of hnsguard's promise: nothing valid is ever deleted, unknown is never absent, and no pod
// is worse off than without hnsguard. It plays random histories in package world, around the real agent.
//
// A history is a setup and a list of actions, drawn by pgregory.net/rapid, which shrinks those that break an invariant.
// It is played twice with the same luck, with and without agents. The world runs in a bubble of testing/synctest: time
// is simulated, one thing happens after the other, and a history is played the same way every time.
//
// Invariants, judged by the world while a history is played and by judge afterwards:
//
//  1. No local endpoint is deleted by hnsguard.
//  2. No endpoint is deleted that kube-proxy did not make.
//  3. No remote endpoint is deleted whose address a live pod of another node, one in the host's network included, has
//     reported since before the pass began; nor one whose address EndpointSlices have listed for another node since
//     then. The listing alone does not count if a pod of this node has the address: then no live pod of another node has
//     it, and the listing is late. An agent that reads what it relies on can see all of this.
//  4. No pod loses its endpoint to a lookup of kube-proxy's that would have found a remote endpoint, had hnsguard not
//     deleted it since kube-proxy looked for the address last. What slices drop within 25 seconds after an affected
//     kube-proxy replaced another does not count, here and below: the agent reads the version every 15.
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
package model
