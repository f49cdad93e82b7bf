// SPDX-License-Identifier: Apache-2.0

// Package cli is the command line: one file for each command, which turns flags, environment and files into the options
// of the packages that do the work.
//
// Invariants:
//
//  1. A flag wins over its environment variable, and that over the configuration file.
//  2. All faults of a command line are reported at once, and before anything is done.
//  3. Exit status 0 means success, 1 an error, 2 a command line that is wrong, 3 that scan found endpoints to remove, 4 that
//     scan found none, but could not judge all of them.
//  4. The host's $KUBECONFIG is never used: in a HostProcess container it is somebody else's.
package cli
