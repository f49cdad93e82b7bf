// SPDX-License-Identifier: Apache-2.0

package removal_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/time/rate"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

// heldNode is a node with a conflict that has to be held, and a shielder.
type heldNode struct {
	*nodetest.Node
	t        *testing.T
	shielder *removal.Shielder
	history  *history.Ring
	stale    hns.EndpointID
}

func held(t *testing.T, o nodetest.Options, changes ...func(*removal.ShieldOptions)) *heldNode {
	t.Helper()
	o.KubeProxy = "v1.32.3"
	n := &heldNode{Node: nodetest.New(t, o), t: t}
	n.history = history.NewRing(history.Options{Clock: n.Clock})
	options := removal.ShieldOptions{
		Enforce: true, Confirmer: n.Confirmer(), HNS: n.Service, Limiter: removal.NewLimiter(n.Config),
		History: n.history, Registerer: n.Registry, Clock: n.Clock,
	}
	for _, change := range changes {
		change(&options)
	}
	n.shielder = removal.NewShielder(options)
	n.stale, _ = n.Conflict("web", ip)
	n.Slice("svc", "lin-1", ip)
	return n
}

func (n *heldNode) pass() {
	n.t.Helper()
	if next := n.shielder.Run(n.t.Context(), n.Observe()); next != 0 {
		n.t.Fatalf("a shield is made when it is needed and not later, but the next pass should come in %s", next)
	}
}

// results returns how many attempts had each result, those with none left out.
func (n *heldNode) results() map[removal.ShieldResult]int {
	n.t.Helper()
	all := map[removal.ShieldResult]int{}
	for _, r := range []removal.ShieldResult{
		removal.ShieldMade, removal.ShieldReplaced, removal.ShieldRemoved, removal.ShieldRefused, removal.ShieldMisplaced,
		removal.ShieldFailed,
	} {
		if count := int(n.Series("hnsguard_shields_total{result=" + string(r) + "}")); count > 0 {
			all[r] = count
		}
	}
	return all
}

type results = map[removal.ShieldResult]int

var oneRemote = nodetest.Options{HNS: hnstest.Options{Duplicates: hnstest.OneRemote}}

// A read that does not return holds a thread until it does.
func TestAPodWhoseEndpointCannotBeReadIsShieldedLater(t *testing.T) {
	g := NewWithT(t)
	n := held(t, nodetest.Options{})
	pass := n.Observe()
	n.HNS.FailNext(hns.OpEndpoint, hns.ErrTimeout)
	n.shielder.Run(t.Context(), pass)
	n.Wait(2*time.Minute - 1)
	n.pass()
	g.Expect(n.results()).To(Equal(results{removal.ShieldFailed: 1}))
	n.Wait(1)
	n.pass()
	g.Expect(n.results()).To(HaveKeyWithValue(removal.ShieldMade, 1))
}

func TestASecondRemoteEndpointShieldsThePod(t *testing.T) {
	g := NewWithT(t)
	n := held(t, nodetest.Options{})
	n.pass()
	g.Expect(n.Order(ip)).To(Equal("RLR"))
	g.Expect(n.There()[0]).To(Equal(n.stale), "load balancers refer to it")
	g.Expect(n.results()).To(Equal(results{removal.ShieldMade: 1}))
	shield := n.HNS.State().Endpoints[2]
	g.Expect(shield.Addresses).To(ConsistOf(netip.MustParseAddr(ip)))
	g.Expect(shield.Network).To(Equal(n.Network.ID))
	g.Expect(kubeproxy.Owns(shield)).To(BeTrue(), "the rules for kube-proxy's endpoints hold for it too")
	n.Wait(time.Minute)
	n.pass()
	g.Expect(n.Order(ip)).To(Equal("RLR"), "one is enough")
	g.Expect(n.Series("hnsguard_shield_replacement_seconds")).To(BeZero())
}

