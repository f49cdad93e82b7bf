// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line. Each command has a file, which turns flags, environment variables and files into the
// options of the packages that do the work.
//
// Invariants:
//
//  1. A flag overrides its environment variable, which overrides the configuration file.
//  2. All faults of a command line are reported at once, before anything is done.
//  3. The exit status is 0 if all is well, 1 for an error and for what cannot be judged, 2 for a wrong command line,
//     and 3 if a report shows a problem. The error for a wrong command line names the command whose help explains it.
//  4. In a pod the $KUBECONFIG and the $KUBE_NETWORK of the host are never used: a HostProcess container inherits them,
//     but they are not meant for hnsguard. Calico's $KUBE_NETWORK is a regular expression, and GKE's applies to the
//     whole machine. Outside of a pod, commands for users treat $KUBECONFIG like kubectl, but run ignores it.
//  5. All text goes through a [terminal.Writer]. Only a bundle, which is not text, is written unescaped.
package cli
