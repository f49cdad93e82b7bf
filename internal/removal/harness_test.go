// SPDX-License-Identifier: Apache-2.0

package removal_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/removal"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

const ip = "10.240.0.11"

// node is a Windows node with a remover, for which the test sets the state of the watch.
type node struct {
	*nodetest.Node
	t       *testing.T
	remover *removal.Remover
	fresh   *freshness
	history *history.Ring
	// table lists all pods; nil is the default.
	table removal.Table
	// random is the remover's source of randomness: by default without jitter.
	random func() float64
	// replaced is the version of the kube-proxy that replaced the known one; empty without replacement.
	replaced string
}

const unreadable = "unreadable"

// currentKubeProxy returns the profile that a remover reads before it deletes.
func (n *node) currentKubeProxy(context.Context) (kubeproxy.Profile, error) {
	if n.replaced == unreadable {
		return kubeproxy.Profile{}, errConnection
	}
	return kubeproxy.ProfileOf(cmp.Or(n.replaced, n.KubeProxy)), nil
}

// freshness is the remover's [removal.Freshness].
type freshness struct {
	current    bool
	currentErr error
	// listed are the addresses on the API server; listFresh is false if they may not be read now.
	listed    sets.Set[netip.Addr]
	listFresh bool
	listErr   error
	// before runs before an answer, if set.
	before func()
	// since are the moments for which a proof was requested, and lists is how often all slices were read.
	since []time.Time
	lists int
	// proven is the resource version of a proof.
	proven string
}

func (f *freshness) Current(_ context.Context, since time.Time) (bool, error) {
	f.since = append(f.since, since)
	if f.before != nil {
		f.before()
	}
	return f.current, f.currentErr
}

func (f *freshness) ProvenVersion() string { return f.proven }

func (f *freshness) Listed(context.Context) (sets.Set[netip.Addr], bool, error) {
	f.lists++
	return f.listed, f.listFresh, f.listErr
}

func newNode(t *testing.T, changes ...func(*config.Config)) *node {
	t.Helper()
	n := bare(t, changes...)
	n.history = history.NewRing(history.Options{Clock: n.Clock})
	n.boot(n.history)
	return n
}

// bare returns a node without a remover.
func bare(t *testing.T, changes ...func(*config.Config)) *node {
	t.Helper()
	return &node{
		Node: nodetest.New(t, nodetest.Options{Config: changes}), t: t, fresh: &freshness{current: true},
		random: func() float64 { return 0 },
	}
}

// varied returns seeded random numbers.
func varied() func() float64 { return rand.New(rand.NewPCG(1, 2)).Float64 }

func (n *node) boot(h *history.Ring) {
	confirmer := n.Confirmer()
	confirmer.Pods.Table, confirmer.KubeProxy = n.table, n.currentKubeProxy
	n.remover = removal.New(removal.Options{
		Node: nodetest.Name, Config: n.Config, Confirmer: confirmer, HNS: n.Service,
		Limiter: removal.NewLimiter(n.Config), Freshness: n.fresh,
		LoadBalancers: n.Balancers, Events: n.Events, History: h, Metrics: removal.NewMetrics(n.Registry),
		Clock: n.Clock, Random: func() float64 { return n.random() },
	})
	n.Watch.Observe(n.remover)
}

// pass runs one pass of the remover, and a reading of load balancers alongside it.
func (n *node) pass() time.Duration {
	n.t.Helper()
	pass := n.Observe()
	next := n.remover.Run(n.t.Context(), pass)
	n.Balancers.Run(n.t.Context(), pass)
	n.ReadBalancers()
	return next
}

// happened returns the entries of an act, the newest first.
func happened(ring *history.Ring, act history.Act) []entry {
	var entries []entry
	for _, e := range ring.Entries() {
		if e.Act == act {
			entries = append(entries, entry{e})
		}
	}
	return entries
}

type entry struct{ history.Entry }

// failed reports whether the entry has an error.
func (e entry) failed() bool { return e.Detail != "" }

// In a situation, the next pass removes the first remote endpoint.

func conflict(n *node) hns.EndpointID {
	remote, _ := n.Conflict("web", ip)
	return remote
}

func early(n *node) hns.EndpointID {
	remote := n.Remote(ip)
	n.Pod("web", "")
	n.pass()
	n.Wait(time.Second)
	n.Local(ip)
	return remote
}

func orphan(n *node) hns.EndpointID {
	remote := n.Remote(ip)
	n.pass()
	n.Wait(n.Config.Orphan.GracePeriod.Duration)
	n.pass() // requests a reading of load balancers
	return remote
}

func leaked(n *node) hns.EndpointID {
	remote := orphan(n)
	n.Endpoint(ip, 0)
	return remote
}

func forgotten(n *node) hns.EndpointID {
	n.KubeProxy = "v1.32.3"
	n.Forget()
	return conflict(n)
}

// situation is a situation and the verdict of its endpoint.
type situation struct {
	kind  string
	setUp func(*node) hns.EndpointID
}

var (
	aConflict       = situation{"conflict", conflict}
	anEarlyConflict = situation{"conflict_early", early}
	anOrphan        = situation{"orphan", orphan}
	// aLeak is an orphan with the address of a local endpoint that a CNI left behind.
	aLeak = situation{"orphan", leaked}
	// wasHeld is a conflict on a node whose kube-proxy has forgotten the address.
	wasHeld = situation{"conflict", forgotten}
)

// Without a fault, each situation ends in a removal: in the tests below, only the fault keeps the endpoint.
func TestEachSituationEndsInARemoval(t *testing.T) {
	for name, s := range map[string]situation{
		"a conflict": aConflict, "an early conflict": anEarlyConflict, "an orphan": anOrphan,
		"an orphan beside a leaked local endpoint": aLeak, "a conflict that was held": wasHeld,
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t)
			remote := s.setUp(n)
			g.Expect(n.There()).To(ContainElement(remote))
			g.Expect(n.pass()).To(Equal(250*time.Millisecond), "to verify it")
			g.Expect(n.There()).NotTo(ContainElement(remote))
			g.Expect(n.Removals(s.kind, "removed")).To(BeZero(), "it is not verified yet")
			n.Wait(time.Second)
			g.Expect(n.pass()).To(BeZero())
			g.Expect(n.Removals(s.kind, "removed")).To(BeEquivalentTo(1))
			g.Expect(n.Series("hnsguard_detection_to_removal_seconds{verdict=" + s.kind + "}")).To(BeEquivalentTo(1))
			g.Expect(n.Removals(s.kind, "already_gone") + n.Removals(s.kind, "refused") + n.Removals(s.kind, "unconfirmed") +
				n.Removals(s.kind, "failed") + n.Removals(s.kind, "unknown") + n.Removals(s.kind, "still_listed")).To(BeZero())
		})
	}
}