// An HNS that lets a local endpoint join a remote one may refuse a second remote one.
func TestTheStaleEndpointIsReplacedWhereASecondIsRefused(t *testing.T) {
	g := NewWithT(t)
	n := held(t, oneRemote)
	n.HNS.Before(hns.OpCreateRemoteEndpoint, func() {})
	n.HNS.Before(hns.OpCreateRemoteEndpoint, func() { n.Wait(30 * time.Millisecond) })
	n.pass()
	g.Expect(n.Order(ip)).To(Equal("LR"))
	g.Expect(n.There()).NotTo(ContainElement(n.stale))
	g.Expect(n.results()).To(Equal(results{removal.ShieldReplaced: 1}))
	g.Expect(n.Series("hnsguard_shield_replacement_seconds")).To(BeEquivalentTo(1))
	g.Expect(n.window()).To(BeNumerically("~", 0.03), "from the deletion to the creation")
	n.Wait(time.Minute)
	n.pass()
	g.Expect(n.results()).To(Equal(results{removal.ShieldReplaced: 1}))
}

// window is the time in which pods had no remote endpoint behind theirs, because one was replaced.
func (n *heldNode) window() (sum float64) {
	n.t.Helper()
	families, err := n.Registry.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "hnsguard_shield_replacement_seconds" {
			sum += family.GetMetric()[0].GetHistogram().GetSampleSum()
		}
	}
	return sum
}

func TestNoShieldIsMade(t *testing.T) {
	for name, tc := range map[string]struct {
		options nodetest.Options
		change  func(*removal.ShieldOptions)
		spoil   func(n *heldNode)
		order   string
	}{
		"where it is not enforced": {change: func(o *removal.ShieldOptions) { o.Enforce = false }, order: "RL"},
		"where a remote endpoint stands last": {
			options: nodetest.Options{HNS: hnstest.Options{Order: hnstest.NewestFirst}}, order: "LR",
		},
		"on an overlay network": {options: nodetest.Options{Network: hns.NetworkOverlay}, order: "RL"},
		"on a transparent network": {options: nodetest.Options{Network: hns.NetworkTransparent, Config: []func(*config.Config){
			func(c *config.Config) { c.Network = "azure" },
		}}, order: "RL"},
		"for what is not held":         {spoil: func(n *heldNode) { n.KubeProxy = "v1.32.5" }, order: "RL"},
		"for an orphan":                {spoil: func(n *heldNode) { n.PodGone("web"); n.DeleteSlice("svc") }, order: "RL"},
		"for a conflict to be removed": {spoil: func(n *heldNode) { n.DeleteSlice("svc"); n.Forget(ip) }, order: "RL"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := held(t, tc.options, func(o *removal.ShieldOptions) {
				if tc.change != nil {
					tc.change(o)
				}
			})
			if tc.spoil != nil {
				tc.spoil(n)
			}
			n.pass()
			g.Expect(n.Order(ip)).To(Equal(tc.order))
			g.Expect(n.results()).To(BeEmpty())
		})
	}
}

// A pod that has not reported the address yet is not known to have it while another node's pod does.
func TestNoShieldIsMadeWhileAPodElsewhereHasTheAddress(t *testing.T) {
	for name, there := range map[string]bool{"a pod elsewhere has it": true, "none has it": false} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := held(t, nodetest.Options{})
			n.PodGone("web")
			n.Delete(n.There()[1])
			n.SetSlice(nodetest.Terminating(nodetest.NewSlice("svc", "lin-1", ip), false))
			n.Pod("api", "")
			n.Observe()
			n.Wait(time.Second)
			n.Local(ip)
			pass := n.Observe()
			g.Expect(pass.Verdicts).To(ContainElement(And(
				HaveField("Kind", verdict.Held), HaveField("Early()", true))))
			if there {
				n.OnServer(nodetest.NewPod("cart", "lin-1", ip))
			}
			n.shielder.Run(t.Context(), pass)
			if there {
				g.Expect(n.Order(ip)).To(Equal("RL"))
				g.Expect(n.results()).To(Equal(results{removal.ShieldFailed: 1}))
			} else {
				g.Expect(n.Order(ip)).To(Equal("RLR"))
			}
		})
	}
}

// Replacing an endpoint deletes it, which counts like any other removal. Adding one does not.
func TestAReplacementNeedsTheLimitOfRemovals(t *testing.T) {
	spent := func(o *removal.ShieldOptions) { o.Limiter = rate.NewLimiter(0, 0) }
	for order, options := range map[string]nodetest.Options{"RL": oneRemote, "RLR": {}} {
		t.Run(order, func(t *testing.T) {
			n := held(t, options, spent)
			n.pass()
			NewWithT(t).Expect(n.Order(ip)).To(Equal(order))
		})
	}
}

