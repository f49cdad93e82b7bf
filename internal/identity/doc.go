// SPDX-License-Identifier: Apache-2.0

// Package identity verifies that the agent acts as itself.
//
// A HostProcess container sees the files and the environment of the host. Agents of other projects were found to use
// the kubeconfig of the kubelet for that reason, unnoticed because its rights were sufficient. The checker therefore
// reads from the API server who the agent is, and refuses the identity of a node. The token of a pod also names its
// node: an agent with the wrong node name would judge the endpoints of one node by the pods of another.
//
// Invariants:
//
//  1. Only an answer is a reason to refuse. If the API server cannot be reached, the request is repeated until it is
//     answered. If it has no such API (before Kubernetes 1.28) or forbids the request, it is not repeated.
//  2. Nothing waits for the answer. The guard acts only on caches that the API server has filled and on requests that
//     it has answered; without an API server it does nothing in any case.
package identity
