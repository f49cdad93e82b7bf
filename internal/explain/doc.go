// SPDX-License-Identifier: Apache-2.0

// Package explain says in sentences what a scan found about one address, endpoint or pod: what HNS and the cluster say
// of it, which rule decided, what happens next, and what a person can do.
//
// Invariants:
//
//  1. It decides nothing: verdicts and reasons are those of package scan.
//  2. Every reason that a verdict can have is explained.
//  3. A pod without an endpoint is explained too. That is what most people ask about.
package explain
