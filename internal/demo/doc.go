// SPDX-License-Identifier: Apache-2.0

// Package demo plays incidents from real clusters against a real hnsguard, on a time line that a person can follow.
//
// The agent is the one that the run command starts. What it runs on is not: HNS is the simulation, the API server is
// controller-runtime's fake client, and the neighbours (the cluster, kube-proxy, the CNI) are actors that do what
// theirs were seen to do. Nothing outside of the process is touched.
//
// A scenario says what has to be left in HNS at its end. A demo in which the guard did not do its job fails.
package demo
