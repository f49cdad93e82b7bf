// SPDX-License-Identifier: Apache-2.0

// Package contract lists everything that hnsguard assumes about HNS and Windows. Each assumption that a program can
// check has a check: it creates objects on a spare network, observes HNS, and returns what it saw.
//
// The same checks run against the simulation, against the simulation behind the DLLs that Windows programs load, and
// with hnsguard-verify against the HNS of a real node. So if a test against the simulation is about the real service,
// this list covers it. docs/windows.md is generated from it.
//
// Invariants:
//
//  1. An outcome is what was seen. An assumption that could not be tried, such as a load balancer on a network without
//     support for them, is neither confirmed nor refuted.
//  2. Everything that a check creates is marked, so that it can be found after a crash: networks by name, endpoints by
//     name or hardware address, namespaces by ID, load balancers by frontend. [Clean] deletes only what is marked.
//  3. A check leaves nothing behind, even if it fails or its context ends.
package contract