// The same address on another network is another address.
func TestARemoteEndpointOfAnotherNetworkIsNoShield(t *testing.T) {
	g := NewWithT(t)
	n := held(t, nodetest.Options{})
	other := n.HNS.CreateNetwork("other", hns.NetworkL2Bridge)
	_, err := n.HNS.CreateEndpoint(hnstest.EndpointSpec{
		Network: other.ID, Addresses: []netip.Addr{netip.MustParseAddr(ip)}, Flags: hns.FlagRemote,
	})
	g.Expect(err).NotTo(HaveOccurred())
	n.pass()
	g.Expect(n.results()).To(Equal(results{removal.ShieldMade: 1}))
}

func TestARemoteEndpointOfAnotherAddressIsNoShield(t *testing.T) {
	g := NewWithT(t)
	n := held(t, nodetest.Options{})
	n.Remote("10.240.0.12")
	n.pass()
	g.Expect(n.results()).To(Equal(results{removal.ShieldMade: 1}))
}

// What went wrong, with what is left, and whether anything was created.
func TestAShieldThatCannotBeMade(t *testing.T) {
	down := func(op hns.Operation) func(*heldNode) {
		return func(n *heldNode) { n.HNS.Fail(op, hns.ErrUnavailable) }
	}
	for name, tc := range map[string]struct {
		options nodetest.Options
		spoil   func(n *heldNode)
		result  removal.ShieldResult
		order   string
	}{
		"HNS fails to create it":    {nodetest.Options{}, down(hns.OpCreateRemoteEndpoint), removal.ShieldFailed, "RL"},
		"HNS fails to read again":   {nodetest.Options{}, down(hns.OpEndpoint), removal.ShieldFailed, "RL"},
		"its place cannot be found": {nodetest.Options{}, down(hns.OpListEndpointIDs), removal.ShieldFailed, "RLR"},
		"a misplaced one cannot be deleted": {nodetest.Options{}, func(n *heldNode) {
			n.HNS.SetOrder(hnstest.NewestFirst)
			n.HNS.Fail(hns.OpDeleteEndpoint, hns.ErrUnavailable)
		}, removal.ShieldFailed, "RLR"},
		"the pod is gone":         {nodetest.Options{}, func(n *heldNode) { n.GoneFromServer("web") }, removal.ShieldFailed, "RL"},
		"it is not held any more": {nodetest.Options{}, func(n *heldNode) { n.KubeProxy = "v1.37.2" }, removal.ShieldFailed, "RL"},
		"the API server does not answer": {nodetest.Options{}, func(n *heldNode) {
			n.API.OnPods = failOn("spec.nodeName")
		}, removal.ShieldFailed, "RL"},
		"the stale endpoint cannot be deleted": {oneRemote, down(hns.OpDeleteEndpoint), removal.ShieldFailed, "RL"},
		// kube-proxy has deleted it, and does not want it back.
		"the stale endpoint has gone meanwhile": {oneRemote, func(n *heldNode) {
			n.HNS.FailNext(hns.OpDeleteEndpoint, hns.ErrNotFound)
		}, removal.ShieldFailed, "RL"},
		"HNS refuses the replacement": {oneRemote, func(n *heldNode) {
			n.HNS.Fail(hns.OpCreateRemoteEndpoint, hns.ErrRefused)
		}, removal.ShieldRemoved, "L"},
		"HNS fails to create the replacement": {oneRemote, func(n *heldNode) {
			n.HNS.FailNext(hns.OpCreateRemoteEndpoint, hns.ErrRefused)
			n.HNS.FailNext(hns.OpCreateRemoteEndpoint, hns.ErrUnavailable)
		}, removal.ShieldRemoved, "L"},
		"the place of the replacement cannot be found": {oneRemote, down(hns.OpListEndpointIDs), removal.ShieldFailed, "LR"},
		"the replacement is misplaced": {oneRemote, func(n *heldNode) {
			n.HNS.SetOrder(hnstest.NewestFirst)
		}, removal.ShieldMisplaced, "RL"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := held(t, tc.options)
			pass := n.Observe()
			tc.spoil(n)
			n.shielder.Run(t.Context(), pass)
			g.Expect(n.Order(ip)).To(Equal(tc.order))
			g.Expect(n.results()).To(Equal(results{tc.result: 1}))
			entries := happened(n.history, history.Shield)
			g.Expect(entries).To(HaveLen(1))
			g.Expect(entries[0].Result).To(BeEquivalentTo(tc.result))
			g.Expect(entries[0].failed()).To(Equal(tc.result != removal.ShieldMisplaced), entries[0].Detail)
		})
	}
}

