// SPDX-License-Identifier: Apache-2.0

// Package chart renders the Helm chart for tests, and for the kustomize base, which is generated from it.
//
// Invariants that the tests of the chart cite:
//
//  1. The program accepts what is rendered: its configuration, its arguments, and nothing that it does not know.
//  2. Admission policies and DaemonSet name the same account.
//  3. A wrong value is refused before anything is installed, with a message that names it and says what to do. The
//     message names all wrong values at once.
//  4. The kustomize base is the chart with its defaults.
//  5. An image is built like in the Makefile.
//  6. The words of commands on a node for the firewall rule are left unchanged by cmd.exe, and the commands cannot
//     fail.
//  7. A key that both users and the chart set appears once, and the chart wins if its own objects find each other by
//     it.
//  8. The same values always render the same objects.
package chart
