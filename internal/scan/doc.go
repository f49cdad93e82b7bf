// SPDX-License-Identifier: Apache-2.0

// Package scan judges a node once, live or from dumps, and reports every endpoint. It changes nothing.
//
// Invariants:
//
//  1. The verdicts are those of the guard: the same function on the same kind of evidence.
//  2. What was not recorded is not guessed. An endpoint is reported as unknown if its own record is incomplete, if
//     that of an endpoint which may have the same address is, or if the verdict depends on the unknown version of
//     kube-proxy. Without endpoints, Pods or EndpointSlices there is no report ([ErrCannotJudge]).
//  3. Evidence that takes time to gather is taken as gathered: every unclaimed endpoint is judged as if the grace
//     period were over, and every address as if kube-proxy had forgotten it. The report says so.
//  4. A pod is reported to be without network by the rule of package eviction, and only if it should have an endpoint
//     here: it runs, on this node, in a network of its own.
//  5. Only a Windows node is judged. A Linux node has no HNS, and a verdict on its name would be about another node.
package scan
