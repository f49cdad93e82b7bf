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
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
)

// spoil changes the slice, as a user or someone with a stolen token might.
func (n *node) spoil(change func(*discoveryv1.EndpointSlice)) (before, after *discoveryv1.EndpointSlice) {
	n.t.Helper()
	before, after = n.own(discoveryv1.AddressTypeIPv4), n.own(discoveryv1.AddressTypeIPv4)
	change(after)
	if err := n.api.Update(n.t.Context(), after); err != nil {
		n.t.Fatal(err)
	}
	return before, after
}

// Invariant 9: whatever was changed in the slice, the next flush writes all of it.
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
			g.Expect(repaired.Endpoints).To(HaveLen(1))
			g.Expect(repaired.Endpoints[0].Addresses).To(ConsistOf(HavePrefix("198.51.100.")))
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

// kube-proxy ignores the slice while it has the label of another proxy, but others may change it again.
func TestAFlushRepairsASliceThatChangedWhileItWasHidden(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	n.touch(n.spoil(func(s *discoveryv1.EndpointSlice) { s.Labels[cluster.LabelServiceProxyName] = "x" }))
	n.touch(n.spoil(func(s *discoveryv1.EndpointSlice) { s.Labels[cluster.LabelServiceProxyName] = "y" }))
	n.lose(v4)
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.writes()).To(BeEquivalentTo(2))
	g.Expect(n.count("conflict")).To(BeZero())
	g.Expect(n.own(discoveryv1.AddressTypeIPv4).Labels).NotTo(HaveKey(cluster.LabelServiceProxyName))
}

// The watch does not show the deletion of a slice that it did not show before.
func TestASliceThatIsDeletedWhileALabelHidesItIsCreatedAgain(t *testing.T) {
	g := NewWithT(t)
	n := began(t)
	before, hidden := n.spoil(func(s *discoveryv1.EndpointSlice) { s.Labels["service.kubernetes.io/headless"] = "" })
	n.touch(before, nil)
	n.lose(v4)
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.count("conflict")).To(BeEquivalentTo(1))
	g.Expect(n.api.Delete(t.Context(), hidden)).To(Succeed())
	n.requests = 0
	n.wait(2 * time.Second)
	n.pass()
	g.Expect(n.own(discoveryv1.AddressTypeIPv4)).NotTo(BeNil())
	g.Expect(n.requests).To(Equal(1))
}

// The watch never delivers the changes of this slice.
func TestConflictsWithoutAChangeAreFailures(t *testing.T) {
	g := NewWithT(t)
	var ring *history.Ring
	n := began(t, func(o *stalerecord.FlusherOptions) {
		ring = history.NewRing(history.Options{Clock: o.Clock})
		o.History = ring
	})
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
	g.Expect(ring.Entries()).To(ContainElement(And(
		HaveField("Result", "failed"), HaveField("Detail", HaveSuffix("the watch of EndpointSlices shows no change")))))

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

// Invariants 6 and 10.
func TestItDoesNotWriteUntilAnAdmissionPolicyRestrictsIt(t *testing.T) {
	for _, addr := range []netip.Addr{v4, v6} {
		t.Run(addr.String(), func(t *testing.T) {
			g := NewWithT(t)
			clock := testingclock.NewFakeClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
			api := &apiServer{}
			n := newNode(t, func(o *stalerecord.FlusherOptions) {
				o.Gate = admission.NewGate(admission.Flush, admission.NewMetric(prometheus.NewRegistry()), clock)
				api.Client = o.Client
				o.Client = api
			})
			n.touch(nil, slice("other", "lin-1", addr))
			pass := func(times int) {
				for range times {
					n.wait(time.Second)
					clock.Step(time.Second)
					n.pass()
				}
			}
			pass(3600)
			g.Expect(n.requests).To(BeZero())
			g.Expect(n.count("unrestricted")).To(BeNumerically(">", 2))
			g.Expect(n.pending()).To(BeEquivalentTo(1))
			g.Expect(api.dryRuns).To(BeNumerically("<", 15), "the API server is not pressed")
			api.restricts = true
			pass(11 * 60)
			g.Expect(n.writes()).To(BeEquivalentTo(1), "soon after the gate's backoff")
		})
	}
}

// apiServer answers dry runs. Its admission policy, if any, only allows addresses of hnsguard's own slices.
type apiServer struct {
	client.Client
	restricts bool
	dryRuns   int
}

func (a *apiServer) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	var all client.CreateOptions
	all.ApplyOptions(opts)
	if len(all.DryRun) == 0 {
		return a.Client.Create(ctx, o, opts...)
	}
	a.dryRuns++
	s, _ := o.(*discoveryv1.EndpointSlice)
	if cluster.FamilyOf(netip.MustParseAddr(s.Endpoints[0].Addresses[0])) != s.AddressType {
		return errors.New("the address is of the other family")
	}
	if a.restricts && !stalerecord.IsBarrier(netip.MustParseAddr(s.Endpoints[0].Addresses[0])) {
		return apierrors.NewInvalid(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice").GroupKind(), s.Name, nil)
	}
	return nil
}
