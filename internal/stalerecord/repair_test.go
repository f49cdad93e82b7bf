// SPDX-License-Identifier: Apache-2.0

package stalerecord_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
)

// spoil changes the slice as a token stolen from an agent, or a person, might.
func (n *node) spoil(change func(*discoveryv1.EndpointSlice)) (before, after *discoveryv1.EndpointSlice) {
	n.t.Helper()
	before, after = n.own(discoveryv1.AddressTypeIPv4), n.own(discoveryv1.AddressTypeIPv4)
	change(after)
	if err := n.api.Update(n.t.Context(), after); err != nil {
		n.t.Fatal(err)
	}
	return before, after
}

// Invariant 9: whatever has become of the slice, the next flush writes all of it.
func TestAFlushRepairsTheSlice(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*discoveryv1.EndpointSlice)
		// hidden is set if the watch takes the slice for deleted.
		hidden bool
	}{
		"for another proxy": {func(s *discoveryv1.EndpointSlice) { s.Labels["service.kubernetes.io/service-proxy-name"] = "x" }, false},
		"headless":          {func(s *discoveryv1.EndpointSlice) { s.Labels["service.kubernetes.io/headless"] = "" }, true},
		"without labels":    {func(s *discoveryv1.EndpointSlice) { s.Labels = nil }, false},
		"with metadata": {func(s *discoveryv1.EndpointSlice) {
			s.Annotations, s.Finalizers = map[string]string{"a": "b"}, []string{"example.com/never"}
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "x", UID: "1"}}
		}, false},
		"another address": {func(s *discoveryv1.EndpointSlice) { s.Endpoints[0].Addresses[0] = "192.0.2.9" }, false},
		"no endpoints":    {func(s *discoveryv1.EndpointSlice) { s.Endpoints, s.Ports = nil, nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := began(t)
			wanted := n.own(discoveryv1.AddressTypeIPv4)
			before, after := n.spoil(tc.change)
			if tc.hidden {
				after = nil
			}
			n.touch(before, after)
			n.lose(v4)
			for range 5 {
				n.wait(3 * time.Second)
				n.pass()
			}
			g.Expect(n.writes()).To(BeEquivalentTo(2))
			repaired := n.own(discoveryv1.AddressTypeIPv4)
			g.Expect(repaired.Labels).To(Equal(wanted.Labels))
			g.Expect(repaired.Annotations).To(BeEmpty())
			g.Expect(repaired.Finalizers).To(BeEmpty())
			g.Expect(repaired.OwnerReferences).To(BeEmpty())
			g.Expect(repaired.Endpoints).To(Equal(wanted.Endpoints))
			g.Expect(repaired.Ports).To(HaveLen(1))
		})
	}
}

// The label is set again as soon as it was repaired, and a pod is lost each hour: every loss is flushed.
func TestALabelDoesNotEndFlushing(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	for range 24 {
		before, _ := n.spoil(func(s *discoveryv1.EndpointSlice) { s.Labels["service.kubernetes.io/headless"] = "" })
		n.touch(before, nil)
		n.wait(30 * time.Minute)
		n.pass()
		n.lose(v4)
		for range 10 {
			n.wait(time.Second)
			n.pass()
		}
		n.echo()
	}
	g.Expect(n.writes()).To(BeEquivalentTo(25))
	g.Expect(n.count("failed")).To(BeZero())
}

// A slice whose changes the watch never brings.
func TestConflictsWithoutAChangeAreFailures(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.random = 0
	n.lose(v4)
	n.apiErr = apierrors.NewConflict(discoveryv1.Resource("endpointslices"), "hnsguard-flush-ipv4", errors.New("changed"))
	n.wait(time.Second)
	for range 3600 {
		n.wait(time.Second)
		n.pass()
	}
	g.Expect(n.count("conflict")).To(BeEquivalentTo(2))
	g.Expect(n.count("failed")).To(BeNumerically("~", 3600/30, 20), "with a backoff")

	n.apiErr = nil
	n.otherWrites(2)
	n.touch(flushedOwn(1), n.own(discoveryv1.AddressTypeIPv4))
	n.lose(netip.MustParseAddr("10.240.0.12"))
	n.otherWrites(1)
	for n.count("conflict") < 3 {
		n.wait(time.Second)
		n.pass()
	}
	g.Expect(n.count("failed")).To(BeNumerically("~", 3600/30, 20), "a change that the watch has brought starts the count again")
}

// Without an admission policy it does not write, and goes on when the policy is there.
func TestItDoesNotWriteWithoutAnAdmissionPolicy(t *testing.T) {
	g := NewWithT(t)
	clock := testingclock.NewFakeClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
	n := newNode(t, func(o *stalerecord.FlusherOptions) {
		o.Gate = admission.NewGate(admission.Flush, admission.NewMetric(prometheus.NewRegistry()), clock)
		o.Client = dryRuns{o.Client, func() error { return nil }}
	})
	n.touch(nil, slice("other", "lin-1"))
	for range 600 {
		n.wait(time.Second)
		clock.Step(time.Second)
		n.pass()
	}
	g.Expect(n.requests).To(BeZero())
	g.Expect(n.count("unrestricted")).To(BeNumerically(">", 2))
	g.Expect(n.pending()).To(BeEquivalentTo(1))
}

// dryRuns is an API server whose admission policies answer dry runs.
type dryRuns struct {
	client.Client
	answer func() error
}

func (d dryRuns) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	var all client.CreateOptions
	all.ApplyOptions(opts)
	if len(all.DryRun) > 0 {
		return d.answer()
	}
	return d.Client.Create(ctx, o, opts...)
}
