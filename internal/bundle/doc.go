// SPDX-License-Identifier: Apache-2.0

// Package bundle records a node in one zip file, so that somebody else can judge it elsewhere: HNS, what the cluster
// says, the verdicts, the checks of the doctor, and what the agent itself serves. It changes nothing.
//
// HNS and the cluster are in the forms that packages hnsdump and clusterdump read.
//
// Invariants:
//
//  1. No secret is recorded. Of the objects of the cluster, only the fields that trim.go names are: nothing of a pod's
//     environment, commands, volumes, annotations or labels. Of the configuration, only what the program knows is.
//  2. What cannot be recorded does not keep the rest from being recorded. The manifest lists every file, and says why
//     one is missing.
//  3. Read elsewhere, a bundle gives the verdicts that the node gives.
//  4. A bundle from a stranger does no harm: its size, unpacked, and the number of its files are limited, nothing is
//     written, and names that are not those of a bundle are refused or ignored.
package bundle
