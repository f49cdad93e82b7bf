// SPDX-License-Identifier: Apache-2.0

// Package removal removes the stale endpoints of a pass. This is the only act of hnsguard that it cannot undo.
//
// Why was an endpoint deleted? Its log line and Event name the verdict and the reason; package verdict has the rule.
// Between a verdict and the deletion come, in this order: the mode (brakes.go); for orphans, the steps (orphans.go);
// the proof that the view of EndpointSlices is current (proof.go); the brakes for one endpoint; and the confirmation
// (confirm.go, pods.go), which rereads everything that the verdict rests on and applies the same rule.
//
// Invariants:
//
//  1. Before an endpoint of any class is deleted, the remover rereads it and the local endpoints with its address from
//     HNS, the pods on this node and the pods of other nodes with the address from the API server (host-network pods
//     included), and kube-proxy's version from its metrics. The same rule must come to the same verdict. A pod on
//     another node that keeps an endpoint is remembered as evidence and looked up again, so that the verdict names it.
//  2. A verdict that rests on what EndpointSlices do not list needs a proof that the view of them is current, or a list
//     of all slices from the API server that does not have the address. The proof must be younger than what it proves:
//     for a conflict, than the endpoints with the address; for orphans, whose addresses may not belong to pods, than
//     the moment when their step was ready. The load balancers must be as young.
//  3. Every brake (mode, cap, rate, backoff, failure) can only keep an endpoint for now; none can cause a deletion.
//  4. After the first failure of an unknown kind, a pass deletes nothing more.
//  5. The next pass verifies that a deleted endpoint is gone. An endpoint whose delete did not return is left alone
//     until the call returns or a long backoff ends, so that one endpoint cannot use up all calls. If it is gone by
//     then, it counts as removed.
//  6. Orphans are removed in short steps with long pauses. A step begins while kube-proxy rests, some time after the
//     last change of an EndpointSlice, and ends when a slice changes or after a fifth of the pause. kube-proxy gives up
//     a sync when an endpoint vanishes while it lists them, and retries only at the next change or at the end of its
//     sync period, an hour in some versions: if a node full of orphans lost them one after the other, no sync would
//     succeed before the last one is gone. Where slices change all the time there is no such moment, and none is
//     needed: the next change brings the next sync. The first step of a wave comes at a random time within another
//     grace period, since a batch leak reaches all nodes in the same seconds. No step waits while a pod waits for its
//     address.
//  7. A step reads pods with two lists, whatever its size: the pods on the node, and those with an address of the step.
//     If a resource version was proved, the API server's cache may answer.
package removal
