// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

func withShield(c *config.Config) { c.Shield.Mode = config.Enforce }

// held is a node on which the guard has to hold a conflict, because of its kube-proxy.
func held(t *testing.T, o hnstest.Options, network hns.NetworkType, changes ...func(*config.Config)) *node {
	t.Helper()
	n := newNodeWith(t, nodetest.Options{KubeProxy: "v1.32.3", HNS: o, Network: network, Config: changes})
	if o.Duplicates == hnstest.RefuseDuplicates {
		n.HNS.SetDuplicates(hnstest.AllowDuplicates) // it came before this HNS refused them
	}
	n.Conflict("web", ip)
	n.HNS.SetDuplicates(o.Duplicates)
	n.Slice("svc", "lin-1", ip)
	return n
}

func (n *node) order() string { return n.Order(ip) }

func (n *node) shields(result string) float64 {
	n.t.Helper()
	return n.Series("hnsguard_shields_total{result=" + result + "}")
}

func TestAHeldConflictIsShielded(t *testing.T) {
	g := NewWithT(t)
	n := held(t, hnstest.Options{}, hns.NetworkL2Bridge, withShield)
	n.pass()
	g.Expect(n.order()).To(Equal("RLR"), "the stale endpoint stays: load balancers refer to it")
	g.Expect(n.shields("made")).To(BeEquivalentTo(1))
	shield := n.HNS.State().Endpoints[2]
	g.Expect(kubeproxy.Owns(shield)).To(BeTrue(), "the rules for kube-proxy's endpoints hold for it too")

	n.passes(time.Minute)
	g.Expect(n.order()).To(Equal("RLR"), "one is enough")

	n.Slice("svc", "lin-1") // the slice drops the address, and kube-proxy takes nothing away
	n.passes(30 * time.Second)
	g.Expect(n.order()).To(Equal("RLR"), "kube-proxy may not have processed the drop")
	n.passes(10 * time.Minute)
	g.Expect(n.order()).To(Equal("L"), "none is left behind")
}

func TestAShieldIsLeftToTheGeneralRules(t *testing.T) {
	for name, tc := range map[string]struct {
		then func(n *node)
		left string
	}{
		"the guard dies": {func(n *node) { n.Restart() }, "RLR"},
		"the guard dies, and the slice drops the address": {func(n *node) {
			n.Restart()
			n.Slice("svc", "lin-1")
		}, "L"},
		"the pod and its endpoint go, and the slice drops the address": {func(n *node) {
			for _, e := range n.HNS.State().Endpoints {
				if !e.Remote() {
					n.Delete(e.ID)
				}
			}
			n.PodGone("web")
			n.Slice("svc", "lin-1")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := held(t, hnstest.Options{}, hns.NetworkL2Bridge, withShield)
			n.pass()
			g.Expect(n.order()).To(Equal("RLR"))
			tc.then(n)
			n.passes(10 * time.Minute)
			g.Expect(n.order()).To(Equal(tc.left))
		})
	}
}

// In the situation that the shield is for, the pod that had the address is still being deleted: as long as it exists,
// its slice lists the address as terminating.
func TestAHeldConflictIsShieldedWhileTheOldPodTerminates(t *testing.T) {
	g := NewWithT(t)
	n := held(t, hnstest.Options{}, hns.NetworkL2Bridge, withShield)
	n.OnServer(nodetest.NewPod("cart", "lin-1", ip, nodetest.Deleting))
	n.SetSlice(nodetest.Terminating(nodetest.NewSlice("svc", "lin-1", ip), false))
	n.pass()
	g.Expect(n.order()).To(Equal("RLR"))
}

