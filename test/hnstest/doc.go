// SPDX-License-Identifier: Apache-2.0

// Package hnstest is an HNS in memory, with the behaviour that field reports show and hnsguard depends on: two
// endpoints may share an address, lists are made of many calls and have no promised order, a delete asks no questions,
// load balancers keep the IDs of endpoints that are gone, and the service stops, hangs and forgets.
//
// It serves the demo, the tests and, behind a DLL, real Windows programs. One half of it is the [hns.Client] that
// hnsguard sees; the other half is what its neighbours on a node do: a CNI makes and attaches local endpoints,
// kube-proxy makes remote ones and load balancers, an administrator restarts the service.
//
// Invariants:
//
//  1. It is what package contract assumes of HNS, and with each switch otherwise.
//  2. What it does not know from a field report or from the sources, it does not invent: such behaviour is an option,
//     and both values are tested.
//  3. Every fault is requested by a call and shows in the call log. Nothing fails at random.
package hnstest
