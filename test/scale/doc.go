// SPDX-License-Identifier: Apache-2.0

// Package scale starts a real API server with 100,000 endpoints in its EndpointSlices, attaches the whole agent, and
// measures the load of both: compared with an informer of the same slices, and while the slices change a thousand times
// a second. It also counts the requests of a few agents when they start, while slices change, and after a crash of the
// server, and simulates thousands of agents from that. It is run by make test-scale, and takes some minutes.
//
// Invariants:
//
//  1. Transferred bytes are counted at the connection: everything that is sent, as it is sent.
//  2. Measurements are printed in the format of Go's benchmarks, whatever the result. The test fails only if the agent
//     does not work.
//  3. Numbers that are multiplied or simulated are marked as such. The simulation waits like client-go, with its own
//     backoff.
package scale