func TestAShielderWithoutAHistoryShields(t *testing.T) {
	g := NewWithT(t)
	n := held(t, nodetest.Options{}, func(o *removal.ShieldOptions) { o.History = nil })
	n.pass()
	g.Expect(n.results()).To(Equal(results{removal.ShieldMade: 1}))
}

// An HNS that enumerates the newest first is known only when the shield is there. Where the order is by ID, another
// attempt may do better.
func TestAMisplacedShieldIsDeletedAndTriedAgain(t *testing.T) {
	g := NewWithT(t)
	n := held(t, nodetest.Options{})
	pass := n.Observe()
	n.HNS.SetOrder(hnstest.NewestFirst)
	n.HNS.ResetCalls()
	n.shielder.Run(t.Context(), pass)
	g.Expect(n.Order(ip)).To(Equal("LR"))
	g.Expect(n.results()).To(Equal(results{removal.ShieldMisplaced: 1}))
	g.Expect(n.Calls(hns.OpCreateRemoteEndpoint)).To(Equal(4))
	g.Expect(n.Calls(hns.OpDeleteEndpoint)).To(Equal(4))
}

func TestAMisplacedShieldThatHasGoneIsTriedAgain(t *testing.T) {
	g := NewWithT(t)
	n := held(t, nodetest.Options{})
	pass := n.Observe()
	n.HNS.SetOrder(hnstest.NewestFirst)
	n.HNS.Before(hns.OpDeleteEndpoint, func() {
		n.Delete(n.There()[0])
		n.HNS.SetOrder(hnstest.OldestFirst)
	})
	n.shielder.Run(t.Context(), pass)
	g.Expect(n.results()).To(Equal(results{removal.ShieldMade: 1}))
	g.Expect(n.Order(ip)).To(Equal("RLR"))
}

func TestTheBackoffOfAShield(t *testing.T) {
	g := NewWithT(t)
	n := held(t, nodetest.Options{})
	n.HNS.Fail(hns.OpCreateRemoteEndpoint, hns.ErrUnavailable)
	n.pass()
	n.Wait(time.Second - 1)
	n.pass()
	g.Expect(n.results()).To(Equal(results{removal.ShieldFailed: 1}))
	n.Wait(1)
	n.pass()
	g.Expect(n.results()).To(Equal(results{removal.ShieldFailed: 2}))
	n.HNS.Heal()
	n.Wait(2*time.Second - 1)
	n.pass()
	g.Expect(n.Order(ip)).To(Equal("RL"))
	n.Wait(1)
	n.pass()
	g.Expect(n.Order(ip)).To(Equal("RLR"))
}

// A call that does not return holds a thread. Another one for the same address is not made soon.
func TestAShieldWhoseCallDoesNotReturnIsLeftAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		options nodetest.Options
		op      hns.Operation
	}{
		"create": {nodetest.Options{}, hns.OpCreateRemoteEndpoint},
		"delete": {oneRemote, hns.OpDeleteEndpoint},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := held(t, tc.options)
			n.HNS.FailNext(tc.op, fmt.Errorf("%s: %w", tc.op, hns.ErrTimeout))
			for range 120 {
				n.pass()
				n.Wait(time.Second)
				g.Expect(n.results()).To(Equal(results{removal.ShieldFailed: 1}))
			}
			n.pass()
			g.Expect(n.Order(ip)).To(HaveSuffix("R"))
		})
	}
}

// Two held conflicts do not wait for each other.
func TestEachHeldConflictIsShielded(t *testing.T) {
	g := NewWithT(t)
	n := held(t, nodetest.Options{})
	n.Conflict("db", "10.240.0.12")
	n.Slice("db", "lin-1", "10.240.0.12")
	n.HNS.FailNext(hns.OpCreateRemoteEndpoint, errors.New("access denied"))
	n.pass()
	g.Expect(n.results()).To(Equal(results{removal.ShieldFailed: 1, removal.ShieldMade: 1}))
	g.Expect(n.Order("10.240.0.12")).To(Equal("RLR"))
}

func TestTheMetricsOfShieldsAreLinted(t *testing.T) {
	NewWithT(t).Expect(testutil.GatherAndLint(held(t, nodetest.Options{}).Registry)).To(BeEmpty())
}
