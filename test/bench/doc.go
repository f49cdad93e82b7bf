// SPDX-License-Identifier: Apache-2.0

// Package bench measures what hnsguard costs a node and the API server, beside what other ways of doing the same cost.
// docs/results/performance.md shows what came of it; package report, a module of its own, writes that page.
//
// Invariants:
//
//  1. Every number is measured. Where a page shows a factor, both sides were measured in one run on one machine.
//  2. Nothing here fails for being slow: a machine that is shared would fail it at random. What must not grow is tested
//     next to the code, by counting calls and allocations.
//  3. The parts are those of the agent. Only HNS and the API server are simulated, unless a benchmark says otherwise.
package bench
