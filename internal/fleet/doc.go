// SPDX-License-Identifier: Apache-2.0

// Package fleet asks the agents of all nodes how they fare.
//
// An agent serves its status on the node's loopback only, and the API server's pod proxy would strip the credentials
// that a page for others needs. So the command "hnsguard status --local" is run in the agent's pod through the exec
// subresource, which the API server authorizes, and reads the page there.
//
// Invariants:
//
//  1. A node that does not answer is a row too, and so is a Windows node without an agent. Unknown is shown as unknown,
//     never as zero.
//  2. The number of requests at one time is limited, each has a timeout, and so has the size of an answer.
//  3. An answer counts only if it is a status, and of the node that was asked.
package fleet
