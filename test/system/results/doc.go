// SPDX-License-Identifier: Apache-2.0

// Package results stores the measurements of the system test, and renders docs/results/kube-proxy-matrix.md and the
// table in the README from them.
//
// The measurements are in results.json next to this file. "make system-test-full" writes them; the pages can be
// rendered again at any time without measuring.
//
// Invariants:
//
//  1. Every outcome on a page was measured. A scenario that was not run with a version shows a dash.
//  2. Every measurement has its date and build, and kube-proxy's sync period.
//  3. Measuring a part again replaces only that part.
//  4. The README has every outcome that is bad with hnsguard.
package results
