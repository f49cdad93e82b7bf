// SPDX-License-Identifier: Apache-2.0

// Package fleet reads the status of the agents on all nodes.
//
// An agent serves its status only on the node's loopback address. So fleet runs a fixed command in the agent's pod,
// which prints the status. It uses the exec subresource, which the API server authorizes. Other commands of hnsguard
// run on a node in the same way ([Options.Agent]).
//
// Invariants:
//
//  1. Every node has a row, even if it does not answer, or if a Windows node has no agent, or two. Unknown is shown as
//     unknown, never as zero.
//  2. The number of parallel requests is limited, each has a timeout, and the size of an answer is limited.
//  3. An answer counts only if it is a status of the queried node.
//  4. An agent is a HostProcess pod in the release's namespace that its DaemonSet owns, with the DaemonSet's service
//     account. A pod that only has the labels is reported and never queried. The command never comes from a pod.
package fleet
