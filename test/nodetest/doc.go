// SPDX-License-Identifier: Apache-2.0

// Package nodetest is a Windows node for tests: a simulated HNS, an API server in memory, what an agent knows of both,
// and a clock that only the test moves. A test adds the part that it is about: a remover, a guard with all its actions.
//
// Invariants:
//
//  1. Nothing runs concurrently with the test. Events of the API server are delivered when the test makes them, or
//     later if the test holds the watch back.
//  2. The API server has one revision for all of its objects, as etcd has. Lists and EndpointSlices carry it, so that
//     proofs by resource version are real ones.
//  3. Every fault is set by the test.
package nodetest
