// SPDX-License-Identifier: Apache-2.0

// Package demo plays incidents from real clusters against the real agent, on a timeline that a person can follow.
//
// The agent is the one that the run command starts. Everything around it is simulated: HNS, the API server
// (controller-runtime's fake client), and the actors (the cluster, kube-proxy, the CNI), which do what the real ones
// were observed to do. Nothing outside the process is touched.
//
// Invariants:
//
//  1. A scenario says which endpoints must exist at its end. If hnsguard enforces and HNS holds anything else, the demo
//     fails.
//  2. With [Options.Observe] hnsguard changes nothing. The demo then reports what went wrong, which is the story of a
//     node without hnsguard, and succeeds.
package demo
