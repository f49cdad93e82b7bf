// SPDX-License-Identifier: Apache-2.0

// Package windows keeps what hnsguard-verify has seen on real nodes, and makes docs/windows.md of it and of the list of
// assumptions.
//
// Invariants:
//
//  1. Every assumption is on the page, and so is every result.
//  2. A result that is malformed, or not of a real Windows, is refused with all its faults.
package windows
