// SPDX-License-Identifier: Apache-2.0

// Package flush clears kube-proxy's record of terminated addresses, which makes some versions delete a pod's own
// endpoint.
//
// Those versions (see package kubeproxy) remember the addresses that the last EndpointSlice change removed. At the end
// of every sync, the periodic ones included, they look each of them up in HNS and delete whatever endpoint has it. The
// record is replaced only when kube-proxy processes another EndpointSlice change of the same IP family. In a quiet
// cluster it stays, and the next pod that gets such an address loses its network within 30 seconds.
//
// So hnsguard makes such a change: to an EndpointSlice of its own, for a Service that does not exist, with an address
// from a documentation range. It costs kube-proxy next to nothing.
//
// The record cannot be read. What can be seen is that an address left the slices, that its remote endpoint left HNS,
// which shows that kube-proxy has processed the change, and that other changes came afterwards. From these it follows
// when the record may be stale.
//
// Invariants:
//
//  1. Only hnsguard's own slices are written.
//  2. A change counts as a flush only if it came some time after kube-proxy was seen to have processed the loss of the
//     address: in one batch with the loss, kube-proxy may process it first. What the watch delivers late of this
//     agent's own write before the loss does not count.
//  3. All agents of a cluster watch the same slices. Each waits a random time and does not write if another change
//     came first. Of two that write at the same time, one fails on the slice's resource version. At most 20 requests
//     are made per loss, however many agents there are. Only the node on which a pod has got a lost address writes at
//     once.
//  4. What happened before the agent started is unknown. It begins by flushing.
//  5. That a flush was written proves nothing to those who delete endpoints: see package clearance.
//  6. A failing API server is not pressed: retries get rarer, and those of a write that is forbidden come every ten
//     minutes.
package flush
