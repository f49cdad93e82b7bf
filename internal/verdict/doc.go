// SPDX-License-Identifier: Apache-2.0

// Package verdict is the decision: it says of every HNS endpoint whether it stays or goes, and why.
//
// It is a pure function of a snapshot of HNS, a view of the cluster, the node's kube-proxy, the policy and a time. It
// asks nobody, waits for nothing and writes nothing down, so that every decision can be made again from its evidence:
// the guard does so just before each delete, and the scan command from recorded files.
//
// Invariants:
//
//  1. A local endpoint stays, whatever else is so.
//  2. An endpoint that kube-proxy did not make, or that is not on the pod network, stays.
//  3. What is not known is never read as absence: of two readings of the evidence, the one that keeps counts.
//  4. Addresses are compared within the pod network only. The same address on another network is another address.
//  5. Every endpoint gets exactly one verdict with one reason; kept ones too.
//  6. A [Decider] remembers nothing of one decision that matters to the next: only memory is used again.
package verdict
