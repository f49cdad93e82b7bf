// SPDX-License-Identifier: Apache-2.0

// Package recording reads what was recorded of a node, so that it can be judged away from it, and records a node in
// one zip file, the bundle. It changes nothing.
//
// [ReadHNS] reads Get-HnsEndpoint, Get-HnsNetwork, Get-HnsPolicyList and Get-HnsLoadBalancer piped into
// ConvertTo-Json, as V1 objects and as the V2 objects of hcn: one object, a list, an object whose Output or value is a
// list, or several of these in a row. Text around the JSON is skipped, such as the summary tables that collectlogs.ps1
// puts above it, the prompts of a console, the header of a transcript and what was written to stderr. Lines that a
// console has wrapped are joined.
//
// HNS shows IsRemoteEndpoint only on remote V1 endpoints. An endpoint without it is local if the record is whole. One
// that went through Select-Object is not: it lacks the properties that only HNS has a use for (V1: State with one of
// ActivityId, EncapOverhead, Resources and Version; V2: SchemaVersion). A V1 record with the remote flag, but without
// IsRemoteEndpoint, contradicts itself and is incomplete.
//
// Any sign of use makes an endpoint attached: a namespace, listed containers, or the V1 states Attached (2) and
// AttachedSharing (3). HNS may report these states without naming the user; SharedContainers is then 1.
//
// [ReadCluster] reads what "kubectl get nodes,pods,endpointslices,services -A -o json" (or -o yaml) prints: a List of
// mixed kinds, a typed list such as a PodList, a single object, or several of these: JSON values in a row or YAML
// documents. Text around JSON and above YAML is skipped.
//
// [ReadProxyLog] reads kube-proxy's log.
//
// [Collect] chooses from a folder or a zip file of a collector what these two read.
//
// Invariants:
//
//  1. A file is read whole or refused. All faults are reported at once, each with its file, line and column, counted in
//     the decoded text, and with its object. Of YAML, an item has the place of its document. Refused are a truncated
//     file and an object that is cut off; text that is the rest of JSON; of HNS, objects of no known kind and files
//     without JSON; of the cluster, a list that is one of several parts, and text that says that kubectl failed.
//     Properties and kinds that verdicts do not need are ignored.
//  2. Unknown is never absent. [HNS] and [Cluster] say which kinds were recorded, and which endpoints have an
//     incomplete record. Nothing is inferred from names, or from a list that does not say what it is a list of. But the
//     name of an empty file, or of a file with an empty list, says of what there is nothing.
//  3. Two records of one object that differ are a fault, in one file or in several. None of them wins. A network's own
//     record adds to what its endpoints say of it.
//  4. What is returned has the shape that package hns promises for live objects.
//  5. Memory and time are bounded by the size of the files, whatever they hold: at most four times their size above
//     200 MiB, also of what a bundle unpacks to. Reading stops after 20 faults. Lists are read element by element, and
//     what is kept is accounted for. A file above [MaxSize] is refused.
//  6. Text is UTF-8, or UTF-16 with a byte order mark. What is no text is a fault with its place.
//  7. No secret is recorded. Of the objects of the cluster, only the fields that trim.go names are kept when they are
//     read, and recorded: nothing of a pod's environment, commands, volumes, annotations or labels.
//  8. What cannot be recorded does not keep the rest from being recorded. The manifest of a bundle lists every file,
//     and says why one is missing.
//  9. Read elsewhere, a bundle gives the verdicts that the node gives.
//  10. A bundle or a collector's zip file from a stranger does no harm: its size, unpacked, and the number of its files
//     are limited, nothing is written, and no link in a folder is followed.
//  11. Of a folder or a zip file, names choose the files that are read, and their content says what they are. What is
//     not read is named: it is unknown, and never absent. HNS of several nodes or moments is refused.
//  12. Of kube-proxy's log, only what it says of HNS is kept. An address that it does not name is inferred only from
//     the endpoints that a load balancer was just made of, in their order, or from the addresses that were dropped
//     last; the entry says so. What kube-proxy did is evidence for people, and for no verdict.
//
// One truncation cannot be seen: a single object in YAML that was cut exactly between two lines near its end. Lists,
// which kubectl writes for more than one object, end with their kind and are safe.
package recording
