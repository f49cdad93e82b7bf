// SPDX-License-Identifier: Apache-2.0

// Package pass collects the evidence that a decision rests on (the HNS inventory, the view of the cluster, the node's
// kube-proxy, and for how long each state has lasted), and defines the actions that the guard runs on the findings of a
// pass.
//
// Invariants:
//
//  1. Evidence is complete, or Collect returns an error: one failed call to HNS is enough. A [Pass] has complete
//     evidence and a verdict for every endpoint.
//  2. How long an endpoint has been unclaimed counts only without a break: a failed observation resets it to zero.
//  3. Everything remembered can be lost at any time: a restart makes the guard slower, never bolder.
//  4. An action runs in every pass, even if there is nothing to do. It never waits without a bound.
//  5. Actions do not depend on each other's results. Their order is by urgency: what saves a pod comes before what
//     tidies up.
package pass
