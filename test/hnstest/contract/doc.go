// SPDX-License-Identifier: Apache-2.0

// Package contract is the one list of what hnsguard assumes of HNS and of Windows. Each assumption that a program can
// check is a check: it makes objects on a spare network, looks at what HNS does, and says what it saw.
//
// The same checks run against the simulation, against it behind the DLLs that Windows programs load, and with
// hnsguard-verify against the HNS of a real node. So where a test against the simulation says something about the real
// service, this list says it too. docs/windows.md is made from it.
//
// Invariants:
//
//  1. An outcome is what was seen. What could not be tried, such as a load balancer on a network that takes none, is
//     neither confirmed nor refuted.
//  2. Everything that a check makes is marked, so that it is found again after a crash: networks by name, endpoints by
//     name or hardware address, namespaces by ID, load balancers by frontend. [Clean] deletes what is marked, and
//     nothing else.
//  3. A check leaves nothing behind, also if it fails or its context ends.
package contract
