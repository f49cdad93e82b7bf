// SPDX-License-Identifier: Apache-2.0

// Package world simulates a cluster around the agent. Package model plays random histories in it, and the demo plays
// incidents in it for users.
//
// A [World] has an API server, Windows nodes with a simulated HNS, a kubelet with its CNI, the EndpointSlice controller
// and kube-proxy. kube-proxy is a process: it has its own watch of EndpointSlices, which lags, breaks and lists again;
// it starts a sync when it may, a sync takes time, and the world continues between its stages. What it does in a sync
// follows its sources, version by version; package model compares it with measurements of real ones. The agents are the
// product: only HNS, the API server, the watches and kube-proxy's metrics are simulated. The world runs the agents
// itself, pass by pass, or connects one that package agent has built ([Node.Connect]).
//
// Invariants:
//
//  1. One goroutine advances the world. Agents wait for it whenever they call anything outside of themselves.
//  2. What happens depends only on the setup, the actions and time: all randomness comes from the seed.
//  3. The world is neutral: apart from the agents' requests, it does the same with and without agents.
//  4. It does not need Go's packages for tests, so that a program can play it in real time.
//
// The world is limited to what is known about clusters, and the invariants of package model hold within these limits:
//
//   - The CNI gives an address to one pod at a time, unless the history says otherwise. It may leave local endpoints
//     behind, attached or not.
//   - The status of a Running pod keeps its address when its sandbox dies, until another sandbox has an address.
//   - The EndpointSlice controller drops and lists addresses late, and repacks with a gap of at most 8 s. A foreign
//     author drops an address at most a minute after its pod is gone. Except for such delays, no author lists an address
//     for a pod that no longer has it.
//   - A sync of kube-proxy takes at most 45 s, and its watch lags at most 3 min.
//   - HNS enumerates in a fixed order, or in a different one for every list.
//   - The clock of the API server may differ from the nodes' clocks by five minutes.
//   - A paused machine stops as a whole: agent, kube-proxy and CNI. Its clocks continue.
package world
