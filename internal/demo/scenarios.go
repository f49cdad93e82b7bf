// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"net/netip"
	"time"
)

// scenario is one incident.
type scenario struct {
	name, title string
	// kubeProxy is the version that the node runs.
	kubeProxy string
	steps     []step
	// stays and goes are the endpoints, by the names that the steps gave them, that have to be there at the end, and must
	// not be.
	stays, goes []string
	// outcome is what to say of it then, unless it is plain which endpoints went.
	outcome string
}

// step is something that an actor does, some time after the step before.
type step struct {
	after time.Duration
	do    func(ctx context.Context, s *stage) error
}

// reused is the address that the scenarios are about, and neighbor one that has nothing to do with them.
func reused() netip.Addr   { return netip.AddrFrom4([4]byte{10, 244, 1, 17}) }
func neighbor() netip.Addr { return netip.AddrFrom4([4]byte{10, 244, 2, 9}) }

// grace is the orphans' grace period in the demo; nobody should watch it for five minutes.
const grace = 3 * time.Second

// Names lists the scenarios in the order in which "all" plays them.
func Names() []string {
	names := make([]string, 0, len(scenarios()))
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	return names
}

func scenarios() []scenario {
	return []scenario{incident(), staleRecord(), held(), orphan(), leakedLocal()}
}

// healthy is a backend on another node that has nothing to do with the incident: its endpoint has to stay.
func healthy(ctx context.Context, s *stage) error {
	return s.linuxPodServes(ctx, "neighbor", "search", linuxNode, neighbor())
}

// The steps that several scenarios have in common: a Linux pod of Service cart, and the Windows pod billing-0 that
// gets its address.

func cartServes(ctx context.Context, s *stage) error {
	return s.linuxPodServes(ctx, "stale", "cart", linuxNode, reused())
}

func cartGoes(ctx context.Context, s *stage) error { return s.drops(ctx, "cart") }

func billingStarts(ctx context.Context, s *stage) error {
	return s.windowsPodStarts(ctx, "local", "billing-0", reused())
}

func billingReports(ctx context.Context, s *stage) error {
	return s.podReportsAddress(ctx, "billing-0", reused())
}

// incident is the one that hnsguard was made for.
func incident() scenario {
	return scenario{
		name: "incident", title: "a Windows pod gets the address of a Linux pod, whose remote endpoint was forgotten",
		kubeProxy: "v1.34.0",
		steps: []step{
			{0, healthy},
			{time.Second, cartServes},
			{1500 * time.Millisecond, cartGoes},
			{1500 * time.Millisecond, billingStarts},
			{time.Second, billingReports},
			{time.Second, nothing},
		},
		stays: []string{"neighbor", "local"}, goes: []string{"stale"},
	}
}

// staleRecord is the bug that users report: no endpoint is left that could be removed.
func staleRecord() scenario {
	return scenario{
		name: "stale-record", title: "everything is done properly, and yet kube-proxy would delete the pod's own endpoint",
		kubeProxy: "v1.32.3",
		steps: []step{
			{0, healthy},
			{time.Second, cartServes},
			{1500 * time.Millisecond, func(ctx context.Context, s *stage) error {
				return s.dropsProperly(ctx, "stale", "cart", reused())
			}},
			{2 * time.Second, billingStarts},
			{time.Second, billingReports},
			{time.Second, func(ctx context.Context, s *stage) error { return s.syncs(ctx, reused()) }},
		},
		stays: []string{"neighbor", "local"}, goes: []string{"stale"},
		outcome: "kube-proxy's record was flushed in time, and the pod has its endpoint.",
	}
}

// held is the same on a kube-proxy that would delete the pod's endpoint if the remote one went too early.
func held() scenario {
	return scenario{
		name: "held", title: "the address is reused while a slice still lists it, on a kube-proxy with the stale record",
		kubeProxy: "v1.32.3",
		steps: []step{
			{0, healthy},
			{time.Second, cartServes},
			{time.Second, func(ctx context.Context, s *stage) error { return s.terminates(ctx, "cart", linuxNode, reused()) }},
			{time.Second, billingStarts},
			{time.Second, billingReports},
			{2 * time.Second, cartGoes},
			{time.Second, nothing},
		},
		stays: []string{"neighbor", "local"}, goes: []string{"stale"},
	}
}

// orphan is an endpoint that nobody uses any more.
func orphan() scenario {
	return scenario{
		name: "orphan", title: "a forgotten remote endpoint that nobody uses goes after the grace period (here 3s)",
		kubeProxy: "v1.34.0",
		steps: []step{
			{0, healthy},
			{time.Second, cartServes},
			{time.Second, cartGoes},
			{grace + 2*time.Second, nothing},
		},
		stays: []string{"neighbor"}, goes: []string{"stale"},
	}
}

// leakedLocal is the case in which a naive cleaner deletes the wrong endpoint.
func leakedLocal() scenario {
	return scenario{
		name: "leaked-local", title: "a CNI left a local endpoint behind; the remote one of that address is valid and stays",
		kubeProxy: "v1.34.0",
		steps: []step{
			{0, healthy},
			{time.Second, func(_ context.Context, s *stage) error {
				return s.localEndpoint("leaked", "gone-0", reused(), false)
			}},
			{time.Second, func(ctx context.Context, s *stage) error {
				return s.linuxPodServes(ctx, "valid", "cart", otherNode, reused())
			}},
			{grace + 2*time.Second, nothing},
		},
		stays: []string{"neighbor", "leaked", "valid"},
	}
}

// nothing is the time in which the guard does its work.
func nothing(context.Context, *stage) error { return nil }
