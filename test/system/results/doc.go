// SPDX-License-Identifier: Apache-2.0

// Package results keeps what the system test has measured, and renders it: docs/results/kube-proxy-matrix.md, and the
// table of the README.
//
// The measurements are in results.json beside this file. "make system-test-full" writes them; the pages can be rendered
// again at any time without measuring.
//
// Invariants:
//
//  1. Every outcome on a page is one that was measured. A scenario that was not run with a version shows a dash.
//  2. Every measurement says on which day and with which build it was made, and how often kube-proxy synced.
//  3. Measuring a part again replaces that part and nothing else.
//  4. The README has every outcome that is bad with hnsguard.
package results
