// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hns/simulated"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

func withShield(c *config.Config) { c.Shield.Mode = config.Enforce }

// held is a node on which the guard has to hold a conflict, because of its kube-proxy.
func held(t *testing.T, o simulated.Options, network hns.NetworkType, changes ...func(*config.Config)) *node {
	t.Helper()
	n := newNode(t)
	n.kubeProxy, n.service = "v1.32.3", simulated.New(o)
	n.network = n.service.CreateNetwork("azure", network)
	n.restart(changes...)
	if o.Duplicates == simulated.RefuseDuplicates {
		n.service.SetDuplicates(simulated.AllowDuplicates) // it came before this HNS refused them
	}
	n.conflict("web", ip)
	n.service.SetDuplicates(o.Duplicates)
	n.slice("svc", "lin-1", ip)
	return n
}

// order lists the endpoints of the address as HNS enumerates them: L for a local one, R for a remote one.
func (n *node) order() string {
	var kinds []byte
	ids, err := n.service.ListEndpointIDs(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	all := n.service.State().Endpoints
	for _, id := range ids {
		e := all[slices.IndexFunc(all, func(e hns.Endpoint) bool { return e.ID == id })]
		switch {
		case !e.Has(netip.MustParseAddr(ip)):
		case e.Remote():
			kinds = append(kinds, 'R')
		default:
			kinds = append(kinds, 'L')
		}
	}
	return string(kinds)
}

func (n *node) shields(result string) float64 {
	n.t.Helper()
	return n.series("hnsguard_shields_total{result=" + result + "}")
}

func TestAHeldConflictIsShielded(t *testing.T) {
	g := NewWithT(t)
	n := held(t, simulated.Options{}, hns.NetworkL2Bridge, withShield)
	n.pass()
	g.Expect(n.order()).To(Equal("RLR"), "the stale endpoint stays: load balancers refer to it")
	g.Expect(n.shields("made")).To(BeEquivalentTo(1))
	shield := n.service.State().Endpoints[2]
	g.Expect(kubeproxy.Owns(shield)).To(BeTrue(), "the rules for kube-proxy's endpoints hold for it too")

	n.passes(time.Minute)
	g.Expect(n.order()).To(Equal("RLR"), "one is enough")

	n.slice("svc", "lin-1") // the slice drops the address, and kube-proxy takes nothing away
	n.wait(time.Minute)
	n.passes(time.Minute)
	g.Expect(n.order()).To(Equal("L"), "none is left behind")
}

func TestAShieldIsLeftToTheGeneralRules(t *testing.T) {
	for name, tc := range map[string]struct {
		then func(n *node)
		left string
	}{
		"the guard dies": {func(n *node) { n.restart() }, "RLR"},
		"the guard dies, and the slice drops the address": {func(n *node) {
			n.restart()
			n.slice("svc", "lin-1")
		}, "L"},
		"the pod and its endpoint go, and the slice drops the address": {func(n *node) {
			for _, e := range n.service.State().Endpoints {
				if !e.Remote() {
					_ = n.service.DeleteEndpoint(n.t.Context(), e.ID)
				}
			}
			n.index.DeletePod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}})
			n.slice("svc", "lin-1")
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := held(t, simulated.Options{}, hns.NetworkL2Bridge, withShield)
			n.pass()
			g.Expect(n.order()).To(Equal("RLR"))
			tc.then(n)
			n.passes(10 * time.Minute)
			g.Expect(n.order()).To(Equal(tc.left))
		})
	}
}

func TestNoShieldIsMade(t *testing.T) {
	for name, tc := range map[string]struct {
		options simulated.Options
		network hns.NetworkType
		change  func(*config.Config)
		spoil   func(n *node)
		order   types.GomegaMatcher
		result  string
	}{
		"where it is not asked for": {change: func(*config.Config) {}, order: Equal("RL")},
		"in observe mode": {
			change: func(c *config.Config) { c.Mode, c.Shield.Mode = config.Observe, config.Enforce }, order: Equal("RL"),
		},
		"where a remote endpoint stands last already": {options: simulated.Options{Order: simulated.NewestFirst}, order: Equal("LR")},
		"on an overlay network":                       {network: hns.NetworkOverlay, order: Equal("RL")},
		"with a kube-proxy without the fault":         {spoil: func(n *node) { n.kubeProxy = "v1.32.5" }, order: Equal("L")},
		"where HNS refuses duplicates": {
			options: simulated.Options{Duplicates: simulated.RefuseDuplicates}, order: Equal("RL"), result: "refused",
		},
		"when HNS fails": {
			spoil: func(n *node) { n.service.Fail(hns.OpCreateRemoteEndpoint, hns.ErrUnavailable) }, order: Equal("RL"), result: "failed",
		},
		"when the API server does not confirm the pod": {
			spoil: func(n *node) { n.apiErr = errors.New("connection refused") }, order: Equal("RL"), result: "failed",
		},
		"when the pod turns out to be another's": {
			spoil: func(n *node) { n.replacePodOn("win-2") }, order: Equal("RL"), result: "failed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			if tc.network == "" {
				tc.network = hns.NetworkL2Bridge
			}
			if tc.change == nil {
				tc.change = withShield
			}
			n := held(t, tc.options, tc.network, tc.change)
			if tc.spoil != nil {
				tc.spoil(n)
			}
			n.pass()
			g.Expect(n.order()).To(tc.order)
			for _, result := range []string{"made", "refused", "misplaced", "failed"} {
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
func TestAMisplacedShieldIsTakenAway(t *testing.T) {
	g := NewWithT(t)
	n := held(t, simulated.Options{}, hns.NetworkL2Bridge, withShield)
	n.pass2Before(func() { n.service.SetOrder(simulated.NewestFirst) })
	g.Expect(n.order()).To(Equal("LR"))
	g.Expect(n.shields("misplaced")).To(BeEquivalentTo(1))
}

// Where the order is a matter of luck, the guard tries its luck a few times.
func TestAShieldInRandomOrder(t *testing.T) {
	g := NewWithT(t)
	made := 0.0
	for range 50 {
		n := held(t, simulated.Options{Order: simulated.ByID}, hns.NetworkL2Bridge, withShield)
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
