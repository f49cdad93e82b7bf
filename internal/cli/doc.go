// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line. Each command has a file, which turns flags, environment variables and files into the
// options of the packages that do the work.
//
// Invariants:
//
//  1. A flag wins over its environment variable, which wins over the configuration file.
//  2. All faults of a command line are reported at once, before anything is done.
//  3. The exit status is 0 for success, 1 for an error, a check of doctor that fails and a problem that status shows, 2
//     for a wrong command line, 3 if scan found endpoints to remove, 4 if it found none but could not judge all of
//     them, and 5 if it could, but something else needs attention. A wrong command line names the command whose help
//     explains it.
//  4. In a pod the $KUBECONFIG and the $KUBE_NETWORK of the host are never used: a HostProcess container inherits them,
//     but they are not meant for hnsguard. Calico's $KUBE_NETWORK is a regular expression, and GKE's holds for the
//     whole machine. Elsewhere the commands that a person runs beside kubectl use it as kubectl does, but run does not.
//  5. A shell can complete the value of every flag that takes one of a known set, and proposes files only where a file
//     is wanted.
package cli
