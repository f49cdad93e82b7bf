// SPDX-License-Identifier: Apache-2.0

// Package bench measures the cost of hnsguard for a node and the API server, compared with other ways of doing the
// same. docs/results/performance.md shows the results; package report, a separate module, writes that page.
//
// Invariants:
//
//  1. Every number is measured. If a page shows a factor, both sides were measured in one run on one machine.
//  2. No benchmark fails for being slow, because it would fail at random on a shared machine. Tests next to the code
//     check what must not grow, by counting calls and allocations.
//  3. The parts are the agent's. Only HNS and the API server are simulated, unless a benchmark says otherwise.
package bench
