// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Explain adds to a report the meaning of its verdicts, and what the agent has done about the target. The report was
// filtered by the target.
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
		r.LoadBalancers[i].Answer = new(b.answer(r.Modes["reprogram"]).ofBalancer(b))
	}
	r.Summary = r.summarizeTarget()
	for _, entry := range past {
		if r.concerns(target, entry) {
			r.History = append(r.History, entry)
		}
	}
	r.Summary = strings.TrimSpace(r.Summary + " " + r.whoDeleted())
	return r
}

// whoDeleted names the deletion by kube-proxy that took a pod's endpoint. A deletion before the pod started concerned
// another endpoint.
func (r Report) whoDeleted() string {
	for _, pod := range r.Pods {
		for _, e := range r.History {
			if pod.State.LacksNetwork() && e.Result == recording.ProxyDeleted && slices.Contains(pod.Addresses, e.Address) &&
				e.Last.After(pod.Started) {
				return fmt.Sprintf("kube-proxy deleted the endpoint %s with the address %s at %s, by its log.",
					e.Endpoint, e.Address, moment(e.Last))
			}
		}
	}
	return ""
}

// name returns the name of the target.
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

// summarizeTarget says what is wrong with the target, or else what is known about it.
func (r Report) summarizeTarget() string {
	var said []string
	for _, p := range r.Pods {
		if !p.lacks() {
			said = append(said, p.describe(r))
		}
	}
	for _, f := range r.Findings {
		said = append(said, f.Because, f.outlook())
	}
	said = slices.DeleteFunc(said, func(s string) bool { return s == "" })
	if len(r.Findings) == 0 && (len(said) == 0 || len(r.Endpoints) > 0) {
		said = append(said, r.calm())
	}
	return strings.Join(said, " ")
}

// outlook returns what hnsguard does next, or what to do if only the user can act.
func (f Finding) outlook() string {
	if f.Kind == FindingPod || f.Kind == FindingNetwork || f.Next == nothing {
		return f.Do
	}
	return f.Next
}

// calm describes a target with which nothing is wrong.
func (r Report) calm() string {
	switch {
	case len(r.Endpoints) > 0:
		first := r.Endpoints[0]
		if first.Verdict == verdict.InUse || first.Reason == verdict.ReasonLocalPod {
			return "Nothing is wrong with the endpoints of this address. " + first.Because
		}
		return first.Because
	case len(r.LoadBalancers) > 0:
		return "Nothing is wrong with the load balancers of this Service."
	case strings.HasPrefix(r.Target, "service "):
		return "HNS on this node has no load balancer of this Service that is known."
	default:
		return "HNS on this node has no such endpoint."
	}
}

// concerns reports whether an entry is about the target, or about one of its addresses: the endpoint itself may be
// gone.
func (r Report) concerns(target Filter, entry history.Entry) bool {
	return slices.Contains(target.Addresses, entry.Address) ||
		target.hasID(entry.Endpoint) ||
		slices.ContainsFunc(target.Pods, func(name types.NamespacedName) bool {
			return entry.Subject == name.String() || slices.Contains(entry.Pods, name.String())
		}) ||
		slices.ContainsFunc(r.Pods, func(p Pod) bool { return slices.Contains(p.Addresses, entry.Address) }) ||
		slices.ContainsFunc(r.Endpoints, func(row Endpoint) bool {
			return row.ID == entry.Endpoint && row.ID != "" || slices.Contains(row.Addresses, entry.Address)
		})
}

// sentence describes an entry in a line.
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
