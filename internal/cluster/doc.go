// SPDX-License-Identifier: Apache-2.0

// Package cluster is what hnsguard knows of the Kubernetes API: the pods of its own node, the addresses that
// EndpointSlices list, and the Services with their virtual addresses.
//
// An [Index] is kept current by the watches of the API (packages guard and slicewatch), or filled from a recording. A
// [View] is what it says about some addresses at one moment: plain data that a decision can rest on.
//
// For load balancers, it says which slices belong to a Service, and when any of it changed last: a [Backing]. Time is
// the count of changes, [Index.Revision].
//
// A cluster may have a million addresses in slices, and a node some thousands of endpoints. So the index keeps a
// [Slice] of each EndpointSlice, which takes a few bytes per address, and where an address is listed only for the
// addresses of the last views. It looks at all slices when a view has new addresses, once for all of them.
//
// Invariants:
//
//  1. The Index never queries and never waits: it has what the watches delivered. The caller has to know from synced
//     caches that it has everything.
//  2. A View does not change, whatever happens to the Index afterwards.
//  3. Pods on other nodes are not in it: only a pod on this node can claim an address for a local endpoint.
//  4. A condition that an EndpointSlice leaves out has the meaning that the API gives it: ready and serving are true,
//     terminating is false.
//  5. The cost of a change of a slice grows with the slice, whatever else the cluster has. Where nothing has changed, a
//     View allocates nothing.
//  6. A View knows everything about the addresses it was taken of. What is kept of a Service is bounded; while a
//     Service has more addresses than are kept, every address may be one of them.
//  7. A slice that an agent of hnsguard wrote lists only the addresses that may receive traffic: the others are there
//     to make kube-proxy act, and say nothing about an endpoint.
//  8. A change that kube-proxy does not see has no revision, and every other one has a revision of its own.
package cluster
