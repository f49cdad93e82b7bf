// SPDX-License-Identifier: Apache-2.0

// Package eviction takes care of victims: running pods of this node that have lost their HNS endpoint, and with it every
// connection. Nothing on the node gives it back to them; only a new pod gets a new one.
//
// A victim is always reported, with an Event on the pod and a metric. Only on request is it evicted, through the API,
// so that disruption budgets are honoured.
//
// Invariants:
//
//  1. A pod is a victim only if no local endpoint of any network has any of its addresses, for longer than the
//     configured time, without a break.
//  2. A pod is evicted only if a controller will replace it, and only by its UID.
//  3. Where all pods of the node seem to be victims, and there is more than one, the fault is taken to be in what was
//     read of HNS: they are reported, and none is evicted.
package eviction
