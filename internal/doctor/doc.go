// SPDX-License-Identifier: Apache-2.0

// Package doctor checks that a node can be guarded: that HNS, kube-proxy and the API server are as the agent needs
// them. It changes nothing.
//
// Invariants:
//
//  1. Unknown is never a pass. What cannot be determined is a warning if the agent works without it, and a failure
//     if it does not.
//  2. No check hides another. Each has a timeout of its own, and one that hangs is given up. A check is skipped only if
//     what it looks through has failed, and says so.
//  3. What is not a pass says what to do.
//  4. The rights that are checked are those that the chart grants, for the same configuration: no more and no fewer.
//  5. The checks judge as the agent does: by the same selection of the network and the same profile of kube-proxy.
package doctor
