// SPDX-License-Identifier: Apache-2.0

// Package stalerecord deals with kube-proxy's record of terminated addresses, which makes some versions delete a pod's
// own endpoint. It acts through kube-proxy, with its own EndpointSlices: a [Keeper] keeps addresses out of the record,
// a [Flusher] makes kube-proxy replace it, and a [Tracker] proves what it does not hold.
//
// Those versions (see package kubeproxy) remember the addresses that the last change of a Service's slices removed. At
// the end of every sync, periodic syncs included, they look up each of them in HNS and delete whichever endpoint has
// it. kube-proxy replaces the record only when it processes another change of the same IP family. In a quiet cluster
// the record stays, and the next pod with such an address loses its network within 30 seconds.
//
// # The keep-slice
//
// kube-proxy does not record an address that another slice of the same Service lists. While a pod on this node has an
// address that slices list elsewhere, the keeper adds a slice with that address to each Service that lists it. This
// protection does not depend on how far kube-proxy is behind: once the watch shows the keep-slice together with the
// other listing, every kube-proxy sees the other listing dropped later. So the stale remote endpoint may be removed at
// once, and the following drop leaves no trace.
//
// # The flush, and the barrier
//
// For addresses dropped before, the flusher changes a slice of hnsguard's own Service, which makes kube-proxy replace
// the record. The slice lists one address from a documentation range; each change moves it to the next one. kube-proxy
// creates a remote endpoint for it. When this node's HNS shows the endpoint, kube-proxy has processed the move, and
// every change that the API server accepted before it: a watch delivers changes in commit order.
//
// # The proof
//
// On such a node a stale remote endpoint protects the pod that has its address now: kube-proxy may find the remote
// endpoint first. It may be removed only when the record can no longer hold the address. That is proved when HNS has
// shown three moves, all later than the drop. The first shows that kube-proxy has processed the drop, at the latest in
// the same sync, whose order is random. The second comes in a later sync and replaces the record. The third is needed
// because kube-proxy may have listed all slices again: it processes a list in any order, so the first move may show
// before the drop is processed. What follows the list is processed after all of it.
//
// # Invariants
//
//  1. hnsguard writes only its own slices.
//  2. A change counts as a flush only if it came some time after kube-proxy was seen to have processed the loss of the
//     address: if both are in one batch, kube-proxy may process the flush first. This agent's own write before the loss
//     does not count, even if the watch delivers it late.
//  3. All agents of a cluster watch the same slices. Each waits a random time and does not write if another change came
//     first. If two write at the same time, one fails on the slice's resource version. A loss causes at most 20
//     requests, however many agents there are. Only the node on which a pod has got a lost address writes at once.
//  4. Everything that happened before the agent started, before the watch listed all slices again, or before an
//     affected version replaced kube-proxy is unknown: every address may have been dropped. The agent begins by moving
//     the slice until this is settled.
//  5. Writing a move proves nothing. An address counts as forgotten when HNS has shown three moves that the watch
//     delivered after its drop. A move does not count if HNS had its address before the watch delivered the previous
//     move, or if the watch delivered it in a list.
//  6. A failing API server is spared: retries become rarer, down to one every ten minutes for a forbidden write.
//  7. A stuck kube-proxy holds everything. This is measured, and no timeout ends it.
//  8. A restart of the agent restarts every proof. The agent finds keep-slices by their label.
//  9. A flush writes the whole slice, and so undoes what others have changed. It also repairs a slice that the watch
//     does not show, such as one hidden by a label. Conflicts count as failures if the watch shows no change.
//  10. Nothing is written unless an admission policy restricts it: see package admission.
//  11. In observe mode a needed flush is reported once, until an EndpointSlice change may have altered the record; a
//     needed keep-slice is reported once.
//  12. A keep-slice cannot receive traffic: its address is never ready, under a port that its Service does not have. It
//     has no owner and names no node, and no verdict counts it as a listing.
//  13. An address is kept for every Service that lists it elsewhere (keep-slices of other nodes are such listings), and
//     only if kube-proxy has the fault and the network is not an overlay. A node has at most 1,000 keep-slices.
//  14. A keep-slice is deleted when its node has not needed it for five minutes and its deletion endangers no pod: on
//     the API server, every pod with the address is on a node with its own keep-slice for the Service. The deletion is
//     a drop, and flushed like others. An existing keep-slice is never replaced.
//  15. Other agents delete the keep-slices of a node that no longer exists, by the same rule.
package stalerecord
