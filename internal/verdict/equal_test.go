// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

func TestVerdictsAreEqualWithTheSameEvidenceOnly(t *testing.T) {
	g := NewWithT(t)
	made := func() verdict.Verdict {
		return verdict.Verdict{
			Endpoint: hns.Endpoint{
				ID: "e", Name: "Ethernet", Network: "n", Namespace: "c", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
				MAC: hns.MAC{2}, Flags: hns.FlagRemote,
			},
			Kind: verdict.Held, Reason: verdict.ReasonStaleRecord, Pods: []cluster.PodID{{UID: "p"}},
			Locals: []hns.EndpointID{"l"}, Listings: []cluster.Listing{{Backend: cluster.Backend{Node: "lin-1"}}},
			LoadBalancers: []hns.LoadBalancerID{"b"}, Elsewhere: []verdict.Claimant{{Node: "lin-1"}}, Due: now, Since: now,
			Keeps: []cluster.Keep{{Node: "win-1"}},
		}
	}
	g.Expect(made().Equal(made())).To(BeTrue())
	for name, change := range map[string]func(*verdict.Verdict){
		"kind":           func(v *verdict.Verdict) { v.Kind = verdict.Conflict },
		"reason":         func(v *verdict.Verdict) { v.Reason = verdict.ReasonMayRemember },
		"proof":          func(v *verdict.Verdict) { v.NeedsCurrentSlices = true },
		"due":            func(v *verdict.Verdict) { v.Due = now.Add(time.Second) },
		"since":          func(v *verdict.Verdict) { v.Since = now.Add(time.Second) },
		"pods":           func(v *verdict.Verdict) { v.Pods[0].UID = "q" },
		"locals":         func(v *verdict.Verdict) { v.Locals = nil },
		"listings":       func(v *verdict.Verdict) { v.Listings[0].Ready = true },
		"load balancers": func(v *verdict.Verdict) { v.LoadBalancers = append(v.LoadBalancers, "c") },
		"elsewhere":      func(v *verdict.Verdict) { v.Elsewhere[0].Node = "lin-2" },
		"keeps":          func(v *verdict.Verdict) { v.Keeps[0].Node = "win-2" },
		"endpoint":       func(v *verdict.Verdict) { v.Endpoint.ID = "f" },
		"name":           func(v *verdict.Verdict) { v.Endpoint.Name = "other" },
		"namespace":      func(v *verdict.Verdict) { v.Endpoint.Namespace = "" },
		"containers":     func(v *verdict.Verdict) { v.Endpoint.SharedContainers = 1 },
		"untranslated":   func(v *verdict.Verdict) { v.Endpoint.Untranslated = "odd" },
	} {
		changed := made()
		change(&changed)
		g.Expect(changed.Equal(made())).To(BeFalse(), name)
		g.Expect(made().Equal(changed)).To(BeFalse(), name)
	}

	// Whether a conflict is early is a part of the verdict.
	late, soon := conflicting().evidence(), early().evidence()
	is := func(v verdict.Verdict) bool { return v.Kind.Removes() }
	a, b := first(verdict.Decide(late), is), first(verdict.Decide(soon), is)
	b.Endpoint, b.Kind, b.Reason, b.Pods, b.Locals, b.Listings = a.Endpoint, a.Kind, a.Reason, a.Pods, a.Locals, a.Listings
	b.Elsewhere = a.Elsewhere
	b.NeedsCurrentSlices, b.Since, b.Due, b.LoadBalancers = a.NeedsCurrentSlices, a.Since, a.Due, a.LoadBalancers
	g.Expect(b.Early()).NotTo(Equal(a.Early()))
	g.Expect(a.Equal(b)).To(BeFalse())
}

func first(verdicts []verdict.Verdict, is func(verdict.Verdict) bool) verdict.Verdict {
	for _, v := range verdicts {
		if is(v) {
			return v
		}
	}
	return verdict.Verdict{}
}
