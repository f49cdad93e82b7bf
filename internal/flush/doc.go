// SPDX-License-Identifier: Apache-2.0

// Package flush clears kube-proxy's record of terminated addresses, which makes some versions delete a pod's own
// endpoint.
//
// Those versions (see package kubeproxy) remember the addresses that the last EndpointSlice change took away. At the
// end of every sync, also of the periodic ones, they look each of them up in HNS and delete whatever has it. The
// record is replaced only when kube-proxy processes another EndpointSlice change of the same IP family. In a cluster
// where nothing happens it stays, and the next pod that gets such an address loses its network within 30 seconds.
//
// So there has to be such a change: of an EndpointSlice of hnsguard's own, for a Service that does not exist, with an
// address that nobody has. It takes kube-proxy nothing to process.
//
// The record cannot be read. What can be seen is that an address left the slices, that its remote endpoint left HNS,
// which shows that kube-proxy has processed the change, and that other changes came afterwards. From these it follows
// when the record may be stale.
//
// Invariants:
//
//  1. Only hnsguard's own slices are written.
//  2. A change counts as a flush only if it came some time after kube-proxy was seen to have processed the loss of the
//     address: one that kube-proxy processes together with the loss may come before it. What the watch brings late of a
//     write that this agent made before does not count.
//  3. All agents of a cluster watch the same slices. Each waits a random time and does not write if another change came
//     first; of two that write at the same time, one fails on the slice's resource version. However many agents there
//     are, a few write. Only the node on which a pod has got a lost address writes at once.
//  4. What happened before the agent started is not known. It begins by flushing.
//  5. That a flush was written proves nothing to those who delete endpoints: see package clearance.
package flush
