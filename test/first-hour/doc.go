// SPDX-License-Identifier: Apache-2.0

// Package firsthour plays the first hour of a person with hnsguard, from the first look at a cluster to the removal of
// everything: with kubectl, helm, a real API server, and the exec protocol.
//
// transcript.txt is the script and what the person sees. Lines with "$ " are commands, and lines with "* " are what
// happens in the cluster. The commands run as they stand there; the test fails if they print anything else, but for
// times and ports.
package firsthour
