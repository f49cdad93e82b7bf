// SPDX-License-Identifier: Apache-2.0

// Package identity makes sure that the agent acts as itself.
//
// A HostProcess container sees the host's files and environment. Agents of other projects were found to act with the
// kubelet's kubeconfig in this way, because it happened to be allowed enough. So the API server is asked who the agent
// is, and a node's identity is refused. The token of a pod also says which node it was made for: an agent that believes
// to be on another one would judge this node's endpoints by that one's pods.
//
// Invariants:
//
//  1. Only an answer is a reason to refuse. An API server that is away is asked again until it answers; one that cannot
//     tell (before Kubernetes 1.28, or because it forbids the question) is not asked again.
//  2. Nothing waits for the answer. What the guard does rests on caches that the API server has filled and on questions
//     to the server itself, so that without one that answers nothing is done in any case.
package identity
