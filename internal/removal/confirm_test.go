// SPDX-License-Identifier: Apache-2.0

package removal_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
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

// alter lets the ID of an endpoint mean another one, after the pass has observed it.
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
		"it has gone":              {aConflict, func(n *node, remote hns.EndpointID) { n.Delete(remote) }, "already_gone"},
		"it cannot be read": {aConflict, func(n *node, _ hns.EndpointID) {
			n.HNS.FailNext(hns.OpEndpoint, hns.ErrUnavailable)
		}, "unconfirmed"},

		// The local endpoint of a conflict.
		"the local endpoint has gone": {aConflict, func(n *node, _ hns.EndpointID) { n.Delete(n.local()) }, "refused"},
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
		"orphan: a pod of the node has it":    {anOrphan, onServer(nodetest.NewPod("web", nodetest.Name, ip)), "refused"},
		"orphan: a pod elsewhere has it":      {anOrphan, elsewhere(), "refused"},
		"orphan: a pod is deleted and has it": {anOrphan, elsewhere(nodetest.Deleting), "refused"},
		"orphan: pods elsewhere cannot be read": {anOrphan, func(n *node, _ hns.EndpointID) {
			n.API.OnPods = failOn("status.podIP")
		}, "unconfirmed"},
		"orphan: a slice lists it": {anOrphan, func(n *node, _ hns.EndpointID) {
			n.Index.Put(cluster.SliceOf(nodetest.NewSlice("svc", "lin-1", ip))) // the pace, which would keep it too, has not seen it
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
		"kube-proxy may remember the address again": {wasHeld, func(n *node, _ hns.EndpointID) {
			n.Forget()
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

// These do not keep it: the rule is the same as for the decision.
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
		"an orphan: a pod in the host's network has it":                {anOrphan, elsewhere(nodetest.HostNetwork)},
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

// The API server selects by what costs it least, and by nothing else.
func TestPodsAreReadByNodeAndByAddress(t *testing.T) {
	for name, tc := range map[string]struct {
		from situation
		want []string
	}{
		"a conflict": {aConflict, []string{"spec.nodeName=win-1"}},
		"an orphan":  {anOrphan, []string{"spec.nodeName=win-1", "status.podIP=" + ip}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			tc.from.setUp(n)
			n.API.Requests = nil
			n.pass()
			var fields []string
			for _, r := range n.API.Requests {
				fields = append(fields, r.Options.FieldSelector.String())
			}
			g.Expect(fields).To(Equal(tc.want))
		})
	}
}

// HNS is slow: only what may have changed the verdict is read again.
func TestWhichEndpointsAreReadAgain(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Conflict("db", "10.240.0.12")
	remote, _ := n.Conflict("web", ip)
	n.Remote(ip) // its turn comes later: an address is tried once in a pass
	pass := n.Observe()
	n.Delete(n.There()[0])
	n.HNS.ResetCalls()
	n.remover.Run(t.Context(), pass)
	g.Expect(n.There()).NotTo(ContainElement(remote))
	g.Expect(n.Calls(hns.OpEndpoint)).To(Equal(1+2), "the one that has gone; the remote and the local one of the other")
}

// A request to an API server that does not answer ends.
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

// A conflict rests on its pod and not on slices, so that no proof was requested. If what is read again makes it an
// early one, which does rest on slices, it is left to the next pass.
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
	n.GoneFromServer("web") // and the watch has not shown it yet
	n.fresh.current = false
	n.remover.Run(t.Context(), pass)
	g.Expect(n.There()).To(HaveLen(2))
	g.Expect(n.Removals("conflict", "refused")).To(BeEquivalentTo(1))
}

// A second IPv4 or IPv6 address of a pod cannot be selected by.
func TestOrphansOfIPv6NeedAList(t *testing.T) {
	g := NewWithT(t)
	const v6 = "fd00::a:b"
	n := newNode(t)
	n.Remote(v6)
	n.pass()
	n.Wait(5 * time.Minute)
	n.pass()
	n.pass()
	g.Expect(n.There()).To(HaveLen(1))
	g.Expect(n.fresh.lists).To(Equal(1))
	g.Expect(n.Skipped("orphan", "stale_watch")).To(BeEquivalentTo(1))
	n.fresh.listFresh = true
	n.pass()
	g.Expect(n.There()).To(BeEmpty())
}
