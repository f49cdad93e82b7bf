// SPDX-License-Identifier: Apache-2.0

// Package loadbalancer reads HNS load balancers, reports broken ones, and makes kube-proxy program their Services again
// on request. A [Reader] reads them, package verdict judges them, a [Reprogrammer] acts.
//
// kube-proxy programs a Service once, and again only when the Service or its endpoints change (policyApplied in
// syncProxyRules of pkg/proxy/winkernel/proxier.go). It does not notice that a load balancer, or one of its endpoints,
// is gone. Until the next change, connections to such a load balancer are lost.
//
// # Reading
//
// Reading thousands of load balancers takes tens of seconds on a slow node, and no act that saves a pod may wait for
// it. So they are read alongside the passes. A pass uses the last reading, and requests a new one when an orphan needs
// it.
//
// # Reprogramming
//
// A broken load balancer is always reported, with an Event on its Service. Only on request does hnsguard make
// kube-proxy program the Service again, by a change of its endpoints without effect: for a few seconds the Service has
// one more EndpointSlice. Its one endpoint is not ready, and has a documentation address and a port that the Service
// does not have. Every Windows node of the cluster programs the Service again; therefore this is off by default.
//
// With HNS 15.4 this does not help if kube-proxy updates load balancers in place, which this HNS is reported to ignore
// (https://github.com/kubernetes/kubernetes/issues/131466): before 1.32.6, and 1.33.0 and 1.33.1. Nor does it help with
// a missing load balancer if kube-proxy updates in place: until it restarts, it keeps updating the one that is gone.
// Such load balancers keep being reported.
//
// Alternatives considered and rejected: updating the load balancer, which older versions of HNS cannot do and 15.4 is
// reported to ignore; deleting it, which kube-proxy does not notice either; deleting and recreating it, which
// kube-proxy does not know of, so that it cannot program the same address and port later.
//
// # Invariants
//
//  1. A reading is complete, or nothing changes: a failed reading replaces nothing.
//  2. A load balancer is broken if two consecutive readings find the same fault: kube-proxy replaces load balancers all
//     the time.
//  3. Reading takes at most a small share of the time.
//  4. What is missing or stale follows from the state of the cluster and of HNS, not from what this process has seen
//     before.
//  5. Only slices that hnsguard made are written or deleted, and none of them has a ready or serving endpoint. None is
//     written unless an admission policy restricts this: see package admission.
//  6. A slice is owned by its Service, and is deleted with it even if hnsguard is gone. The next agent that starts
//     deletes a slice that a stopped agent has left behind.
//  7. A Service is not disturbed again soon: attempts that do not help become rarer.
//  8. A load balancer is missing or stale only if kube-proxy had processed the last change of its Service before the
//     reading began: its watch had time to catch up, and it has finished a complete sync that began after that. If its
//     syncs cannot be counted, none is missing or stale. A restarted kube-proxy has processed nothing.
//  9. A missing load balancer disturbs no Service if kube-proxy may update load balancers in place. kube-proxy would
//     try to update the one that is gone at each sync until it restarts, and each time count the Service's endpoints as
//     used once more, so that it does not delete them later (handleUpdateLoadbalancerFailure, same file).
//  10. Many Services with broken load balancers point to a problem of kube-proxy or HNS, not of these Services: none of
//     them is disturbed, because each disturbance reaches all Windows nodes.
//  11. A Service is read from the API server only to report it or to disturb it.
//  12. No Service is disturbed while a leaked local endpoint has one of its addresses: kube-proxy would build the load
//     balancer on it, which would then look right and still lose the connections.
//  13. No Service is disturbed if this may make kube-proxy lose its load balancer: see
//     [github.com/hnsguard/hnsguard/internal/kubeproxy.Profile.LosesUnchanged].
package loadbalancer
