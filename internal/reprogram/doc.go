// SPDX-License-Identifier: Apache-2.0

// Package reprogram takes care of load balancers that name an HNS endpoint which is gone. kube-proxy does not notice:
// it programs a Service once, and again only when the Service or its endpoints change. Until then the connections
// that the load balancer sends there are lost.
//
// A dangling load balancer is always reported, with an Event on its Service. Only on request kube-proxy is made to
// program the Service again, by a change of its endpoints that means nothing to anybody: for a few seconds the
// Service has one EndpointSlice more, with one endpoint that is not ready, under an address that nobody has and a
// port that the Service does not have. Every Windows node of the cluster programs the Service again, which interrupts
// it there for a moment; that is why it has to be asked for.
//
// What else was tried and is not done: to update the load balancer in place (HNS supports it from version 15.4 on,
// and is reported to ignore it: https://github.com/kubernetes/kubernetes/issues/131466); to delete it, which
// kube-proxy does not notice either; to delete it and make another, which kube-proxy knows nothing of, so that it
// cannot program the same address and port later.
//
// Invariants:
//
//  1. Only slices that hnsguard made are written or deleted, and none of them has an endpoint that is ready or serving.
//  2. A slice is owned by its Service, and goes with it whatever becomes of hnsguard. One that a stopped agent has left
//     behind is deleted by the next that starts.
//  3. A Service is not disturbed again soon: attempts that do not help get rarer.
package reprogram
