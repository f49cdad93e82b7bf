// SPDX-License-Identifier: Apache-2.0

// Package stalerecord deals with kube-proxy's record of terminated addresses, which makes some versions delete a pod's
// own endpoint: a [Flusher] makes kube-proxy replace it, and a [Tracker] proves that it does not hold an address.
//
// Those versions (see package kubeproxy) remember the addresses that the last EndpointSlice change removed. At the end
// of every sync, the periodic ones included, they look each of them up in HNS and delete whatever endpoint has it. The
// record is replaced only when kube-proxy processes another EndpointSlice change of the same IP family. In a quiet
// cluster it stays, and the next pod that gets such an address loses its network within 30 seconds.
//
// # The flush
//
// The flusher makes such a change: to an EndpointSlice of hnsguard's own, for a Service that does not exist, with an
// address from a documentation range. It costs kube-proxy next to nothing.
//
// The record cannot be read. What can be seen is that an address left the slices, that its remote endpoint left HNS,
// which shows that kube-proxy has processed the change, and that other changes came afterwards. From these it follows
// when the record may be stale.
//
// # The proof
//
// On such a node a stale remote endpoint protects the pod that has its address now: kube-proxy may find the remote
// endpoint first. It may go only when the record cannot hold the address any more. What this agent's watch has seen
// does not prove that: kube-proxy may be minutes behind. The proof has four steps, and starts over when a slice lists
// the address elsewhere again:
//
//  1. The view of EndpointSlices is known to have everything that the API server held after the endpoints of the
//     address were first seen, and lists the address nowhere else. So the drop has happened, if there was one.
//  2. kube-proxy has finished a sync that started after that. So the drop is in its record, or was never seen.
//  3. An EndpointSlice of the same family has changed after that. kube-proxy replaces its record when it processes the
//     change.
//  4. kube-proxy has finished a sync that started after the change. The address is forgotten.
//
// Finished syncs are counted in kube-proxy's metrics. Where they cannot be read, a bound on the time takes their place:
// the hold timeout, which should be longer than kube-proxy's longest sync.
//
// kube-proxy syncs every 30 seconds by itself. While a pod of the node cannot get its address, perhaps because an
// orphan is in its way, EndpointSlice changes are requested to make it sync sooner. Each of them makes every
// kube-proxy of the cluster sync, which is why nothing else requests them.
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
//  4. What happened before the agent started, or before kube-proxy was replaced by an affected version, is unknown. The
//     agent begins by flushing.
//  5. That a flush was written proves nothing. An address is forgotten only after all four steps, in order.
//  6. A failing API server is not pressed: retries get rarer, and those of a write that is forbidden come every ten
//     minutes.
//  7. While kube-proxy's metrics are readable, only they count. A kube-proxy that is stuck holds everything. The hold
//     timeout begins when they have become unreadable, and again when they have been readable in between.
//  8. A restart of the agent starts every proof over.
//  9. A flush writes the whole slice, so that it repairs what others have changed. A slice that the watch does not
//     show, such as one with a label that hides it, is repaired too. Conflicts count as failures if the watch shows no
//     change.
//  10. Nothing is written while no admission policy restricts it: see package admission.
//  11. In observe mode a needed flush is reported once, until an EndpointSlice change may have altered the record.
package stalerecord
