// SPDX-License-Identifier: Apache-2.0

// Package agent assembles hnsguard: the HNS client with its deadline and metrics, the inventory, the guard with its
// actions, and the detector of kube-proxy. It is the only package that imports all of them. The run command, the demo
// and the integration suite start the same agent; they differ in [Options] and [Dependencies].
//
// Invariants:
//
//  1. The agent connects to the API server only through its Dependencies.
//  2. An agent with a foreign identity does not start: see [IdentityChecker].
package agent
