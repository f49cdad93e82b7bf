// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/verdict"
)

// FindingKind is the kind of a finding's objects.
type FindingKind string

// The kinds, most urgent first.
const (
	FindingNetwork      FindingKind = "network"
	FindingPod          FindingKind = "pod"
	FindingLoadBalancer FindingKind = "load_balancer"
	FindingEndpoint     FindingKind = "endpoint"
	FindingAddress      FindingKind = "address"
)

// Finding is a problem of the node, with all affected objects.
type Finding struct {
	Kind FindingKind `json:"kind"`
	// Reason is the state of the pods, the verdict on the load balancers, or the reason of the verdict on the endpoints.
	Reason string `json:"reason"`
	// Title names the problem in a few words, with the number of objects.
	Title string `json:"title"`
	// Objects are the arguments that 'hnsguard explain' accepts: addresses of endpoints, pods, and Services. A load
	// balancer without a Service is named by its frontend.
	Objects []string `json:"objects,omitempty"`
	// Since is when the problem began, if known: an agent knows when it first found it.
	Since time.Time `json:"since,omitzero"`
	Answer
}

// String returns the finding in a line, with its first objects.
func (f Finding) String() string {
	if f.Kind == FindingNetwork {
		return f.Title
	}
	const most = 3
	return f.Title + ": " + enumerate(f.Objects, most)
}

// enumerate lists names. It names at most one more than the limit, and counts the rest.
func enumerate(names []string, most int) string {
	if len(names) > most+1 {
		return fmt.Sprintf("%s and %d others", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// findings collects problems. Objects with the same problem share a finding.
type findings struct {
	all []finding
	at  map[findingKey]int
}

// finding is an incomplete finding. Its title has a tilde in place of the plural's ending.
type finding struct {
	Finding
	count int
	title string
	// one returns the answer for a single object, and all for several.
	one, all func() Answer
}

type findingKey struct {
	kind            FindingKind
	reason, variant string
}

// add adds an object to the finding with the key. If it is the first, it adds the finding.
func (f *findings) add(key findingKey, object string, since time.Time, first finding) {
	at, has := f.at[key]
	if !has {
		at = len(f.all)
		first.Kind, first.Reason, first.Since = key.kind, key.reason, since
		f.at[key], f.all = at, append(f.all, first)
	}
	found := &f.all[at]
	found.count++
	if since.Before(found.Since) {
		found.Since = since
	}
	if object != "" && !slices.Contains(found.Objects[max(0, len(found.Objects)-1):], object) {
		found.Objects = append(found.Objects, object)
	}
}

// complete returns the findings with their titles and answers.
func (f *findings) complete() []Finding {
	complete := make([]Finding, 0, len(f.all))
	for _, found := range f.all {
		if found.Title = found.title; found.Kind != FindingNetwork {
			found.Title = plural(found.count, found.title)
		}
		if found.Answer = found.one(); found.count > 1 {
			found.Answer = found.all()
		}
		complete = append(complete, found.Finding)
	}
	return complete
}

// find adds findings for the problems of the report's objects, and for a missing network that pods need.
func (r *Report) find(networkGone bool) {
	f := findings{at: map[findingKey]int{}}
	if networkGone {
		f.add(findingKey{kind: FindingNetwork, reason: "gone"}, "", time.Time{}, finding{
			title: "pod network gone", one: func() Answer {
				return Answer{
					"HNS has no pod network, and pods on this node need one.",
					"hnsguard looks for it in every pass.", "Drain the node and restart it.",
				}
			},
		})
	}
	for _, p := range r.Pods {
		if p.lacks() {
			generic := func() Answer { return r.answerToPods(p.State, networkGone) }
			f.add(findingKey{kind: FindingPod, reason: string(p.State)}, p.Name, p.since(), finding{
				title: p.title(), all: generic, one: func() Answer { return generic().ofPod(p) },
			})
		}
	}
	for _, b := range r.LoadBalancers {
		if b.Verdict.Broken() {
			generic := func() Answer { return b.answer(r.Modes["reprogram"]) }
			f.add(b.key(), b.target(), time.Time{}, finding{
				title: b.title(), all: generic, one: func() Answer { return generic().ofBalancer(b) },
			})
		}
	}
	r.findEndpoints(&f)
	for _, d := range duplicatesOf(r.Endpoints) {
		f.add(findingKey{FindingAddress, "shared", d.Address.String()}, d.Address.String(), time.Time{},
			finding{title: "address~ of several endpoints", one: d.answer})
	}
	r.Findings = f.complete()
}

// findEndpoints counts endpoints, and adds findings for their problems.
func (r *Report) findEndpoints(f *findings) {
	r.Removable, r.Undecided = 0, 0
	for _, e := range r.Endpoints {
		if e.removable() {
			r.Removable++
		}
		if e.undecided() {
			r.Undecided++
		}
		if title := e.title(); title != "" {
			f.add(findingKey{kind: FindingEndpoint, reason: string(e.Reason)}, e.target(), e.StaleSince, finding{
				title: title, one: func() Answer { return r.answerTo(e) },
				all: func() Answer { return r.answer(e.Verdict, e.Reason) },
			})
		}
	}
}

// title returns the title of the finding about such endpoints; empty if nothing is wrong.
func (e Endpoint) title() string {
	switch {
	case e.Verdict == verdict.Orphan:
		return "remote endpoint~ without use"
	case e.Verdict.Removes():
		return "stale remote endpoint~"
	case e.Verdict == verdict.Held:
		return "stale remote endpoint~ held"
	case e.Verdict == verdict.Contested:
		return "contested remote endpoint~"
	case e.Reason == verdict.ReasonLocalLeaked:
		return "leaked local endpoint~"
	case e.Reason == verdict.ReasonOfNode && len(e.Pods) > 0:
		return "address~ of the node that a pod has too"
	case e.Reason.LeftBehind():
		return "local endpoint~ left behind"
	default:
		return ""
	}
}

// plural returns a number of things. Their name has a tilde in place of the plural's ending.
func plural(n int, name string) string {
	ending := ""
	if n != 1 {
		ending = "s"
		if strings.Contains(name, "s~") {
			ending = "es"
		}
	}
	return fmt.Sprintf("%d %s", n, strings.Replace(name, "~", ending, 1))
}
