// SPDX-License-Identifier: Apache-2.0

// Package agent assembles hnsguard: the HNS client with its deadline and metrics, the inventory, the guard with its
// actions and the detector of kube-proxy. It is the only package that knows all of them. The run command, the demo and
// the integration suite start the same agent; they differ in its [Options] and [Dependencies].
//
// Invariants:
//
//  1. Everything that an agent needs of the API server is in its Dependencies; it connects to nothing else.
//  2. An agent whose identity is another's does not start: see [IdentityChecker].
package agent
