// SPDX-License-Identifier: Apache-2.0

// Package action is what the guard does about what it found: an ordered list of actions, each run in every pass.
//
// Invariants:
//
//  1. A [Pass] is complete: its evidence comes from calls that all succeeded, and every endpoint has its verdict. There
//     is no pass without one.
//  2. An action runs in every pass, also when there is nothing to do. It waits for nothing without a bound.
//  3. Actions do not depend on each other's results. The order of the list says which of them must not wait: what saves
//     a pod comes before what tidies up.
package action
