// SPDX-License-Identifier: Apache-2.0

// Package loadbalancer reads HNS load balancers, reports those that are broken, and makes kube-proxy program their
// Services again on request. A [Reader] reads them, package verdict judges them, a [Reprogrammer] acts.
//
// kube-proxy programs a Service once, and again only when the Service or its endpoints change (policyApplied in
// syncProxyRules of pkg/proxy/winkernel/proxier.go). It does not notice that a load balancer, or an endpoint that one
// names, is gone. Until the next change the connections that such a load balancer gets are lost.
//
// # Reading
//
// Reading thousands of load balancers takes a slow node tens of seconds, and nothing that saves a pod may wait for it.
// So they are read alongside the passes. A pass uses what was read last, and requests a reading when an orphan needs
// one.
//
// # Reprogramming
//
// A broken one is always reported, with an Event on its Service. Only on request kube-proxy is made to program the
// Service again, by a change of its endpoints without effect: for a few seconds the Service has one more EndpointSlice.
// Its one endpoint is not ready, and has an address for documentation and a port that the Service does not have. Every
// Windows node of the cluster programs the Service again; therefore this is off by default.
//
// On an HNS of version 15.4 this does not help with a kube-proxy that updates load balancers in place there, which such
// an HNS is reported to ignore (https://github.com/kubernetes/kubernetes/issues/131466): before 1.32.6, and 1.33.0 and
// 1.33.1. Nor does it help with a load balancer that is missing where kube-proxy updates in place: it goes on to update
// the one that is gone, until it restarts. Such load balancers keep being reported.
//
// What else was considered and is not done: to update the load balancer, which older versions of HNS cannot and 15.4
// is reported to ignore; to delete it, which kube-proxy does not notice either; to delete it and make another, which
// kube-proxy knows nothing of, so that it cannot program the same address and port later.
//
// # Invariants
//
//  1. What was read is complete, or nothing changes: a failed reading replaces nothing.
//  2. A load balancer is broken when two readings in a row found it so, in the same way. kube-proxy replaces load
//     balancers all the time.
//  3. Reading takes at most a small share of the time.
//  4. What is missing or stale follows from what the cluster and HNS have. Nothing depends on what this process has
//     seen before.
//  5. Only slices that hnsguard made are written or deleted, and none of them has an endpoint that is ready or serving.
//     None is written while no admission policy restricts that: see package admission.
//  6. A slice is owned by its Service, and goes with it whatever becomes of hnsguard. One that a stopped agent has left
//     behind is deleted by the next that starts.
//  7. A Service is not disturbed again soon: attempts that do not help get rarer.
//  8. A load balancer is missing or stale only if kube-proxy had processed the last change of its Service before the
//     reading began: its watch had the time to catch up, and it has finished a complete sync that began after that.
//     Where its syncs cannot be counted, none is. One that was restarted has processed nothing.
//  9. For a missing load balancer no Service is disturbed where kube-proxy may update load balancers in place. It would
//     fail to update the one that is gone, at each sync until it is restarted, and count the Service's endpoints as
//     used once more each time, so that it does not delete them later (handleUpdateLoadbalancerFailure, same file).
//  10. Many Services with broken load balancers are a problem of kube-proxy or HNS and not of these Services: none of
//     them is disturbed, because each disturbance reaches all Windows nodes.
//  11. A Service is read from the API server only to report or to disturb it.
//  12. No Service is disturbed while a leaked local endpoint has one of its addresses: kube-proxy would build the load
//     balancer on it, which then looks right and still loses the connections.
//  13. No Service is disturbed whose load balancer kube-proxy may lose by it: see
//     [github.com/hnsguard/hnsguard/internal/kubeproxy.Profile.LosesUnchanged].
package loadbalancer
