// SPDX-License-Identifier: Apache-2.0

// Package eviction finds victims: running pods on this node that have lost their HNS endpoint, and with it every
// connection, or whose endpoint is not attached. Only a new sandbox brings a new endpoint: kubelet creates one for a
// new pod, or if the old sandbox has ended.
//
// A victim is always reported, with an Event on the pod and a metric. It is evicted only if that is configured, through
// the API, which honours PodDisruptionBudgets.
//
// Invariants:
//
//  1. A pod is a victim only if it has lacked its network by the rule of package verdict for longer than the configured
//     time, without a break. Time in which the node was not observed does not count.
//  2. A pod is evicted only if a controller replaces it, possibly on another node, and only by its UID. Mirrors of
//     static pods, pods of DaemonSets, and pods whose address any local endpoint has, attached or not, are not evicted.
//  3. If all pods on the node seem to be victims, and there is more than one, the data from HNS is probably wrong: the
//     pods are reported, and none is evicted. The same holds while the addresses of an endpoint are unknown, and while
//     HNS has no pod network: a replacement would have no network either.
//  4. One pod is evicted at a time. If the replacements of a controller's pods lose their endpoints too, evictions
//     become rarer: they do not help.
//  5. No pass waits for the API server for long.
//  6. No pod is evicted while no admission policy restricts evictions: see package admission.
//  7. A pod is not evicted while kubelet may still be recreating its sandbox. Meanwhile its status keeps the old
//     address, and kubelet gives up one attempt after twice its runtimeRequestTimeout, which is 4 minutes by default.
//  8. A pod that has been ending for too long by the rule of package verdict is reported once, with an Event and a
//     metric. It is not a victim: it is being deleted already.
package eviction
