// SPDX-License-Identifier: Apache-2.0

// Package guard is the controller. A pass observes the node, lets package verdict decide, records the verdicts, and
// runs an ordered list of actions.
//
// It is a controller-runtime controller with a single request that means "look at this node". Pods, EndpointSlices
// and a timer enqueue it. HNS sends no notifications, so it is polled: quickly while a pod on the node waits for its
// address, slowly otherwise.
//
// Invariants:
//
//  1. A pass acts only on complete evidence: a snapshot of HNS from calls that all succeeded, and a view from caches
//     that have synced. Otherwise it reports that the state is unknown, and no action runs. Where all was read and the
//     pod network alone is not known, pods that lack their network are still found: they are the victims of that.
//  2. A pass decides once. What an action needs to know better, it reads itself.
//  3. Recording makes no call to HNS or to the API server.
//  4. What a pass remembers for the next one can be lost at any time: a restart makes the guard slower, never bolder.
package guard
