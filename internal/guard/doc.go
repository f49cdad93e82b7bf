// SPDX-License-Identifier: Apache-2.0

// Package guard is the controller. A pass observes the node, decides with package verdict, records the verdicts, and
// runs an ordered list of actions.
//
// It is a controller-runtime controller with a single request that means "look at this node". Pods, EndpointSlices
// and a timer enqueue it. HNS sends no notifications, so it is polled: quickly while a pod on the node waits for its
// address, slowly otherwise.
//
// Invariants:
//
//  1. A pass acts only on complete evidence: a snapshot of HNS whose calls all succeeded, and a view from synced
//     caches. Otherwise it reports that the state is unknown, and no action runs. If only the pod network is unknown,
//     the pass still looks for pods that have lost their network: they are its victims.
//  2. A pass decides once. An action that needs to know more reads it itself.
//  3. Recording makes no call to HNS or to the API server.
//  4. What a pass remembers for the next one can be lost at any time: a restart makes the guard slower, never bolder.
package guard
