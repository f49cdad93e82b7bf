// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/terminal"
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
	Summary string `json:"summary"`
	// Mode is the mode of the configuration, and Modes what follows for each class of acts.
	Mode  string            `json:"mode"`
	Modes map[string]string `json:"modes"`
	// Pods are the pod that was asked about, or the pods without network that have an address of the target.
	Pods      []Pod       `json:"pods,omitempty"`
	Endpoints []Explained `json:"endpoints"`
	// History is what the agent has decided and done about the target lately, the last first.
	History []history.Entry `json:"history,omitempty"`
	Notes   []string        `json:"notes,omitempty"`
}

// Explained is one endpoint with its answer.
type Explained struct {
	Row
	Answer
}

// Target is what is asked about: an address, an endpoint or a pod. Only one of them is set.
type Target struct {
	Address netip.Addr
	ID      hns.EndpointID
	Pod     types.NamespacedName
}

// ParseTarget reads a target as it is given on a command line.
func ParseTarget(text string) (Target, error) {
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
func (t Target) selects(r Row, all []Row) bool {
	switch {
	case t.Address.IsValid():
		return slices.Contains(r.Addresses, t.Address)
	case t.Pod.Name != "":
		return true // the scan has selected them
	default:
		return slices.ContainsFunc(all, func(o Row) bool {
			return strings.EqualFold(string(o.ID), string(t.ID)) && (o.ID == r.ID || share(o, r))
		})
	}
}

func share(a, b Row) bool {
	return slices.ContainsFunc(a.Addresses, func(addr netip.Addr) bool { return slices.Contains(b.Addresses, addr) })
}

// Explain explains what a report says of the target. Of what the agent has done in the past, it tells what concerns the
// target.
func Explain(t Target, report Report, past []history.Entry) Explanation {
	e := Explanation{
		Target: t.String(), Node: report.Node, KubeProxy: report.DescribeKubeProxy(), Endpoints: []Explained{},
		Notes: report.Notes, Mode: report.Mode, Modes: report.Modes,
	}
	for _, row := range report.Endpoints {
		if !t.selects(row, report.Endpoints) {
			continue
		}
		e.Endpoints = append(e.Endpoints, Explained{row, answerTo(row, report)})
	}
	e.Pods = e.podsOf(t, report)
	e.Summary = e.summarize(t, report)
	e.History = e.concerning(t, past)
	return e
}

// Print writes the explanation as text.
func (e Explanation) Print(w io.Writer) error {
	page := terminal.NewPage(w)
	page.Printf("%s, seen from node %s\nkube-proxy %s, mode: %s\n\n", capital(e.Target), e.Node, e.KubeProxy, e.Mode)
	page.Paragraph("", e.Summary)
	for _, p := range e.Pods {
		printPod(page, p)
	}
	for _, endpoint := range e.Endpoints {
		endpoint.print(page)
	}
	printHistory(page, e.History)
	if len(e.Notes) > 0 {
		page.Printf("\n")
	}
	for _, note := range e.Notes {
		page.Paragraph("Note: ", note+".")
	}
	return page.Flush()
}

func printPod(page *terminal.Page, p Pod) {
	node := p.Node
	if p.NodeOS != "" {
		node += " (" + p.NodeOS + ")"
	}
	page.Printf("\nPod %s\n", p.Name)
	line(page, "node", node)
	line(page, "phase", p.Phase)
	line(page, "addresses", joined(p.Addresses))
	line(page, "endpoint", string(p.State))
}

// line prints a property of a pod or an endpoint. An empty one is left out.
func line(page *terminal.Page, name, value string) {
	if value != "" {
		page.Paragraph(fmt.Sprintf("  %-15s ", name), value)
	}
}

func (e Explained) print(page *terminal.Page) {
	page.Printf("\n%s endpoint %s\n", capital(e.Kind), e.ID)
	for _, property := range []struct{ name, value string }{
		{"addresses", joined(e.Addresses)},
		{"made by", e.Owner},
		{"pods", strings.Join(e.Pods, ", ")},
		{"slices", strings.Join(e.Slices, ", ")},
		{"same address", joined(e.Locals)},
		{"load balancers", joined(e.LoadBalancers)},
		{"verdict", e.Verdict + " (" + e.Reason + ")"},
		{"because", e.Because},
		{"next", e.Next},
		{"what to do", e.Do},
	} {
		line(page, property.name, property.value)
	}
}

func joined[T any](values []T) string {
	texts := make([]string, 0, len(values))
	for _, v := range values {
		texts = append(texts, fmt.Sprint(v))
	}
	return strings.Join(texts, ", ")
}
