// SPDX-License-Identifier: Apache-2.0

// Package guard is the controller: it observes the node, lets package verdict decide, acts on what may be removed, and
// records what it saw and did.
//
// It is a controller-runtime controller with a single request that means "look at this node". Pods, EndpointSlices
// and a tick all ask for it; HNS itself tells nobody, so that the tick is quick while a pod of the node waits for its
// address and slow otherwise.
//
// Invariants:
//
//  1. A pass acts only on complete evidence: a snapshot of HNS from calls that all succeeded, and a view from caches
//     that have synced. Otherwise it says that it does not know, and touches nothing.
//  2. Before an endpoint is deleted, it and the local endpoints that speak against it are read again from HNS, the pods
//     from the API server and not from a cache, and the same rule has to come to the same verdict on that evidence.
//  3. What speaks for an orphan is absence, which a cache that lags behind would show too. Orphans are removed only
//     when the watch is known to have caught up with the API server.
//  4. Every brake (mode, cap, rate, backoff) is a reason to keep an endpoint for now; none is a reason to delete one.
//  5. After the first failure of a kind that is not understood, a pass deletes nothing more.
//  6. A delete that was reported as done is looked up, and one of which the outcome is unknown too.
//  7. What a pass remembers for the next one can be lost at any time: a restart makes the guard slower, never bolder.
package guard
