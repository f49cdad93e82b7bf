// SPDX-License-Identifier: Apache-2.0

// Package fleet reads the status of the agents on all nodes.
//
// An agent serves its status on the node's loopback only. So a fixed command is run in the agent's pod through the exec
// subresource, which the API server authorizes, and prints the status. In the same way a person runs other commands of
// hnsguard on a node ([Options.Agent]).
//
// Invariants:
//
//  1. A node that does not answer is a row too, and so is a Windows node without an agent, or with two. Unknown is
//     shown as unknown, never as zero.
//  2. The number of requests at the same time is limited, each has a timeout, and the size of an answer is limited.
//  3. An answer counts only if it is a status, and of the node that was queried.
//  4. An agent is a HostProcess pod in the release's namespace that its DaemonSet owns, with the DaemonSet's service
//     account. A pod that only has the labels is reported and never queried, and no part of a pod is ever run.
package fleet
