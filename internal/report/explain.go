// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Explain adds to a report what its verdicts mean and what the agent has done about the target, which the report was
// filtered by.
func (r Report) Explain(target Filter, past []history.Entry) Report {
	r.Target, r.Endpoints = target.name(), slices.Clone(r.Endpoints)
	if target.OrServices && len(r.Pods) == 0 {
		r.Target = "service " + target.Pods[0].String()
	}
	for i, row := range r.Endpoints {
		r.Endpoints[i].Answer = new(r.answerTo(row))
	}
	r.LoadBalancers = slices.Clone(r.LoadBalancers)
	for i, b := range r.LoadBalancers {
		r.LoadBalancers[i].Answer = new(b.answer(r.Modes["reprogram"]))
	}
	r.Summary = r.summarizeTarget()
	for _, entry := range past {
		if r.concerns(target, entry) {
			r.History = append(r.History, entry)
		}
	}
	return r
}

// name is what a target is called.
func (f Filter) name() string {
	switch {
	case len(f.Addresses) > 0:
		return "address " + f.Addresses[0].String()
	case len(f.Pods) > 0:
		return "pod " + f.Pods[0].String()
	default:
		return "endpoint " + string(f.Endpoint)
	}
}

// targetPods are the pods that an explanation is about: those that it names, or those without network that have an
// address of the target.
func (r Report) targetPods() []Pod {
	if len(r.Pods) > 0 {
		return r.Pods
	}
	return r.PodsWithoutNetwork
}

// summarizeTarget says first what a pod lacks, and then what the worst verdict comes to: it is that of the first row.
func (r Report) summarizeTarget() string {
	var said []string
	for _, p := range r.targetPods() {
		said = append(said, p.describe(r))
	}
	for _, b := range r.LoadBalancers {
		said = append(said, b.sentence())
	}
	for _, d := range r.Duplicates {
		said = append(said, capital(d.String())+".")
	}
	said = slices.DeleteFunc(said, func(s string) bool { return s == "" })
	headline := r.headline()
	switch {
	case len(said) == 0:
		return headline
	case len(r.Endpoints) > 0 && r.Endpoints[0].headline(r.KubeProxy) != "":
		said = append(said, "Of its address here: "+headline)
	}
	return strings.Join(said, " ")
}

// headline says what the verdicts on endpoints come to.
func (r Report) headline() string {
	switch {
	case len(r.Endpoints) > 0:
		return cmp.Or(r.Endpoints[0].headline(r.KubeProxy), "Nothing is wrong with the endpoints of this address.")
	case len(r.LoadBalancers) > 0:
		return "Nothing is wrong with the load balancers of this Service."
	case strings.HasPrefix(r.Target, "service "):
		return "HNS on this node has no load balancer of this Service that is known."
	default:
		return "HNS on this node has no such endpoint."
	}
}

// headline says what a verdict comes to. It is empty if nothing is wrong.
func (r Row) headline(k KubeProxy) string {
	switch kind, reason := verdict.Kind(r.Verdict), verdict.Reason(r.Reason); {
	case kind == verdict.OrphanPending && r.undecided():
		return "Whether the address is still used is unknown. " + r.Because
	case kind == verdict.Orphan, kind == verdict.OrphanPending:
		return "The address is not used any more. " + r.Next
	case kind.Stale():
		return "A stale remote endpoint conflicts with a pod on this node. " + r.Next
	case reason == verdict.ReasonNoLocalEndpoint, reason == verdict.ReasonLocalUnclaimed, reason == verdict.ReasonOfNode,
		reason.LeftBehind():
		return r.Because
	case kind == verdict.Contested:
		return "Ownership of the address is ambiguous; hnsguard keeps the endpoint."
	case kind == verdict.LeakedLocal:
		return "A local endpoint was left behind on this node. The remote one is valid, and hnsguard keeps it" +
			k.besideLeaked() + "."
	case reason == verdict.ReasonLocalLeaked:
		return "A local endpoint was left behind on this node, and another node uses its address: this node cannot reach " +
			"that pod."
	case kind == KindUnknown:
		return "Something that the verdict needs is unknown."
	default:
		return ""
	}
}

// besideLeaked says what a kube-proxy does with the valid endpoint beside a leaked one. The versions that keep no
// duplicates take the local endpoint for the right one.
func (k KubeProxy) besideLeaked() string {
	if !k.Known || slices.Contains(k.Faults, "duplicates") {
		return ""
	}
	return ", but this kube-proxy deletes it once and builds load balancers on the local one"
}

// concerns reports whether an entry is about the target, or about an address of it. An endpoint that is gone by now is
// found by its address.
func (r Report) concerns(target Filter, entry history.Entry) bool {
	return slices.Contains(target.Addresses, entry.Address) ||
		target.Endpoint != "" && strings.EqualFold(string(entry.Endpoint), string(target.Endpoint)) ||
		len(target.Pods) > 0 && slices.Contains(entry.Pods, target.Pods[0].String()) ||
		slices.ContainsFunc(r.Endpoints, func(row Row) bool {
			return row.ID == entry.Endpoint && row.ID != "" || slices.Contains(row.Addresses, entry.Address)
		})
}

// sentence says what an entry is about in a line.
func sentence(e history.Entry) string {
	what := string(e.Act)
	if e.Result != "" {
		what += " " + e.Result
	}
	if e.Verdict != "" {
		what += ": " + string(e.Verdict)
		if e.Reason != "" {
			what += " (" + string(e.Reason) + ")"
		}
	}
	for _, more := range []struct{ name, value string }{
		{"endpoint", string(e.Endpoint)}, {"of", e.Subject}, {"pods", strings.Join(e.Pods, " ")},
	} {
		if more.value != "" {
			what += ", " + more.name + " " + more.value
		}
	}
	if e.Count > 1 {
		what += fmt.Sprintf(", %d times since %s", e.Count, moment(e.First))
	}
	if e.AfterSeconds > 0 {
		what += fmt.Sprintf(", after %v s", e.AfterSeconds)
	}
	if e.Detail != "" {
		what += "; " + e.Detail
	}
	return what
}
