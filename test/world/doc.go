// SPDX-License-Identifier: Apache-2.0

// Package world simulates a cluster around the agent. Package model plays random histories in it, and the demo plays
// incidents in it for people.
//
// A [World] has an API server, Windows nodes with a simulated HNS, a kubelet with its CNI, the EndpointSlice controller
// and kube-proxy. kube-proxy is a process: it learns of EndpointSlices by a watch of its own, which lags, breaks and
// lists again; it syncs when it may, a sync takes time, and between its stages the world goes on. What it does in a
// sync was read in its sources, version by version; package model compares it with what real ones were measured to do.
// The agents are the product: only HNS, the API server, the watches and kube-proxy's metrics behind them are the
// world's. It runs them itself, pass by pass, or connects one that package agent has built ([Node.Connect]).
//
// Invariants:
//
//  1. One goroutine moves the world. Agents wait for it whenever they call something outside of themselves.
//  2. What happens depends on the setup, the actions and time, and on nothing else: all chance is the seed's.
//  3. The world takes no side: it does the same with agents and without, apart from what they ask for.
//  4. It needs no package of Go's for tests, so that a program can play it in real time.
//
// The world keeps to what is known of clusters, and the invariants hold within it:
//
//   - The CNI gives an address to one pod at a time, unless the history says otherwise. It may leave local endpoints
//     behind, attached or not.
//   - The status of a Running pod keeps its address when its sandbox dies, until another sandbox has an address.
//   - The EndpointSlice controller drops and lists addresses late, and repacks with a gap of at most 8 s. A foreign
//     author drops an address at most a minute after its pod is gone. No author lists an address for a pod that does not
//     have it any more, other than by being late.
//   - A sync of kube-proxy takes at most 45 s, and its watch lags at most 3 min.
//   - HNS enumerates in some order, or in another one at every list.
//   - The clock of the API server may differ from the nodes' clocks by five minutes.
//   - A machine that is paused stands still as a whole: agent, kube-proxy and CNI alike. Its clocks go on.
package world
