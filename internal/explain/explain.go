// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/scan"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Explanation is what is to be said about a target. Its JSON form is for scripts: fields may be added, but do not
// change.
type Explanation struct {
	// Target is what was asked about.
	Target string `json:"target"`
	Node   string `json:"node"`
	// KubeProxy is the version of the node's kube-proxy and its faults, in words.
	KubeProxy string `json:"kubeProxy"`
	// Summary is the whole in a sentence or two.
	Summary   string     `json:"summary"`
	Endpoints []Endpoint `json:"endpoints"`
	Notes     []string   `json:"notes,omitempty"`
}

// Endpoint is one endpoint with its answer.
type Endpoint struct {
	scan.Row
	Answer
}

// Target is what is asked about: an address, an endpoint or a pod. Only one of them is set.
type Target struct {
	Address netip.Addr
	ID      hns.EndpointID
	Pod     types.NamespacedName
}

// Parse reads a target as it is given on a command line.
func Parse(text string) (Target, error) {
	if addr, err := hns.ParseAddr(text); err == nil {
		return Target{Address: addr}, nil
	}
	if namespace, name, isPod := strings.Cut(text, "/"); isPod {
		if namespace == "" || name == "" || strings.Contains(name, "/") {
			return Target{}, fmt.Errorf("%q: a pod must be given as NAMESPACE/NAME", text)
		}
		return Target{Pod: types.NamespacedName{Namespace: namespace, Name: name}}, nil
	}
	const guid = 36
	if len(text) != guid || strings.Count(text, "-") != 4 {
		return Target{}, fmt.Errorf("%q: must be an IP address, the ID of an endpoint, or a pod as NAMESPACE/NAME", text)
	}
	return Target{ID: hns.EndpointID(strings.ToLower(text))}, nil
}

func (t Target) String() string {
	switch {
	case t.Address.IsValid():
		return "address " + t.Address.String()
	case t.Pod.Name != "":
		return "pod " + t.Pod.String()
	default:
		return "endpoint " + string(t.ID)
	}
}

// selects reports whether a row is about the target. Endpoints that share an address with it belong together.
func (t Target) selects(r scan.Row, all []scan.Row) bool {
	switch {
	case t.Address.IsValid():
		return slices.Contains(r.Addresses, t.Address)
	case t.Pod.Name != "":
		return true // the scan has selected them
	default:
		return slices.ContainsFunc(all, func(o scan.Row) bool {
			return strings.EqualFold(string(o.ID), string(t.ID)) && (o.ID == r.ID || share(o, r))
		})
	}
}

func share(a, b scan.Row) bool {
	return slices.ContainsFunc(a.Addresses, func(addr netip.Addr) bool { return slices.Contains(b.Addresses, addr) })
}

// Explain explains what a report says of the target.
func Explain(t Target, report scan.Report) Explanation {
	e := Explanation{
		Target: t.String(), Node: report.Node, KubeProxy: report.DescribeKubeProxy(), Endpoints: []Endpoint{},
		Notes: report.Notes,
	}
	for _, row := range report.Endpoints {
		if !t.selects(row, report.Endpoints) {
			continue
		}
		answer, known := answerFor(verdict.Kind(row.Verdict), row.Reason)
		if !known {
			answer = undecided(row.Reason)
		}
		if verdict.Kind(row.Verdict).Removes() && slices.Contains(report.KubeProxyFaults, "stale-record") {
			answer.Next = afterTheHold
		}
		e.Endpoints = append(e.Endpoints, Endpoint{row, answer})
	}
	e.Summary = e.summarize(t)
	return e
}

// summarize says the whole in a sentence, the worst first.
func (e Explanation) summarize(t Target) string {
	isPod := t.Pod.Name != ""
	hasLocal := slices.ContainsFunc(e.Endpoints, func(e Endpoint) bool { return e.Kind == "local" })
	switch {
	case len(e.Endpoints) == 0 && isPod:
		return "HNS has no endpoint of this pod: it has no network on this node, or has no address yet. If it runs, " +
			"delete it: its replacement gets an endpoint."
	case len(e.Endpoints) == 0:
		return "HNS of this node has no such endpoint."
	case isPod && !hasLocal:
		return "The pod has no local endpoint, and so no network. Delete it: its replacement gets one."
	}
	for _, s := range summaries() {
		applies := func(e Endpoint) bool { return slices.Contains(s.kinds, verdict.Kind(e.Verdict)) }
		if slices.ContainsFunc(e.Endpoints, applies) {
			return s.text
		}
	}
	return "Nothing is wrong with the endpoints of this address."
}

// summary is what it comes to if an endpoint has one of the verdicts.
type summary struct {
	kinds []verdict.Kind
	text  string
}

func summaries() []summary {
	return []summary{
		{
			[]verdict.Kind{verdict.Conflict, verdict.EarlyConflict},
			"A stale remote endpoint is in the way of a pod of this node. hnsguard removes it, see below.",
		},
		{
			[]verdict.Kind{verdict.Held},
			"A stale remote endpoint is in the way of a pod of this node. hnsguard holds it for now, since kube-proxy would " +
				"delete the pod's own endpoint otherwise.",
		},
		{[]verdict.Kind{verdict.Contested}, "Whose the address is cannot be told now. Nothing is removed."},
		{
			[]verdict.Kind{verdict.LeakedLocal},
			"A local endpoint was left behind on this node. The remote one is right, and stays.",
		},
		{[]verdict.Kind{scan.KindUnknown}, "Something that the verdict needs is not known."},
		{[]verdict.Kind{verdict.Orphan, verdict.OrphanPending}, "Nobody uses the address any more."},
	}
}

// Print writes the explanation as text.
func (e Explanation) Print(w io.Writer) error {
	out := &strings.Builder{}
	fmt.Fprintf(out, "%s on node %s, kube-proxy %s\n\n%s\n", capital(e.Target), e.Node, e.KubeProxy, e.Summary)
	for _, endpoint := range e.Endpoints {
		endpoint.print(out)
	}
	if len(e.Notes) > 0 {
		fmt.Fprintln(out)
	}
	for _, note := range e.Notes {
		fmt.Fprintf(out, "Note: %s.\n", note)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (e Endpoint) print(out io.Writer) {
	line := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(out, "  %-15s %s\n", name, wrap(value))
		}
	}
	_, _ = fmt.Fprintf(out, "\n%s endpoint %s\n", capital(e.Kind), e.ID)
	line("addresses", joined(e.Addresses))
	line("made by", e.Owner)
	line("pods", strings.Join(e.Pods, ", "))
	line("slices", strings.Join(e.Slices, ", "))
	line("same address", joined(e.Locals))
	line("load balancers", joined(e.LoadBalancers))
	line("verdict", e.Verdict+" ("+e.Reason+")")
	line("because", e.Because)
	line("next", e.Next)
	line("what to do", e.Do)
}

func joined[T any](values []T) string {
	texts := make([]string, 0, len(values))
	for _, v := range values {
		texts = append(texts, fmt.Sprint(v))
	}
	return strings.Join(texts, ", ")
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// width is how many columns of text stand beside the names of lines.
const width = 96

// wrap breaks a text into lines below each other, which are indented as far as the first.
func wrap(text string) string {
	indent := "\n" + strings.Repeat(" ", 18)
	var out strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case column+1+len(word) > width:
			out.WriteString(indent)
			column = 0
		default:
			out.WriteByte(' ')
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	return out.String()
}
