// SPDX-License-Identifier: Apache-2.0

// Package report reports the state of a node: its network, pods, load balancers and endpoints, what is wrong with them,
// what each verdict means, and what to do.
//
// All readers get the same [Report]. [Judge] builds it for a live or a recorded node, or for the part of it that a
// [Filter] selects; a [Board] builds it from the agent's last pass, for the node page, the bundle and the status of all
// nodes. Its [Finding]s are the problems: the text of a scan, the page and the status show them unchanged.
// [Report.Explain] adds the meaning of the verdicts on a target and what the agent has done about it.
//
// Invariants of a report:
//
//  1. The verdicts are those of the guard: the same function on the same kind of evidence.
//  2. What was not recorded is not guessed. An endpoint is reported as unknown if its own record is incomplete, if the
//     record of an endpoint that may have the same address is incomplete, or if the verdict depends on the unknown
//     version of kube-proxy. Without endpoints, Pods or EndpointSlices there is no report ([ErrCannotJudge]). A
//     recording that may cover only a part of the node or of the cluster proves no absence.
//  3. Evidence that takes time to gather counts as gathered: every unclaimed endpoint is judged as if the grace period
//     were over, and every address as if kube-proxy had forgotten it. The report says so.
//  4. A pod is judged by the rule of package verdict, as in the agent. It is reported to lack its network only if it
//     should have an endpoint here: it runs on this node and not on the host network.
//  5. Only a Windows node is judged. A Linux node has no HNS, so a verdict under its name would be about another node.
//
// Invariants of an explanation:
//
//  6. It decides nothing: verdicts and reasons are those of the report.
//  7. Every reason that a verdict can have is explained.
//  8. A pod without an endpoint is explained too, because users ask about it most often. The report never advises
//     deleting a pod that needs no endpoint on this node.
//  9. Statements about removals are true for the mode of the node: an agent that only observes never removes, and
//     guards nothing.
//
// Invariants of the board:
//
//  10. A pass on the board is immutable: a reader never sees parts of two passes, whose verdicts share memory.
//  11. Recording a pass makes no call, and allocates nothing that grows with the endpoints if the pass has the same
//     verdicts as the previous one. Everything else that a report needs is built when it is read, once for each set of
//     verdicts.
//  12. Unknown is not shown as absent: while the node cannot be observed, the report keeps the endpoints of the last
//     complete pass, with its time and the error.
//  13. A report has no secrets: no tokens, no environment, and of pods only names, addresses, states and times.
//
// Invariants of findings and metrics:
//
//  14. Whatever is wrong has a finding, in a scan's exit status as on the page. 'hnsguard explain' explains the objects
//     of every finding.
//  15. Gauges of a node's objects are counted from the report when they are scraped: they show what its readers see.
//  16. An Event on a problem says what the report says about it: see [Words].
package report
