// SPDX-License-Identifier: Apache-2.0

package removal_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

var errConnection = errors.New("connection refused")

// failOn fails the lists of pods that select by the field.
func failOn(field string) func(context.Context, client.ListOptions) error {
	return func(_ context.Context, o client.ListOptions) error {
		if _, selects := o.FieldSelector.RequiresExactMatch(field); selects {
			return errConnection
		}
		return nil
	}
}

// the returns the endpoint as HNS has it.
func (n *node) the(id hns.EndpointID) hns.Endpoint {
	n.t.Helper()
	e, err := n.HNS.Endpoint(n.t.Context(), id)
	if err != nil {
		n.t.Fatal(err)
	}
	return e
}

func (n *node) local() hns.EndpointID {
	for _, e := range n.HNS.State().Endpoints {
		if !e.Remote() {
			return e.ID
		}
	}
	return ""
}

// alter makes the ID of an endpoint stand for another one, after the pass has observed it.
func alter(change func(*hns.Endpoint)) func(*node, hns.EndpointID) {
	return func(n *node, remote hns.EndpointID) {
		e := n.the(remote)
		change(&e)
		n.HNS.Impersonate(remote, e)
	}
}

func onServer(pod *corev1.Pod) func(*node, hns.EndpointID) {
	return func(n *node, _ hns.EndpointID) { n.OnServer(pod) }
}

func elsewhere(changes ...func(*corev1.Pod)) func(*node, hns.EndpointID) {
	return onServer(nodetest.NewPod("cart", "lin-1", ip, changes...))
}

