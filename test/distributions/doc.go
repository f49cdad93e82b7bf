// SPDX-License-Identifier: Apache-2.0

// Package distributions tests hnsguard on the networks of every Kubernetes distribution with Windows nodes.
//
// Each folder in testdata is a distribution, and each file in it is a node as its scripts and its CNI leave it:
// networks, endpoints and load balancers in the form of HCN, as hnsguard reads them. The nodes are derived from
// sources, not recorded; testdata/README.md names the sources. The tests have the cluster's view of such a node.
//
// Invariants:
//
//  1. The right network is chosen without any configuration: by its name, or by its type if the name is unknown, but
//     not before it exists. Until then, and forever if kube-proxy does not run, the agent is ready and idle.
//  2. Only kube-proxy's endpoints on that network are judged by their address. Objects of the CNI, the node's own
//     scripts and Docker are never removed.
//  3. Every distribution has a row in docs/distributions.md, with its sources, and values in charts/hnsguard/examples.
package distributions
