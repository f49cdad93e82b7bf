// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hnsguard/hnsguard/internal/verdict"
)

// answerTo returns what the verdict on an endpoint means on this node, in this mode.
func answerTo(row Row, r Report) Answer {
	kind, reason := verdict.Kind(row.Verdict), verdict.Reason(row.Reason)
	answer, known := AnswerFor(kind, reason)
	if !known {
		return undecided(row.Reason)
	}
	remembers := slices.Contains(r.KubeProxyFaults, "stale-record")
	if kind.Removes() && remembers {
		answer.Next = afterTheHold
	}
	if reason == verdict.ReasonLivePod {
		answer.Do = askForTheBrake(row)
	}
	if reason == verdict.ReasonStaleRecord {
		answer.Do = findOutWhyListed(row, r.Node) + " Lasting cure: " + lower(upgrade())
	}
	if setting := r.Observes(kind); setting != "" && kind.Stale() {
		answer = observed(answer, kind, setting, remembers)
	}
	return answer
}

// askForTheBrake names the command that shows why an endpoint is not removed: brakes are in the agent's memory.
func askForTheBrake(row Row) string {
	return fmt.Sprintf("If it stays, ask the agent on this node which brake keeps it: "+
		"kubectl -n hnsguard-system exec POD -- hnsguard.exe explain %s", about(row))
}

// about is the target that an endpoint is explained by.
func about(row Row) string {
	if len(row.Addresses) > 0 {
		return row.Addresses[0].String()
	}
	return string(row.ID)
}

// findOutWhyListed names the EndpointSlices because of which an endpoint is held.
func findOutWhyListed(row Row, node string) string {
	var places []string
	for _, listed := range row.Slices {
		slice, where := PlaceOf(listed)
		switch where {
		case node:
		case "":
			places = append(places, fmt.Sprintf("EndpointSlice %s still lists it, for no node", slice))
		default:
			places = append(places, fmt.Sprintf("EndpointSlice %s still lists it for node %s", slice, where))
		}
	}
	if len(places) == 0 {
		return "Find out why an EndpointSlice still lists it elsewhere (a pod stuck in Terminating?)."
	}
	return "Find out why " + strings.Join(places, ", and ") + " (a pod stuck in Terminating?)."
}

// observed is the answer if hnsguard may not remove the endpoint.
func observed(a Answer, kind verdict.Kind, setting string, remembers bool) Answer {
	a.Next = fmt.Sprintf("hnsguard would remove it; it only observes (%s).", setting)
	if kind == verdict.Held {
		a.Next = fmt.Sprintf("hnsguard would hold it until kube-proxy has forgotten the address, and then remove it; it "+
			"only observes (%s), and flushes nothing: the hold ends when another EndpointSlice changes.", setting)
	}
	if kind.Removes() {
		name, _, _ := strings.Cut(setting, ":")
		a.Do = fmt.Sprintf("To let hnsguard remove it, set %s in its configuration to enforce.", name)
	}
	if remembers {
		a.Next += " Do not delete it by hand: kube-proxy may remember the address, and would delete the pod's own endpoint."
	}
	return a
}

func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }
