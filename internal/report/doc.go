// SPDX-License-Identifier: Apache-2.0

// Package report says what is right and what is wrong on a node: its network, pods, load balancers and endpoints, what
// each verdict means, and what to do.
//
// There is one [Report] for all readers. [Judge] makes it of a live or a recorded node, of all of it or of what a
// [Filter] selects; a [Board] makes it of the agent's last pass, for the node page, the bundle and the status of all
// nodes. Its [Finding]s are what is wrong: the text of a scan, the page and the status show them as they are.
// [Report.Explain] adds what the verdicts on a target mean and what the agent has done.
//
// Invariants of a report:
//
//  1. The verdicts are those of the guard: the same function on the same kind of evidence.
//  2. What was not recorded is not guessed. An endpoint is reported as unknown if its own record is incomplete, if the
//     record of an endpoint that may have the same address is, or if the verdict depends on the unknown version of
//     kube-proxy. Without endpoints, Pods or EndpointSlices there is no report ([ErrCannotJudge]). A recording that may
//     be of a part of the node or of the cluster proves no absence.
//  3. Evidence that takes time to gather is taken as gathered: every unclaimed endpoint is judged as if the grace
//     period were over, and every address as if kube-proxy had forgotten it. The report says so.
//  4. A pod is judged by the rule of package verdict, as the agent does. It is reported to lack its network only if it
//     should have an endpoint here: it runs, on this node, in a network of its own.
//  5. Only a Windows node is judged. A Linux node has no HNS, and a verdict on its name would be about another node.
//
// Invariants of an explanation:
//
//  6. It decides nothing: verdicts and reasons are those of the report.
//  7. Every reason that a verdict can have is explained.
//  8. A pod without an endpoint is explained too, which is the most frequent question. The advice to delete a pod is
//     never given for a pod that needs no endpoint on this node.
//  9. Statements about removals hold in the mode of the node: what only observes never removes, and guards nothing.
//
// Invariants of the board:
//
//  10. What is shown of a pass is immutable: a reader never sees half of one pass and half of the next, whose verdicts
//     share memory.
//  11. Showing a pass makes no call, and allocates nothing that grows with the endpoints if the pass found what the
//     pass before had found. What a report needs beyond that is built for readers, once for each finding.
//  12. Unknown is not shown as absent: while the node cannot be observed, the endpoints of the last complete pass stay,
//     with their time and with the error.
//  13. A report has no secrets: no tokens, no environment, nothing of pods but their names and addresses.
//
// Invariants of findings and measurements:
//
//  14. What is wrong is what has a finding, in a scan's exit status as on the page. Its objects are what 'hnsguard
//     explain' explains.
//  15. Gauges of what a node has are counted from the report when they are scraped: they show what its readers see.
//  16. An Event on what is wrong says what the report says of it: see [Words].
package report
