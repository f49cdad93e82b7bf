// SPDX-License-Identifier: Apache-2.0

// Package pass is one look at the node: it collects the evidence that a decision rests on (the HNS inventory, the view
// of the cluster, what is known of kube-proxy, and for how long things have been as they are), and defines the actions
// that the guard runs about what a pass has found.
//
// Invariants:
//
//  1. Evidence is complete, or there is none: a failed call to HNS gives an error. A [Pass] has complete evidence and a
//     verdict for every endpoint.
//  2. How long an endpoint has been unclaimed counts only without a break. After a failed observation it starts again
//     from zero.
//  3. Everything remembered can be lost at any time: a restart makes the guard slower, never bolder.
//  4. An action runs in every pass, also when there is nothing to do. It waits for nothing without a bound.
//  5. Actions do not depend on each other's results. The order of the list says which of them must not wait: what saves
//     a pod comes before what tidies up.
package pass
