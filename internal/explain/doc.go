// SPDX-License-Identifier: Apache-2.0

// Package explain says in sentences what a scan found about one address, endpoint or pod: what HNS and the cluster say
// of it, which rule decided, what happens next, and what a person can do.
//
// Invariants:
//
//  1. It decides nothing: verdicts and reasons are those of package scan.
//  2. Every reason that a verdict can have is explained.
//  3. A pod without an endpoint is explained too. That is what most people ask about. Nobody is told to delete a pod
//     that needs no endpoint on this node.
//  4. What is said of removals holds in the mode of the node: what only observes never removes.
package explain
