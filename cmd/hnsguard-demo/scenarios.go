// SPDX-License-Identifier: Apache-2.0

package main

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
	// stays and goes name the endpoints that must exist at the end, and those that must not.
	stays, goes []string
	// outcome describes a good end, if the list of removed endpoints does not.
	outcome string
	// loss describes the end without hnsguard. A scenario without it ends well in any case.
	loss string
}

// step is something that an actor does some time after the previous step.
type step struct {
	after time.Duration
	do    func(ctx context.Context, s *stage) error
}

// reused is the address that the scenarios are about; neighbor is an unrelated one.
func reused() netip.Addr   { return netip.AddrFrom4([4]byte{10, 244, 1, 17}) }
func neighbor() netip.Addr { return netip.AddrFrom4([4]byte{10, 244, 2, 9}) }

// grace is the orphan grace period of the demo, instead of the default of five minutes.
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

// healthy adds an unrelated backend on another node. Its endpoint must stay.
func healthy(ctx context.Context, s *stage) error {
	return s.linuxPodServes(ctx, "neighbor", "search", linuxNode, neighbor())
}

// The steps that several scenarios share: a Linux pod of Service cart, and the Windows pod billing-0 that gets its
// address.

func cartServes(ctx context.Context, s *stage) error {
	return s.linuxPodServes(ctx, "stale", "cart", linuxNode, reused())
}

func cartGoes(ctx context.Context, s *stage) error { return s.drops(ctx, "cart") }

func billingScheduled(ctx context.Context, s *stage) error {
	return s.windowsPodScheduled(ctx, "billing-0")
}

func billingStarts(_ context.Context, s *stage) error {
	return s.localEndpoint("local", "billing-0", reused(), true)
}

func billingReports(ctx context.Context, s *stage) error {
	return s.podReportsAddress(ctx, "billing-0", reused())
}

// incident is the case that hnsguard was written for.
func incident() scenario {
	return scenario{
		name: "incident", title: "a Windows pod gets the address of a Linux pod, whose remote endpoint was left behind",
		kubeProxy: "v1.34.0",
		steps: []step{
			{0, healthy},
			{time.Second, cartServes},
			{1500 * time.Millisecond, cartGoes},
			{1500 * time.Millisecond, billingScheduled},
			{time.Second, billingStarts},
			{time.Second, billingReports},
			{time.Second, nothing},
		},
		stays: []string{"neighbor", "local"}, goes: []string{"stale"},
		loss: "10.244.1.17 has two endpoints on win-1: connections to pod billing-0 may be sent to the pod that is gone.",
	}
}

// staleRecord is the bug that users report. There is no stale endpoint to remove.
func staleRecord() scenario {
	return scenario{
		name: "stale-record", title: "everything is cleaned up, and still kube-proxy would delete the new pod's own endpoint",
		kubeProxy: "v1.32.3",
		steps: []step{
			{0, healthy},
			{time.Second, cartServes},
			{1500 * time.Millisecond, func(ctx context.Context, s *stage) error {
				return s.dropsProperly(ctx, "stale", "cart", reused())
			}},
			{2 * time.Second, billingScheduled},
			{time.Second, billingStarts},
			{time.Second, billingReports},
			{time.Second, func(ctx context.Context, s *stage) error { return s.syncs(ctx, reused()) }},
		},
		stays: []string{"neighbor", "local"}, goes: []string{"stale"},
		outcome: "hnsguard flushed kube-proxy's record in time; pod billing-0 still has its endpoint.",
		loss:    "kube-proxy deleted the local endpoint of pod billing-0: the pod runs without any network.",
	}
}

// held is a conflict on a kube-proxy that would delete the pod's endpoint if the remote one were removed too early.
func held() scenario {
	return scenario{
		name: "held", title: "the address is reused while a slice still lists it, on a kube-proxy with the stale record; " +
			"the hold is shortened from the usual 7 to 12 minutes to seconds",
		kubeProxy: "v1.32.3",
		steps: []step{
			{0, healthy},
			{time.Second, cartServes},
			{time.Second, func(ctx context.Context, s *stage) error { return s.terminates(ctx, "cart", linuxNode, reused()) }},
			{time.Second, billingScheduled},
			{time.Second, billingStarts},
			{time.Second, billingReports},
			{2 * time.Second, cartGoes},
			{time.Second, nothing},
		},
		stays: []string{"neighbor", "local"}, goes: []string{"stale"},
		loss: "10.244.1.17 has two endpoints on win-1: connections to pod billing-0 may be sent to the pod that is gone.",
	}
}

// orphan is a remote endpoint that is no longer in use.
func orphan() scenario {
	return scenario{
		name: "orphan", title: "a remote endpoint that is no longer in use is removed after the grace period (here 3s)",
		kubeProxy: "v1.34.0",
		steps: []step{
			{0, healthy},
			{time.Second, cartServes},
			{time.Second, cartGoes},
			{grace + 2*time.Second, nothing},
		},
		stays: []string{"neighbor"}, goes: []string{"stale"},
		loss: "The endpoint stays on win-1, in the way of the next pod that gets 10.244.1.17.",
	}
}

// leakedLocal is the case in which a naive cleanup deletes the wrong endpoint.
func leakedLocal() scenario {
	return scenario{
		name:      "leaked-local",
		title:     "a CNI left a local endpoint behind; the remote endpoint of that address is valid and stays",
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

// nothing gives the guard time to work.
func nothing(context.Context, *stage) error { return nil }
