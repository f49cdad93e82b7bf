// SPDX-License-Identifier: Apache-2.0

// Package reuse measures how soon an address that a pod of another node has left is given to a pod of this one.
//
// Everything that hnsguard guards against begins with such a reuse. Where addresses are reused within seconds, before
// kube-proxy has processed that the old pod is gone, the pool of pod addresses is too small, or hands out first what
// was returned last; see docs/ip-reuse.md.
//
// That an address is in use elsewhere is read from EndpointSlices, that a pod of this node has it from the pod's
// status. Remote endpoints of HNS are not used: they are kube-proxy's copy of the slices, and one that leaked may stay
// for hours after the last use of its address.
//
// Invariants:
//
//  1. Only what happened while the agent ran is recorded. A pod that had its address before, or got one whose last use
//     was not seen, is not.
//  2. Each pod counts once for each address. While a slice still lists the address on another node, the time is zero.
//  3. The memory is bounded: the addresses that were left last, up to [MaxAddresses]. Reuse after [Horizon] does not
//     count.
package reuse