// Invariant 1: each of these, found when everything is read again, alone keeps the endpoint.
func TestWhatAloneKeepsTheEndpoint(t *testing.T) {
	refer := func(n *node, remote hns.EndpointID) {
		_, err := n.HNS.CreateLoadBalancer(hns.LoadBalancer{Endpoints: []hns.EndpointID{remote}})
		n.must(err)
		n.must(n.Balancers.Read(n.t.Context()))
	}
	for name, tc := range map[string]struct {
		from   situation
		change func(n *node, remote hns.EndpointID)
		result string
	}{
		// The endpoint.
		"it has another address": {aConflict, alter(func(e *hns.Endpoint) {
			e.Addresses = []netip.Addr{netip.MustParseAddr("10.240.0.12")}
		}), "refused"},
		"it has another MAC":       {aConflict, alter(func(e *hns.Endpoint) { e.MAC[5]++ }), "refused"},
		"it is on another network": {aConflict, alter(func(e *hns.Endpoint) { e.Network = "other" }), "refused"},
		"it is local":              {aConflict, alter(func(e *hns.Endpoint) { e.Flags &^= hns.FlagRemote }), "refused"},
		"it has another flag":      {aConflict, alter(func(e *hns.Endpoint) { e.Flags |= 32 }), "refused"},
		"it is gone":               {aConflict, func(n *node, remote hns.EndpointID) { n.Delete(remote) }, "already_gone"},
		"it cannot be read": {aConflict, func(n *node, _ hns.EndpointID) {
			n.HNS.FailNext(hns.OpEndpoint, hns.ErrUnavailable)
		}, "unconfirmed"},

		// The local endpoint of a conflict.
		"the local endpoint is gone": {aConflict, func(n *node, _ hns.EndpointID) { n.Delete(n.local()) }, "refused"},
		"the local endpoint is not attached any more": {aConflict, func(n *node, _ hns.EndpointID) {
			n.must(n.HNS.DeleteNamespace(n.the(n.local()).Namespace))
		}, "refused"},
		"the local endpoint has another address": {aConflict, func(n *node, _ hns.EndpointID) {
			e := n.the(n.local())
			e.Addresses = []netip.Addr{netip.MustParseAddr("10.240.0.12")}
			n.HNS.Impersonate(e.ID, e)
		}, "refused"},
		"the local endpoint cannot be read": {aConflict, func(n *node, _ hns.EndpointID) {
			n.HNS.Before(hns.OpEndpoint, func() {})
			n.HNS.Before(hns.OpEndpoint, func() { n.HNS.FailNext(hns.OpEndpoint, hns.ErrUnavailable) })
		}, "unconfirmed"},

		// The pod of a conflict, on the API server.
		"the pod does not exist": {aConflict, func(n *node, _ hns.EndpointID) { n.GoneFromServer("web") }, "refused"},
		"the pod is being deleted": {
			aConflict,
			onServer(nodetest.NewPod("web", nodetest.Name, ip, nodetest.Deleting)), "refused",
		},
		"the pod has finished": {
			aConflict,
			onServer(nodetest.NewPod("web", nodetest.Name, ip, nodetest.Succeeded)), "refused",
		},
		"the pod is in the host's network": {
			aConflict,
			onServer(nodetest.NewPod("web", nodetest.Name, ip, nodetest.HostNetwork)), "refused",
		},
		"the pod has another address": {
			aConflict,
			onServer(nodetest.NewPod("web", nodetest.Name, "10.240.0.99")), "refused",
		},
		"the pod is another node's": {aConflict, onServer(nodetest.NewPod("web", "win-2", ip)), "refused"},
		// kubelet keeps the address in the status of a running pod whose sandbox is gone.
		"a pod elsewhere has it, too":                   {aConflict, elsewhere(), "refused"},
		"a pod in the host's network elsewhere has it":  {aConflict, elsewhere(nodetest.HostNetwork), "refused"},
		"a pod elsewhere has it, and kube-proxy forgot": {wasHeld, elsewhere(), "refused"},
		"pods elsewhere cannot be read": {aConflict, func(n *node, _ hns.EndpointID) {
			n.API.OnPods = failOn("status.podIP")
		}, "unconfirmed"},
		"the pods of the node cannot be read": {aConflict, func(n *node, _ hns.EndpointID) {
			n.API.OnPods = failOn("spec.nodeName")
		}, "unconfirmed"},

		// What keeps an early conflict.
		"early: the pod does not exist": {anEarlyConflict, func(n *node, _ hns.EndpointID) {
			n.GoneFromServer("web")
		}, "refused"},
		"early: the pod is another one of that name": {anEarlyConflict, onServer(func() *corev1.Pod {
			p := nodetest.NewPod("web", nodetest.Name, "")
			p.UID = "another"
			return p
		}()), "refused"},
		"early: the pod has another address":           {anEarlyConflict, onServer(nodetest.NewPod("web", nodetest.Name, "10.240.0.99")), "refused"},
		"early: the pod is being deleted":              {anEarlyConflict, onServer(nodetest.NewPod("web", nodetest.Name, "", nodetest.Deleting)), "refused"},
		"early: a pod elsewhere has it":                {anEarlyConflict, elsewhere(), "refused"},
		"early: a pod elsewhere is deleted and has it": {anEarlyConflict, elsewhere(nodetest.Deleting), "refused"},
		"early: pods elsewhere cannot be read": {anEarlyConflict, func(n *node, _ hns.EndpointID) {
			n.API.OnPods = failOn("status.podIP")
		}, "unconfirmed"},
		"early: a slice lists it": {anEarlyConflict, func(n *node, _ hns.EndpointID) { n.Slice("svc", "lin-1", ip) }, "refused"},
		"early: a terminating endpoint serves": {anEarlyConflict, func(n *node, _ hns.EndpointID) {
			n.SetSlice(nodetest.Terminating(nodetest.NewSlice("svc", "lin-1", ip), true))
		}, "refused"},

		// What keeps an orphan.
		"orphan: a pod of the node has it":                     {anOrphan, onServer(nodetest.NewPod("web", nodetest.Name, ip)), "refused"},
		"orphan: a pod elsewhere has it":                       {anOrphan, elsewhere(), "refused"},
		"orphan: a pod is deleted and has it":                  {anOrphan, elsewhere(nodetest.Deleting), "refused"},
		"orphan: a pod in the host's network elsewhere has it": {anOrphan, elsewhere(nodetest.HostNetwork), "refused"},
		"early: a pod in the host's network elsewhere has it":  {anEarlyConflict, elsewhere(nodetest.HostNetwork), "refused"},
		"orphan: pods elsewhere cannot be read": {anOrphan, func(n *node, _ hns.EndpointID) {
			n.API.OnPods = failOn("status.podIP")
		}, "unconfirmed"},
		"orphan: a slice lists it": {anOrphan, func(n *node, _ hns.EndpointID) {
			n.Index.SetSlice(cluster.SliceOf(nodetest.NewSlice("svc", "lin-1", ip))) // the pace, which would keep it too, has not seen it
		}, "refused"},
		"orphan: a load balancer refers": {anOrphan, refer, "refused"},
		"orphan: it is a conflict by now": {aLeak, func(n *node, _ hns.EndpointID) {
			n.OnServer(nodetest.NewPod("web", nodetest.Name, ip))
			n.must(n.HNS.Attach(n.local(), n.HNS.CreateNamespace()))
		}, "refused"},

		// kube-proxy.
		"kube-proxy turns out to have the stale record": {aConflict, func(n *node, _ hns.EndpointID) {
			n.KubeProxy = "v1.31.0"
		}, "refused"},
		"kube-proxy was replaced by one with the stale record": {aConflict, func(n *node, _ hns.EndpointID) {
			n.replaced = "v1.31.0"
		}, "refused"},
		"kube-proxy's version cannot be read again": {aConflict, func(n *node, _ hns.EndpointID) {
			n.replaced = unreadable
		}, "unconfirmed"},
		"kube-proxy may remember the address again": {wasHeld, func(n *node, _ hns.EndpointID) {
			n.Record = nodetest.Remembers(true)
		}, "refused"},
		"a slice lists the address again": {wasHeld, func(n *node, _ hns.EndpointID) {
			n.Slice("svc", "lin-1", ip)
		}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			remote := tc.from.setUp(n)
			pass := n.Observe()
			tc.change(n, remote)
			n.HNS.ResetCalls()
			n.remover.Run(t.Context(), pass)
			g.Expect(n.Calls(hns.OpDeleteEndpoint)).To(BeZero())
			g.Expect(n.Removals(tc.from.kind, tc.result)).To(BeEquivalentTo(1))
			g.Expect(n.Removals(tc.from.kind, "removed")).To(BeZero())
		})
	}
}

