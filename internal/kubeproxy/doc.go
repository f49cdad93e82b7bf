// SPDX-License-Identifier: Apache-2.0

// Package kubeproxy has what hnsguard knows about kube-proxy on Windows: the faults of its versions, and how to
// recognize its endpoints.
//
// Invariants:
//
//  1. An unknown or unreadable version counts as having every fault. This is the careful choice.
//  2. A doubt adds faults and never removes one.
//  3. Vendors' suffixes ("v1.31.7-eks-abcdef") do not change the faults of a version: only major, minor and patch
//     count.
package kubeproxy