func TestNoShieldIsMade(t *testing.T) {
	for name, tc := range map[string]struct {
		options hnstest.Options
		network hns.NetworkType
		change  func(*config.Config)
		spoil   func(n *node)
		order   types.GomegaMatcher
		result  string
	}{
		"where it is not enabled": {change: func(*config.Config) {}, order: Equal("RL")},
		"in observe mode": {
			change: func(c *config.Config) { c.Mode, c.Shield.Mode = config.Observe, config.Enforce }, order: Equal("RL"),
		},
		"where a remote endpoint stands last already": {options: hnstest.Options{Order: hnstest.NewestFirst}, order: Equal("LR")},
		"on an overlay network":                       {network: hns.NetworkOverlay, order: Equal("RL")},
		"with a kube-proxy without the fault":         {spoil: func(n *node) { n.KubeProxy = "v1.32.5" }, order: Equal("L")},
		// It could not be known before: this HNS lets no endpoint join another. The stale one is not made again. Without
		// it, the pod's endpoint is the only one of its address, as it would be the one found without a shield.
		"where HNS refuses duplicates": {
			options: hnstest.Options{Duplicates: hnstest.RefuseDuplicates}, order: Equal("L"), result: "removed",
		},
		"when HNS fails": {
			spoil: func(n *node) { n.HNS.Fail(hns.OpCreateRemoteEndpoint, hns.ErrUnavailable) }, order: Equal("RL"), result: "failed",
		},
		"when the API server does not confirm the pod": {
			spoil: func(n *node) { n.API.OnPods = failing }, order: Equal("RL"), result: "failed",
		},
		"when the pod turns out to be another's": {
			spoil: func(n *node) { n.OnServer(nodetest.NewPod("web", "win-2", ip)) }, order: Equal("RL"), result: "failed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			if tc.change == nil {
				tc.change = withShield
			}
			n := held(t, tc.options, tc.network, tc.change)
			if tc.spoil != nil {
				tc.spoil(n)
			}
			n.pass()
			g.Expect(n.order()).To(tc.order)
			for _, result := range []string{"made", "replaced", "removed", "refused", "misplaced", "failed"} {
				want := 0
				if result == tc.result {
					want = 1
				}
				g.Expect(n.shields(result)).To(BeEquivalentTo(want), result)
			}
		})
	}
}

// An HNS that lists new endpoints first is seen only with the shield in place.
func TestAMisplacedShieldIsRemoved(t *testing.T) {
	g := NewWithT(t)
	n := held(t, hnstest.Options{}, hns.NetworkL2Bridge, withShield)
	n.passMoving(func() { n.HNS.SetOrder(hnstest.NewestFirst) })
	g.Expect(n.order()).To(Equal("LR"))
	g.Expect(n.shields("misplaced")).To(BeEquivalentTo(1))
}

// Where the order is a matter of luck, there are several attempts.
func TestAShieldInRandomOrder(t *testing.T) {
	g := NewWithT(t)
	made := 0.0
	for range 50 {
		n := held(t, hnstest.Options{Order: hnstest.ByID}, hns.NetworkL2Bridge, withShield)
		n.pass()
		switch {
		case n.shields("made") == 1:
			made++
			g.Expect(n.order()).To(MatchRegexp("^(RLR|LRR)$"))
			g.Expect(n.order()).To(HaveSuffix("R"))
		case n.shields("misplaced") == 1:
			g.Expect(n.order()).To(Equal("RL"))
		default:
			g.Expect(n.order()).To(Equal("LR"))
		}
	}
	g.Expect(made).To(BeNumerically(">", 0))
}

// An HNS that lets a local endpoint join a remote one may refuse a second remote one (0x803afe2f).
func TestWhereASecondRemoteIsRefusedTheStaleOneIsReplaced(t *testing.T) {
	g := NewWithT(t)
	n := held(t, hnstest.Options{Duplicates: hnstest.OneRemote}, hns.NetworkL2Bridge, withShield)
	stale := n.There()[0]
	n.HNS.Before(hns.OpDeleteEndpoint, func() { n.Wait(20 * time.Millisecond) })
	n.pass()
	g.Expect(n.order()).To(Equal("LR"))
	g.Expect(n.There()).NotTo(ContainElement(stale))
	g.Expect(n.shields("replaced")).To(BeEquivalentTo(1))
	g.Expect(n.Series("hnsguard_shield_replacement_seconds")).To(BeEquivalentTo(1), "the window is measured")
	n.passes(time.Minute)
	g.Expect(n.order()).To(Equal("LR"))
	g.Expect(n.Calls(hns.OpDeleteEndpoint)).To(Equal(1), "once is enough")
	n.Slice("svc", "lin-1")
	n.passes(10 * time.Minute)
	g.Expect(n.order()).To(Equal("L"))
}
