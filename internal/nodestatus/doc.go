// SPDX-License-Identifier: Apache-2.0

// Package nodestatus holds what the agent knows of its node, for people and programs that ask: on the node page, in the
// support bundle, in the status over all nodes.
//
// The guard shows every pass to a [Board]. Nothing is made of it until somebody asks for the [Document].
//
// Invariants:
//
//  1. What is shown of a pass is immutable: a reader never sees half of one pass and half of the next, whose verdicts
//     are in the same memory.
//  2. Showing a pass makes no call, and allocates nothing that grows with the endpoints if it found what the pass
//     before had found. What the document needs beyond that is made for readers, once for each finding that they look
//     at.
//  3. Unknown is not shown as absent: while the node cannot be observed, the endpoints of the last complete pass stay,
//     with its time and with the error.
//  4. The document has no secrets: no tokens, no environment, nothing of pods but their names and addresses.
package nodestatus
