// SPDX-License-Identifier: Apache-2.0

// Package clusterdump reads what "kubectl get nodes,pods,endpointslices,services -A -o json" (or -o yaml) recorded: the
// cluster's side of a problem, as package hnsdump reads the node's side.
//
// A file holds a List of mixed kinds, a typed list such as a PodList, a single object, or several of these: JSON values
// in a row or YAML documents. It may be in UTF-8 or UTF-16, which PowerShell 5's ">" writes.
//
// Invariants:
//
//  1. A file is read whole or refused. All faults are reported at once, each with its line, column and object. A
//     truncated file, a list that is one of several parts and an object without what an API server always sets are
//     faults. Objects of other kinds are skipped and counted.
//  2. Unknown is never absent. A [Dump] says which kinds were recorded. A list of one kind says so even if it is empty;
//     an empty List of mixed kinds says nothing about any kind: a kind that the cluster has none of looks like one that
//     was not requested.
//  3. An object that occurs twice is the same both times, or a fault.
//
// One truncation cannot be seen: a single object in YAML that was cut exactly between two lines near its end. Lists,
// which kubectl writes for more than one object, end with their kind and are safe.
package clusterdump
