// SPDX-License-Identifier: Apache-2.0

// Package history remembers what the agent has decided and done, so that a person can find out afterwards why. It is in
// memory only: the log and the Events are what outlives the process.
//
// Invariants:
//
//  1. Memory is bounded, by entries and by bytes, whatever happens on the node and however long texts are.
//  2. What happens again is not written again: the same to the same object within [Gap] is one entry, with a count.
//  3. No act displaces another: each has a part of its own, in which the entry that is the longest ago goes first.
//  4. Adding an entry takes bounded time, and no call to anything.
//  5. A [ReuseMeter] records only what happened while the agent ran. A pod that had its address before, or got one
//     whose last use was not seen, is not recorded.
//  6. Each pod counts once for each address. While a slice still lists the address on another node, the time is zero.
//  7. The meter's memory is bounded: the addresses that were left last, up to [MaxAddresses]. Reuse after [Horizon]
//     does not count.
package history
