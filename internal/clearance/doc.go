// SPDX-License-Identifier: Apache-2.0

// Package clearance proves that kube-proxy has forgotten an address.
//
// Some versions of kube-proxy record the addresses that EndpointSlices have dropped, and delete whatever HNS endpoint
// has one of them at the end of a sync (see package flush). On such a node a stale remote endpoint protects the pod
// that has its address now: kube-proxy may find the remote endpoint first. It may go only when the address cannot be
// in the record any more. What this agent's watch has seen does not prove that: kube-proxy may be minutes behind.
//
// The proof has four steps, and starts over when a slice lists the address elsewhere again:
//
//  1. The view of EndpointSlices is known to have everything that the API server held after the endpoints of the
//     address were first seen, and lists the address nowhere else. So the drop has happened, if there was one.
//  2. kube-proxy has finished a sync that started after that. So the drop is in its record, or was never seen.
//  3. An EndpointSlice of the same family has changed after that. kube-proxy replaces its record when it processes the
//     change.
//  4. kube-proxy has finished a sync that started after the change. The address is forgotten.
//
// That kube-proxy has finished a sync is counted in its metrics. Where they cannot be read, a bound on the time takes
// their place: the hold timeout, which should be longer than kube-proxy's longest sync.
//
// kube-proxy syncs every 30 seconds by itself. While a pod of the node cannot get its address, perhaps because an
// orphan is in its way, EndpointSlice changes are requested to make it sync sooner. Each of them makes every
// kube-proxy of the cluster sync, which is why nothing else requests them.
//
// Invariants:
//
//  1. An address is forgotten only after all four steps, in order.
//  2. While kube-proxy's metrics are readable, only they count. A kube-proxy that is stuck holds everything. The hold
//     timeout begins when they have become unreadable, and again when they have been readable in between.
//  3. A restart of the agent starts every proof over.
package clearance
