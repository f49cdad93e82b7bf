// SPDX-License-Identifier: Apache-2.0

// Package hnstest is an HNS in memory, with the behaviour that field reports show and that hnsguard depends on: two
// endpoints may share an address, lists consist of many calls and have no guaranteed order, a delete checks nothing,
// load balancers keep the IDs of endpoints that are gone, and the service stops, hangs and loses state.
//
// It serves the demo, the tests and, behind a DLL, real Windows programs. One half of it is the [hns.Client] that
// hnsguard uses; the other half is for other programs on a node: a CNI creates and attaches local endpoints, kube-proxy
// creates remote ones and load balancers, an administrator restarts the service.
//
// Invariants:
//
//  1. It behaves as package contract assumes of HNS, and differently with each switch.
//  2. It invents nothing: behaviour that is unknown from field reports and sources is an option, and both values are
//     tested.
//  3. Every fault is requested by a call and appears in the call log. Nothing fails at random.
package hnstest
