// SPDX-License-Identifier: Apache-2.0

// Package chart renders the Helm chart for tests, and for the kustomize base, which is made of it.
//
// Invariants that the tests of the chart cite:
//
//  1. What is rendered is what the program takes: its configuration, its arguments, and nothing that it does not know.
//  2. Admission policies and DaemonSet name one and the same account.
//  3. A value that is wrong is refused before anything is installed, by a message that names it and says what to do.
//     All that are wrong are named at once.
//  4. The kustomize base is the chart's defaults.
//  5. An image is built as the Makefile builds.
//  6. Commands that run on a node for the firewall rule have words that cmd.exe takes as they are, and cannot fail.
//  7. What users and the chart both set is set once: no key is doubled, and what the chart's own objects find each
//     other by wins.
//  8. The same values render the same objects, wherever and whenever.
package chart
