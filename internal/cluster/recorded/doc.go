// SPDX-License-Identifier: Apache-2.0

// Package recorded reads what "kubectl get pods,endpointslices,services -A -o json" (or -o yaml) wrote into a file: the
// cluster's side of a recorded problem, as package hns/recorded reads the node's side.
//
// A file holds a List of mixed kinds, a typed list such as a PodList, a single object, or several of these: JSON values
// in a row or YAML documents. It may be in UTF-8 or UTF-16, which PowerShell 5's ">" writes.
//
// Invariants:
//
//  1. Nothing is lost in silence. A file is read whole or not at all, and everything wrong with it is reported at
//     once, each fault with its line and object. A file or a list that was cut short is a fault. Objects of kinds that
//     are not needed are passed over and counted.
//  2. Unknown is never absent. A [Dump] says which kinds were seen. A list of one kind says so even if it is empty; an
//     empty List of mixed kinds says nothing of any kind, so that a kind that a cluster has none of cannot be told
//     there from one that nobody asked for.
//  3. An object that occurs twice is the same both times, or a fault.
//
// One truncation cannot be seen: a single object in YAML that was cut exactly between two lines of its end. Lists,
// which is what kubectl writes for more than one object, end with their kind and are safe.
package recorded
