// SPDX-License-Identifier: Apache-2.0

// Package hnsserver serves the simulated HNS to Windows programs: it is the other end of the DLLs in
// test/system/hnsdll. It uses HCN's JSON, stores the callers' settings that the simulation does not have (policies,
// DNS, flags of load balancers), and writes a journal of every call and its caller.
package hnsserver
