// SPDX-License-Identifier: Apache-2.0

// Package hnsdump reads the JSON that PowerShell records of HNS, so that a node can be judged away from it.
//
// It reads Get-HnsEndpoint, Get-HnsNetwork, Get-HnsPolicyList and Get-HnsLoadBalancer piped into ConvertTo-Json, as V1
// objects and as the V2 objects of hcn: one object, a list, or several of these in a row. Text around the JSON is
// skipped, such as the summary tables that collectlogs.ps1 puts above it and the prompts of a console. Text of hnsdiag,
// Format-List and Format-Table is not read: it leaves out most of what a verdict needs.
//
// Invariants:
//
//  1. A file is read whole or refused. All faults are reported at once, each with its line and column; of the values of
//     a wrong type, one for each object. Refused are: truncated JSON, objects of no known kind, empty lists, files
//     without JSON, and text that lists an HNS object which the JSON lacks. Ignored are properties that verdicts do not
//     need, and namespaces: each endpoint names its own.
//  2. Unknown is never absent. A [Dump] says which kinds were recorded, and which endpoints have an incomplete record.
//     Nothing is inferred from names.
//  3. Complete records that contradict each other are a fault. Neither the first nor the last one wins.
//  4. What is returned has the shape that package hns promises for live objects.
//
// # What the objects say
//
// HNS shows IsRemoteEndpoint only on remote V1 endpoints. An endpoint without it is local if the record is whole. One
// that went through Select-Object is not: it lacks the properties that only HNS has a use for (V1: State with one of
// ActivityId, EncapOverhead, Resources and Version; V2: SchemaVersion). A V1 record with the remote flag, but without
// IsRemoteEndpoint, contradicts itself and is incomplete.
//
// Any sign of use makes an endpoint attached: a namespace, listed containers, or the V1 states Attached (2) and
// AttachedSharing (3). HNS may report these states without naming the user; SharedContainers is then 1.
package hnsdump