func (n *node) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// These do not keep it: the rule is that of the decision.
func TestWhatDoesNotKeepTheEndpoint(t *testing.T) {
	for name, tc := range map[string]struct {
		from   situation
		change func(n *node, remote hns.EndpointID)
	}{
		"a conflict: slice lag":                               {aConflict, func(n *node, _ hns.EndpointID) { n.Slice("svc", "lin-1", ip) }},
		"a conflict: the pod that had the address terminates": {aConflict, elsewhere(nodetest.Deleting)},
		"an early conflict: the pod has reported it": {anEarlyConflict, func(n *node, _ hns.EndpointID) {
			n.OnServer(nodetest.NewPod("web", nodetest.Name, ip))
		}},
		"an early conflict: the pod that had the address has finished": {anEarlyConflict, elsewhere(nodetest.Succeeded)},
		"an orphan: the pod that had the address has finished":         {anOrphan, elsewhere(nodetest.Succeeded)},
		"a forgotten conflict: the old pod terminates":                 {wasHeld, elsewhere(nodetest.Deleting)},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			remote := tc.from.setUp(n)
			pass := n.Observe()
			tc.change(n, remote)
			n.remover.Run(t.Context(), pass)
			g.Expect(n.There()).NotTo(ContainElement(remote))
		})
	}
}

// lists returns the lists of pods since the last call.
func (n *node) lists() (fields, versions []string) {
	for _, r := range n.API.Requests {
		raw := r.Options.AsListOptions()
		fields = append(fields, raw.FieldSelector)
		versions = append(versions, string(raw.ResourceVersionMatch)+raw.ResourceVersion)
	}
	n.API.Requests = nil
	return fields, versions
}

// Invariant 7. For a single address, pods are selected by it, and if a proof allows, they are read from the API
// server's cache.
func TestPodsAreReadByNodeAndByAddress(t *testing.T) {
	for name, tc := range map[string]struct {
		from    situation
		version string
	}{
		"a conflict": {aConflict, ""}, "an early one": {anEarlyConflict, ""}, "an orphan": {anOrphan, "NotOlderThan1234"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			n.fresh.proven = "1234"
			tc.from.setUp(n)
			n.lists()
			n.pass()
			fields, versions := n.lists()
			g.Expect(fields).To(Equal([]string{"spec.nodeName=win-1", "status.podIP=" + ip}))
			g.Expect(versions).To(HaveEach(tc.version))
		})
	}
}

