// SPDX-License-Identifier: Apache-2.0

// Package cluster is what hnsguard knows of the Kubernetes API: the pods of its own node, the addresses that
// EndpointSlices list, and the virtual addresses of Services.
//
// An [Index] is kept current by whoever watches the API (package guard) or reads a recording of it (the scan
// command). A [View] is what it says about some addresses at one moment: plain data that a decision can rest on.
//
// A cluster may have a million addresses in slices, and a node thousands of endpoints. So nothing is kept of a slice
// but a [Slice], which takes a few bytes per address, and views share what has not changed between them.
//
// Invariants:
//
//  1. The Index never asks and never waits: it says what it was told. That it was told everything is the caller's to
//     know, from synced caches.
//  2. A View does not change, whatever happens to the Index afterwards.
//  3. Pods of other nodes are not in it, even when it is told of them: only a pod of this node can claim an address for
//     a local endpoint.
//  4. A condition that an EndpointSlice leaves out has the meaning that the API gives it: ready and serving are true,
//     terminating is false.
//  5. The cost of a change of a slice, and of the next View, grows with what has changed, but for one quick look at
//     each address. Where nothing has changed, a View allocates nothing.
package cluster
