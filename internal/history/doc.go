// SPDX-License-Identifier: Apache-2.0

// Package history remembers what the agent has decided and done, so that a person can ask afterwards why. It is in
// memory only: the log and the Events are what outlives the process.
//
// Invariants:
//
//  1. Memory is bounded, by entries and by bytes, whatever happens on the node and however long texts are.
//  2. What happens again is not written again: the same to the same object within [Gap] is one entry, with a count.
//  3. No act displaces another: each has a part of its own, in which the entry that is the longest ago goes first.
//  4. Adding an entry takes constant time, and no call to anything.
package history
