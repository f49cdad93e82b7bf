// SPDX-License-Identifier: Apache-2.0

// Package doctor checks whether hnsguard can guard a node: whether HNS, kube-proxy and the API server are as the agent
// needs them. It changes nothing.
//
// Invariants:
//
//  1. Unknown is never a pass. What cannot be determined is a warning if the agent works without it, and a failure
//     otherwise.
//  2. No check hides another. Each has its own timeout, and is abandoned if it hangs. A check is skipped only if a
//     check that it needs has failed, and the report says so.
//  3. Everything that is not a pass says what to do.
//  4. The checked rights are exactly those that the chart grants for the same configuration.
//  5. The checks use the agent's own rules: the same selection of the network and the same profile of kube-proxy.
package doctor
