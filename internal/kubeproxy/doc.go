// SPDX-License-Identifier: Apache-2.0

// Package kubeproxy is what hnsguard knows of kube-proxy for Windows: what its versions do wrong, and how to tell an
// endpoint that it made.
//
// Invariants:
//
//  1. A version that is unknown or cannot be read has every fault that any version has. The careful choice follows.
//  2. A doubt adds faults and never takes one away.
//  3. Vendors' suffixes ("v1.31.7-eks-abcdef") do not change what a version does: only major, minor and patch count.
package kubeproxy
