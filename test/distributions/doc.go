// SPDX-License-Identifier: Apache-2.0

// Package distributions tests hnsguard on the networks of every distribution of Kubernetes that has Windows nodes.
//
// Each folder in testdata is a distribution, and each file in it a node as its scripts and its CNI leave it: networks,
// endpoints and load balancers in the form of HCN, as hnsguard reads them. The nodes are derived from sources, and not
// recorded; testdata/README.md says which. What the cluster knows of such a node is in the tests.
//
// Invariants:
//
//  1. Without any configuration the right network is chosen: by its name, by its type if the name is unknown, and not
//     before it is there. Until then, and forever where kube-proxy does not run, the agent is ready and idle.
//  2. Only kube-proxy's endpoints on that network are judged by their address. What the CNI, the node's own scripts and
//     Docker have made is never removed.
//  3. Every distribution has its row in docs/distributions.md, with its sources, and values in
//     charts/hnsguard/examples.
package distributions
