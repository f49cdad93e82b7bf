// SPDX-License-Identifier: Apache-2.0

// Package windows stores the results of hnsguard-verify on real nodes, and generates docs/windows.md from them and from
// the list of assumptions.
//
// Invariants:
//
//  1. Every assumption and every result is on the page.
//  2. A result that is malformed, or not from a real Windows, is refused with all its faults.
package windows
