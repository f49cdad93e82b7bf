// SPDX-License-Identifier: Apache-2.0

// Package loadbalancer keeps what is known of HNS load balancers, and finds those that dangle: that name an endpoint
// which is gone. And it finds frontends that are absent: that a load balancer had, and none has any more.
//
// Reading thousands of load balancers takes a slow node tens of seconds, and nothing that saves a pod may wait for it.
// So they are read beside the passes. A pass uses what was read last, and requests a reading when an orphan needs one.
//
// Invariants:
//
//  1. What was read is complete, or nothing changes: a failed reading replaces nothing.
//  2. A load balancer dangles when two readings in a row found it to. kube-proxy replaces load balancers all the time.
//  3. Reading takes at most a small share of the time.
//  4. A frontend is absent when two readings in a row had it and two in a row after them did not. That says nothing
//     yet: it is so too when its Service has gone, has changed its ports or has no endpoints. Only frontends that this
//     process has seen can be absent, and a bounded number of them is remembered.
package loadbalancer
