// SPDX-License-Identifier: Apache-2.0

// Package verdict decides for every HNS endpoint whether it stays or goes, and why; and for every load balancer whether
// it is as kube-proxy has to program it ([JudgeBalancers]).
//
// It is a pure function of a snapshot of HNS, a view of the cluster, the node's kube-proxy, the policy and a time. It
// does no I/O and remembers nothing, so that every decision can be repeated from its evidence: package removal does so
// just before each delete, and the scan command from recorded files.
//
// Invariants:
//
//  1. A local endpoint stays.
//  2. An endpoint that kube-proxy did not make, or that is not on the pod network, stays.
//  3. What is unknown is never read as absence: of two possible readings, the one that keeps the endpoint counts.
//  4. Addresses are compared within the pod network only. The same address on another network is another address.
//  5. Every endpoint, also one that stays, gets exactly one verdict with one reason.
//  6. Two live claims to an address are contested: an endpoint stays if a pod here and a pod on another node that is
//     not being deleted both have its address. A status proves no claim: it can outlive the pod's hold on the address.
//  7. What kube-proxy has programmed, and HNS still has unchanged, is right, whatever Services and slices say. Only
//     what kube-proxy is known to have processed can be missing or stale.
package verdict
