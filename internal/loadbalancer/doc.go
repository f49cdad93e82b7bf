// SPDX-License-Identifier: Apache-2.0

// Package loadbalancer keeps what is known of HNS load balancers, and finds those that dangle: that name an endpoint
// which is gone.
//
// Reading thousands of load balancers takes a slow node tens of seconds, and nothing that saves a pod may wait for it.
// So they are read beside the passes. A pass uses what was read last, and requests a reading when an orphan needs one.
//
// Invariants:
//
//  1. What was read is complete, or nothing changes: a failed reading replaces nothing.
//  2. A load balancer dangles when two readings in a row found it to. kube-proxy replaces load balancers all the time.
//  3. Reading takes at most a small share of the time.
package loadbalancer
