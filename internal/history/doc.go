// SPDX-License-Identifier: Apache-2.0

// Package history remembers what the agent has decided and done, so that its reasons can be found later. It is in
// memory only: the log and the Events outlive the process.
//
// Invariants:
//
//  1. Memory is bounded, by entries and by bytes, whatever happens on the node and however long texts are.
//  2. Repetitions are counted: the same act on the same object within [Gap] is one entry.
//  3. No act displaces another: each act has its own part, which drops its oldest entry first.
//  4. Adding an entry takes bounded time, and calls nothing outside of the package.
//  5. A [ReuseMeter] records only what happened while the agent ran. It does not record a pod that already had its
//     address, or that got an address whose last use was not observed.
//  6. Each pod counts once for each address. While a slice still lists the address on another node, the time is zero.
//  7. The meter's memory is bounded: it remembers the last [MaxAddresses] addresses that were dropped. Reuse after
//     [Horizon] does not count.
package history
