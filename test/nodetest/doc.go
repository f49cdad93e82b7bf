// SPDX-License-Identifier: Apache-2.0

// Package nodetest is a Windows node for tests: a simulated HNS, an API server in memory, the agent's knowledge of
// both, and a clock that only the test moves. A test adds the part under test: a remover, or a guard with all its
// actions.
//
// Invariants:
//
//  1. Nothing runs concurrently with the test. Events of the API server are delivered when the test causes them, or
//     later if the test holds back the watch.
//  2. The API server has one revision for all its objects, like etcd. Lists and EndpointSlices have it, so that proofs
//     by resource version are real.
//  3. Every fault is set by the test.
package nodetest
