// SPDX-License-Identifier: Apache-2.0

// Package removal removes the stale endpoints of a pass, which is the only thing that hnsguard does and cannot undo.
//
// Why was an endpoint deleted? Its log line and Event name the verdict and the reason; package verdict holds the rule.
// Between a verdict and the deletion stand, in this order: the mode (brakes.go); for orphans, the steps (orphans.go);
// the proof that the view of EndpointSlices is current (proof.go); the brakes for one endpoint; and the confirmation
// (confirm.go, pods.go), which reads everything again that the verdict rests on and applies the same rule.
//
// Invariants:
//
//  1. Before an endpoint of any class is deleted, it and the local endpoints of its address are read again from HNS,
//     the pods on the node and those on other nodes with the address from the API server, those in the host's network
//     included, kube-proxy's version from its metrics, and the same rule has to come to the same verdict. A pod on
//     another node that keeps an endpoint is remembered as evidence and looked up again, so that the verdict names it.
//  2. A verdict that rests on what EndpointSlices do not list needs a proof that the view of them is current, or a
//     list of all slices from the API server that does not have the address. The proof is younger than what it proves:
//     for a conflict, than the endpoints of the address; for orphans, whose addresses may be no pod's, than the moment
//     when their step was ready, and so are the load balancers.
//  3. Every brake (mode, cap, rate, backoff, failure) is a reason to keep an endpoint for now; none is a reason to
//     delete one.
//  4. After the first failure of a kind that is not understood, a pass deletes nothing more.
//  5. Whether a deleted endpoint is gone is verified by the next pass. An endpoint whose delete did not return is left
//     alone until the call returns or a long backoff ends, so that one endpoint cannot use up all calls. If it is gone
//     by then, it counts as removed.
//  6. Orphans go in short steps with long pauses, and a step begins while kube-proxy rests: some time after the last
//     change of an EndpointSlice. It ends when one changes, or after a fifth of the pause. kube-proxy gives up a sync
//     when an endpoint vanishes while it lists them, and tries again only at the next change or at the end of its sync
//     period, which in some versions is an hour: a node full of orphans that went one after the other would have no
//     working sync until the last is gone. Where slices change all the time there is no such moment, and need not be:
//     the next change brings the next sync. The first step of a wave comes at a random time within another grace
//     period, since a batch leak reaches all nodes in the same seconds. No step waits while a pod waits for its
//     address.
//  7. A step reads pods with two lists, whatever its size: the pods on the node, and those with an address of the step.
//     Where a resource version was proved, the API server's cache answers.
package removal
