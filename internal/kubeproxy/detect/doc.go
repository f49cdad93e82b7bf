// SPDX-License-Identifier: Apache-2.0

// Package detect finds out which kube-proxy a node runs, and notices when that changes.
//
// It asks, in this order: the operator; kube-proxy's own metrics on this node, which always tell the truth; the node's
// status, which kubelets before Kubernetes 1.33 filled in with their own version.
//
// Invariants:
//
//  1. Until an answer is there, and whenever there is none, the profile is the careful one of an unknown version.
//  2. An answer is not remembered beyond the next question: a node whose kube-proxy is being replaced is unknown.
package detect
