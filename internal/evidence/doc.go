// SPDX-License-Identifier: Apache-2.0

// Package evidence collects what a decision rests on: the HNS inventory, the view of the cluster, what is known of
// kube-proxy, and for how long things have been as they are.
//
// Invariants:
//
//  1. Evidence is complete, or there is none: a failed call to HNS gives an error.
//  2. For how long an endpoint has been unclaimed counts only without a break. After a failed observation it starts
//     anew.
//  3. Everything remembered can be lost at any time: a restart makes the guard slower, never bolder.
package evidence
