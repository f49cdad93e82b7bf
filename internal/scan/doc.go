// SPDX-License-Identifier: Apache-2.0

// Package scan judges a node once, live or from recorded files, and reports on every endpoint. It changes nothing.
//
// Invariants:
//
//  1. The verdicts are those of the guard: the same function on the same kind of evidence.
//  2. What a recording does not tell about an endpoint is not guessed: the endpoint is reported as unknown.
//  3. A single look cannot tell since when nobody has claimed an address. Every unclaimed endpoint is judged as if the
//     grace period were over, and the report says so.
//  4. What kube-proxy remembers cannot be recorded. On a version with the stale record, endpoints are judged as after
//     the proof that kube-proxy has forgotten their addresses, and the report says that they must not be deleted
//     sooner.
package scan
