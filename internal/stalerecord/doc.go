// SPDX-License-Identifier: Apache-2.0

// Package stalerecord deals with kube-proxy's record of terminated addresses, which makes some versions delete a pod's
// own endpoint. It acts through kube-proxy, by EndpointSlices of its own: a [Keeper] keeps addresses out of the record,
// a [Flusher] makes kube-proxy replace it, and a [Tracker] proves what it does not hold.
//
// Those versions (see package kubeproxy) remember the addresses that the last change of a Service's slices removed. At
// the end of every sync, the periodic ones included, they look each of them up in HNS and delete whatever endpoint has
// it. The record is replaced only when kube-proxy processes another change of the same IP family. In a quiet cluster it
// stays, and the next pod that gets such an address loses its network within 30 seconds.
//
// # The keep-slice
//
// An address that another slice of the same Service lists is not recorded. While a pod on this node has an address that
// slices list elsewhere, the keeper adds a slice with that address to each Service that lists it. That is the whole
// protection, and it does not depend on how far behind kube-proxy is: once the watch shows the keep-slice together with
// the other listing, every drop of the other comes later for every kube-proxy. So the stale remote endpoint may go at
// once, and the drop that follows leaves no trace.
//
// # The flush, and the barrier
//
// For what was dropped before, the flusher changes a slice of hnsguard's own Service, which replaces the record. The
// slice lists one address, from a range for documentation, and each change moves it to the next. kube-proxy makes a
// remote endpoint for it. When this node's HNS shows the endpoint, kube-proxy has processed the move, and every change
// that the API server took before it: the order of a watch is that of commits.
//
// # The proof
//
// On such a node a stale remote endpoint protects the pod that has its address now: kube-proxy may find the remote
// endpoint first. It may go only when the record cannot hold the address any more, which three moves prove that HNS has
// shown, all of them younger than the drop. The first shows that the drop is processed, in the same sync at the latest,
// and its order within a sync is random. The second comes in a later sync and replaces the record. The third is there
// because kube-proxy may have listed all slices again: a list is processed in any order, so that the first move may be
// shown before the drop is processed. What comes after the list is processed after all of it.
//
// # Invariants
//
//  1. Only hnsguard's own slices are written.
//  2. A change counts as a flush only if it came some time after kube-proxy was seen to have processed the loss of the
//     address: in one batch with the loss, kube-proxy may process it first. What the watch delivers late of this
//     agent's own write before the loss does not count.
//  3. All agents of a cluster watch the same slices. Each waits a random time and does not write if another change
//     came first. Of two that write at the same time, one fails on the slice's resource version. At most 20 requests
//     are made per loss, however many agents there are. Only the node on which a pod has got a lost address writes at
//     once.
//  4. What happened before the agent started, before the watch listed all slices again, or before kube-proxy was
//     replaced by an affected version, is unknown: every address may have been dropped. The agent begins by moving the
//     slice until it knows.
//  5. That a move was written proves nothing. An address is forgotten when HNS has shown three moves that the watch
//     brought after its drop. A move to an address that HNS had before the watch brought the move before it, or that
//     the watch brought in a list, does not count.
//  6. A failing API server is not pressed: retries get rarer, and those of a write that is forbidden come every ten
//     minutes.
//  7. A kube-proxy that is stuck holds everything. That is measured, and no timeout ends it.
//  8. A restart of the agent starts every proof over. Keep-slices are found by their label.
//  9. A flush writes the whole slice, so that it repairs what others have changed. A slice that the watch does not
//     show, such as one with a label that hides it, is repaired too. Conflicts count as failures if the watch shows no
//     change.
//  10. Nothing is written while no admission policy restricts it: see package admission.
//  11. In observe mode a needed flush is reported once, until an EndpointSlice change may have altered the record; a
//     needed keep-slice is reported once.
//  12. A keep-slice can receive no traffic: its address is never ready, under a port that its Service does not have. It
//     has no owner and names no node, and it is no listing for any verdict.
//  13. An address is kept for every Service that lists it elsewhere, the keep-slices of other nodes included, and only
//     where kube-proxy has the fault and the network is no overlay. A node has at most 1,000 keep-slices.
//  14. A keep-slice goes when its node has not needed it for five minutes and the API server has no pod that would be
//     in danger: none with the address, but those whose node has a keep-slice of its own for the Service. That is a
//     drop, and flushed like others. A keep-slice that exists is never replaced.
//  15. The keep-slices of a node that does not exist are deleted by the other agents, by the same rule.
package stalerecord
