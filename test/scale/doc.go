// SPDX-License-Identifier: Apache-2.0

// Package scale starts a real API server with 100,000 endpoints in its EndpointSlices, attaches the whole agent, and
// measures what both have to do with it: beside an informer of the same slices, and while the slices change a thousand
// times a second. It also counts what a few agents ask of the server when they start, while slices change, and after a
// crash of the server, and simulates thousands of them from it. It is run by make test-scale, and takes some minutes.
//
// Invariants:
//
//  1. What crosses the wire is counted at the connection: with everything that is sent, as it is sent.
//  2. What was measured is printed in the format of Go's benchmarks, whether or not it is what was hoped for. The test
//     fails only if the agent does not do its work.
//  3. What is multiplied or simulated says so. The simulation waits as client-go does, with its own backoff.
package scale
