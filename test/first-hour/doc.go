// SPDX-License-Identifier: Apache-2.0

// Package firsthour plays a user's first hour with hnsguard, from the first look at a cluster to the removal of
// everything: with kubectl, helm, a real API server, and the exec protocol.
//
// transcript.txt is the script and what the user sees. Lines with "$ " are commands, and lines with "* " are events in
// the cluster. The commands run exactly as written; the test fails if they print anything else, except for times and
// ports.
package firsthour