// Invariant 7.
func TestAStepListsPodsTwiceWhateverItsSize(t *testing.T) {
	for name, count := range map[string]int{"orphans": 25, "conflicts": 0} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t, func(c *config.Config) { c.Pace.Burst = 100 })
			n.orphans(count)
			if count == 0 {
				for i := range 25 {
					n.Conflict(fmt.Sprintf("web-%d", i), fmt.Sprintf("10.240.1.%d", i+1))
				}
			}
			n.OnServer(nodetest.NewPod("cart", "lin-1", "10.240.1.7"))
			n.lists()
			n.pass()
			fields, _ := n.lists()
			g.Expect(fields).To(Equal([]string{"spec.nodeName=win-1", ""}))
			g.Expect(n.HNS.State().Endpoints).To(HaveLen(1+25-count), "but for that of another node's pod")
			g.Expect(n.fresh.lists).To(BeZero())
		})
	}
}

// Only pods with an address of the step count in a table of all pods.
func TestAStepOfSeveralAddressesReadsATable(t *testing.T) {
	g := NewWithT(t)
	n := bare(t)
	n.history = history.NewRing(history.Options{Clock: n.Clock})
	var versions []string
	n.table = func(_ context.Context, o metav1.ListOptions, each func(cluster.Pod)) error {
		versions = append(versions, o.ResourceVersion)
		if o.ResourceVersion != "" {
			return errConnection
		}
		for _, addr := range []string{"10.240.1.1", "10.9.9.9"} {
			each(cluster.Pod{Node: "lin-1", Addresses: []netip.Addr{netip.MustParseAddr(addr)}})
		}
		return nil
	}
	n.boot(n.history)
	n.fresh.proven = "1234"
	n.orphans(3)
	n.pass()
	g.Expect(n.There()).To(HaveLen(1))
	g.Expect(versions).To(Equal([]string{"1234", ""}))
	g.Expect(n.Observe().Evidence.Elsewhere).To(HaveLen(3), "those that were looked up")
}

// Before Kubernetes 1.31 the API server's cache does not know whether it is that current.
func TestWhereTheCacheIsNotNewEnoughPodsAreReadFromStorage(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.fresh.proven = "1234"
	remote := orphan(n)
	n.API.OnPods = func(ctx context.Context, o client.ListOptions) error {
		deadline, _ := ctx.Deadline()
		if o.Raw.ResourceVersion == "" {
			g.Expect(time.Until(deadline)).To(BeNumerically(">", 4*time.Second))
			return nil
		}
		g.Expect(time.Until(deadline)).To(BeNumerically("<=", 2*time.Second))
		return context.DeadlineExceeded
	}
	n.OnServer(nodetest.NewPod("cart", "lin-1", ip))
	n.pass()
	g.Expect(n.There()).To(ContainElement(remote))
	g.Expect(n.verdictOn(remote).Reason).To(Equal(verdict.ReasonPodElsewhere))
	n.GoneFromServer("cart")
	for range 4 {
		n.Wait(n.Config.Orphan.GracePeriod.Duration)
		n.step()
	}
	g.Expect(n.There()).NotTo(ContainElement(remote))
}

// HNS is slow: only endpoints that may have changed the verdict are read again.
func TestWhichEndpointsAreReadAgain(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Conflict("db", "10.240.0.12")
	remote, _ := n.Conflict("web", ip)
	n.Remote(ip) // its turn comes later: an address is tried once per pass
	pass := n.Observe()
	n.Delete(n.There()[0])
	n.HNS.ResetCalls()
	n.remover.Run(t.Context(), pass)
	g.Expect(n.There()).NotTo(ContainElement(remote))
	g.Expect(n.Calls(hns.OpEndpoint)).To(Equal(1+2), "the one that is gone; the remote and the local one of the other")
}

// A request to an API server that does not answer times out.
func TestReadingPodsHasADeadline(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	conflict(n)
	var left time.Duration
	n.API.OnPods = func(ctx context.Context, _ client.ListOptions) error {
		deadline, has := ctx.Deadline()
		g.Expect(has).To(BeTrue())
		left = time.Until(deadline)
		return context.DeadlineExceeded
	}
	n.pass()
	g.Expect(left).To(And(BeNumerically(">", time.Second), BeNumerically("<=", 5*time.Second)))
	g.Expect(n.Removals("conflict", "unconfirmed")).To(BeEquivalentTo(1))
}

