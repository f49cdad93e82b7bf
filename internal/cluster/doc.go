// SPDX-License-Identifier: Apache-2.0

// Package cluster is hnsguard's view of the Kubernetes API: the pods on its own node, the addresses that EndpointSlices
// list, and the Services with their virtual addresses.
//
// An [Index] is kept current by the watches of the API (packages guard and slicewatch), or filled from a recording. A
// [View] is its state for some addresses at one moment: plain data that a decision can rest on.
//
// For load balancers, a [Backing] has a Service with its slices, and when any of them last changed. Time is the count
// of changes, [Index.Revision].
//
// A cluster may have a million addresses in slices, and a node some thousands of endpoints. So the index keeps a
// [Slice] of each EndpointSlice, which takes a few bytes per address, and indexes only the addresses of the last views.
// When a view has new addresses, the index searches all slices once for all of them.
//
// Invariants:
//
//  1. The Index never sends queries and never waits: it has what the watches delivered. The caller has to know from
//     synced caches that it is complete.
//  2. A View does not change, whatever happens to the Index afterwards.
//  3. It has no pods of other nodes: only a pod on this node can claim an address for a local endpoint.
//  4. If an EndpointSlice omits a condition, the API's default applies: ready and serving are true, terminating is
//     false.
//  5. The cost of a slice's change grows with the slice, not with the cluster. If nothing has changed, a View allocates
//     nothing.
//  6. A View has all that is known about its addresses. The number of addresses kept per Service is bounded; while a
//     Service has more of them, every address may be one of them.
//  7. A slice that an agent of hnsguard wrote lists only the addresses that may receive traffic: the others only make
//     kube-proxy act, and say nothing about an endpoint.
//  8. A change that kube-proxy does not see has no revision; every other change has its own.
package cluster
