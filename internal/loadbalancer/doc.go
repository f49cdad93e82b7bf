// SPDX-License-Identifier: Apache-2.0

// Package loadbalancer keeps what is known of HNS load balancers, finds those that are broken, reports them, and makes
// kube-proxy program their Services again on request. A [Reader] reads them, a [Reprogrammer] acts.
//
// A load balancer dangles if it names an endpoint which is gone. A frontend is absent if a load balancer had it and
// none has it any more. kube-proxy notices neither: it programs a Service once, and again only when the Service or its
// endpoints change (policyApplied in syncProxyRules of pkg/proxy/winkernel/proxier.go). Until then the connections that
// such a load balancer gets are lost.
//
// # Reading
//
// Reading thousands of load balancers takes a slow node tens of seconds, and nothing that saves a pod may wait for it.
// So they are read beside the passes. A pass uses what was read last, and requests a reading when an orphan needs one.
//
// # Reprogramming
//
// A dangling or missing one is always reported, with an Event on its Service. Only on request kube-proxy is made to
// program the Service again, by a change of its endpoints without effect: for a few seconds the Service has one more
// EndpointSlice. Its one endpoint is not ready, and has an address for documentation and a port that the Service does
// not have. Every Windows node of the cluster programs the Service again, which interrupts it there for a moment;
// therefore this is off by default.
//
// On an HNS of version 15.4 this does not help with a kube-proxy that updates load balancers in place there, which such
// an HNS is reported to ignore (https://github.com/kubernetes/kubernetes/issues/131466): before 1.32.6, and 1.33.0 and
// 1.33.1. Such a load balancer keeps being reported.
//
// That a load balancer is missing, HNS does not say: one that is gone may be gone for a reason. The API server is asked
// about what is absent. It can be asked for the Service of a cluster IP only, of the first one where a Service has two:
// missing load balancers for other addresses of a Service are not found, and those for node ports have no address.
//
// What else was considered and is not done: to update the load balancer, which older versions of HNS cannot and 15.4
// is reported to ignore; to delete it, which kube-proxy does not notice either; to delete it and make another, which
// kube-proxy knows nothing of, so that it cannot program the same address and port later.
//
// # Invariants
//
//  1. What was read is complete, or nothing changes: a failed reading replaces nothing.
//  2. A load balancer dangles when two readings in a row found it to. kube-proxy replaces load balancers all the time.
//  3. Reading takes at most a small share of the time.
//  4. A frontend is absent when two readings in a row had it and two in a row after them did not. That says nothing
//     yet: it is so too when its Service has gone, has changed its ports or has no endpoints. Only frontends that this
//     process has seen can be absent, and a bounded number of them is remembered.
//  5. Only slices that hnsguard made are written or deleted, and none of them has an endpoint that is ready or serving.
//     None is written while no admission policy restricts that: see package admission.
//  6. A slice is owned by its Service, and goes with it whatever becomes of hnsguard. One that a stopped agent has left
//     behind is deleted by the next that starts.
//  7. A Service is not disturbed again soon: attempts that do not help get rarer.
//  8. A load balancer is missing when the API server said, twice and with no change in between, that a Service has its
//     address and port and an endpoint that kube-proxy on this node uses; kube-proxy has had the time to process that,
//     and has finished a sync after it; and all readings were without it, the last one begun after that sync. An API
//     server that does not answer confirms nothing.
//  9. For a missing load balancer no Service is disturbed where kube-proxy may update load balancers in place. It would
//     fail to update the one that is gone, at each sync until it is restarted, and count the Service's endpoints as
//     used once more each time, so that it does not delete them later (handleUpdateLoadbalancerFailure, same file).
//  10. Many broken load balancers, dangling or missing, are a problem of kube-proxy or HNS and not of their Services:
//     none of these is disturbed, because each disturbance reaches all Windows nodes.
//  11. The API server is asked about one frontend at a time, after a random delay: a Service that is deleted is absent
//     on all nodes at once.
//  12. No Service is disturbed while a leaked local endpoint has one of its addresses: kube-proxy would build the load
//     balancer on it, which then looks right and still loses the connections.
package loadbalancer