// A conflict depends on its pod, not on slices, so no proof was requested. If the second read makes it an early one,
// which depends on slices, it is left to the next pass.
func TestAConflictThatTurnsIntoAnEarlyOneIsRefused(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Remote(ip)
	n.Pod("web", "")
	n.Pod("db", "")
	n.pass()
	n.Wait(time.Second)
	n.Local(ip)
	n.Pod("web", ip)
	pass := n.Observe()
	n.GoneFromServer("web") // but the watch has not shown it yet
	n.fresh.current = false
	n.remover.Run(t.Context(), pass)
	g.Expect(n.There()).To(HaveLen(2))
	g.Expect(n.Removals("conflict", "refused")).To(BeEquivalentTo(1))
}

// The API server does not select by a pod's second address. But no slice lists it, as was proved.
func TestOrphansOfIPv6NeedNoList(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Remote("fd00::a:b")
	n.pass()
	n.Wait(n.Config.Orphan.GracePeriod.Duration)
	n.pass()
	n.pass()
	g.Expect(n.There()).To(BeEmpty())
	g.Expect(n.fresh.lists).To(BeZero())
	g.Expect(n.fresh.since).To(ConsistOf(n.Clock.Now()))
}

// The agent cannot know which of two live claims is void. Users are informed as long as both exist.
func TestTwoLiveClaimsAreContestedUntilOneEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		from situation
		kind verdict.Kind
	}{
		"a conflict": {aConflict, verdict.Contested}, "an early conflict": {anEarlyConflict, verdict.Contested},
		"a conflict that was held": {wasHeld, verdict.Contested}, "an orphan": {anOrphan, verdict.InUse},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			remote := tc.from.setUp(n)
			n.OnServer(nodetest.NewPod("cart", "lin-1", ip))
			n.pass()
			for range 100 {
				n.Wait(10 * time.Second)
				v := n.verdictOn(remote)
				g.Expect([]any{v.Kind, v.Reason}).To(Equal([]any{tc.kind, verdict.ReasonPodElsewhere}))
				g.Expect(v.Elsewhere).To(ConsistOf(verdict.Claimant{Pod: types.NamespacedName{Namespace: "default", Name: "cart"}, Node: "lin-1"}))
				n.pass()
			}
			g.Expect(n.Removals(tc.from.kind, "refused")).To(BeEquivalentTo(1), "it is not tried again and again")
			if tc.kind == verdict.InUse {
				g.Expect(n.API.Requested("pods")).To(BeNumerically("<", 10), "no pod suffers")
			}
			g.Expect(n.API.Requested("pods")).To(BeNumerically("<", 60), "neither is the API server")

			n.API.OnPods = func(context.Context, client.ListOptions) error { return errConnection }
			n.Wait(time.Hour)
			n.pass()
			g.Expect(n.verdictOn(remote).Kind).To(Equal(tc.kind), "what cannot be read is as it was")
			n.API.OnPods = nil
			n.GoneFromServer("cart")
			n.Wait(time.Hour)
			for range 3 {
				n.pass()
				n.Wait(n.Config.Orphan.GracePeriod.Duration)
			}
			n.step()
			g.Expect(n.There()).NotTo(ContainElement(remote))
		})
	}
}

// A pod suffers from a contested endpoint that is actually a conflict.
func TestContestedClaimsAreLookedUpEachMinute(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	remote := conflict(n)
	n.OnServer(nodetest.NewPod("cart", "lin-1", ip))
	for range 100 {
		n.pass()
		n.Wait(10 * time.Second)
	}
	n.GoneFromServer("cart")
	for range 7 {
		n.pass()
		n.Wait(10 * time.Second)
	}
	g.Expect(n.There()).NotTo(ContainElement(remote))
}

func (n *node) verdictOn(id hns.EndpointID) verdict.Verdict {
	n.t.Helper()
	for _, v := range n.Observe().Verdicts {
		if v.Endpoint.ID == id {
			return v
		}
	}
	n.t.Fatalf("there is no endpoint %s", id)
	return verdict.Verdict{}
}
