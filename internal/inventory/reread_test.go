// SPDX-License-Identifier: Apache-2.0

package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/sets"
	testingclock "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

const (
	poll        = 5 * time.Second
	rereadEvery = 5 * time.Minute
	remoteRest  = 7 * 24 * time.Hour
)

// restored is an HNS that may change the object behind an ID, as a restart that restores objects might.
type restored struct {
	networks  []hns.Network
	endpoints map[hns.EndpointID]hns.Endpoint
	broken    error
	// listed is how often networks were listed, and read the endpoints that were read, in order.
	listed int
	read   []hns.EndpointID
}

var errBroken = errors.New("broken")

func newRestored(remotes, locals int) *restored {
	r := &restored{
		networks:  []hns.Network{{ID: "pods-1", Name: "azure", Type: hns.NetworkL2Bridge}},
		endpoints: map[hns.EndpointID]hns.Endpoint{},
	}
	for n := range remotes {
		r.make(fmt.Sprintf("remote-%d", n), hns.FlagRemote, byte(n))
	}
	for n := range locals {
		r.make(fmt.Sprintf("local-%d", n), 0, byte(100+n))
	}
	return r
}

func (r *restored) make(id string, flags hns.EndpointFlags, last byte) {
	r.endpoints[hns.EndpointID(id)] = hns.Endpoint{
		ID: hns.EndpointID(id), Network: r.networks[0].ID, Flags: flags, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, last})},
		SharedContainers: 1,
	}
}

// rename gives the network and its endpoints another network ID, as if it had been recreated.
func (r *restored) rename(id hns.NetworkID) {
	r.networks[0].ID = id
	for _, e := range r.endpoints {
		e.Network = id
		r.endpoints[e.ID] = e
	}
}

func (r *restored) Networks(context.Context) ([]hns.Network, error) {
	r.listed++
	return slices.Clone(r.networks), r.broken
}

func (r *restored) ListEndpointIDs(context.Context) ([]hns.EndpointID, error) {
	return slices.Sorted(maps.Keys(r.endpoints)), r.broken
}

func (r *restored) Endpoint(_ context.Context, id hns.EndpointID) (hns.Endpoint, error) {
	r.read = append(r.read, id)
	return r.endpoints[id], r.broken
}

// watched is an inventory of such an HNS, with its clock.
type watched struct {
	*restored
	*inventory.Inventory
	clock *testingclock.FakePassiveClock
}

func watch(r *restored) *watched {
	clk := testingclock.NewFakePassiveClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC))
	return &watched{r, inventory.New(r, inventory.Options{
		RereadEvery: rereadEvery, NetworksEvery: poll, MaxGap: 4 * poll, Clock: clk,
	}), clk}
}

// after observes after some time has passed.
func (w *watched) after(t *testing.T, d time.Duration) (verdict.Snapshot, error) {
	t.Helper()
	w.clock.SetTime(w.clock.Now().Add(d))
	return w.Observe(t.Context())
}

// polls observes every few seconds for some time; days observes every minute for some days.
func (w *watched) polls(t *testing.T, lasts time.Duration) {
	t.Helper()
	w.pollsEvery(t, poll, lasts)
}

func (w *watched) days(t *testing.T, n time.Duration) {
	t.Helper()
	w.pollsEvery(t, time.Minute, n*24*time.Hour)
}

func (w *watched) pollsEvery(t *testing.T, step, lasts time.Duration) {
	t.Helper()
	for ; lasts > 0; lasts -= step {
		if _, err := w.after(t, step); err != nil {
			t.Fatal(err)
		}
	}
}

// Invariant 5.
func TestNetworksAreListedSeldomWhileNothingAsksForIt(t *testing.T) {
	g := NewWithT(t)
	w := watch(newRestored(10, 1))
	w.polls(t, time.Hour)
	g.Expect(w.listed).To(BeNumerically("~", int(time.Hour/rereadEvery), 1))
}

// Invariant 5.
func TestAPodNetworkThatIsMadeAgainIsNoticed(t *testing.T) {
	for name, tc := range map[string]struct {
		happens func(*restored)
		within  time.Duration
	}{
		"without endpoints yet": {func(r *restored) {
			r.endpoints = map[hns.EndpointID]hns.Endpoint{}
			r.rename("pods-2")
		}, poll},
		"with one new endpoint": {func(r *restored) {
			r.endpoints = map[hns.EndpointID]hns.Endpoint{}
			r.rename("pods-2")
			r.make("another", hns.FlagRemote, 1)
		}, poll},
		"beside one that stayed behind": {func(r *restored) {
			r.networks[0].ID = "pods-2"
			r.make("another", 0, 200)
		}, poll},
		"with the endpoints that it had": {func(r *restored) { r.rename("pods-2") }, rereadEvery},
		"after a failure": {func(r *restored) {
			r.rename("pods-2")
			r.broken = errBroken
		}, 2 * poll},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			w := watch(newRestored(50, 5))
			w.days(t, 1)
			tc.happens(w.restored)
			took := time.Duration(0)
			for ; took < time.Hour; took += poll {
				snapshot, err := w.after(t, poll)
				w.broken = nil
				if err == nil && snapshot.Network.ID == "pods-2" {
					break
				}
			}
			g.Expect(took + poll).To(BeNumerically("<=", tc.within))
		})
	}
}

// Invariant 5. The CNI plugin creates its network with the node's first pod, and another program may have created one
// before.
func TestABetterPodNetworkIsTaken(t *testing.T) {
	proxied := func(r *restored, id string, network hns.NetworkID) {
		addr := netip.MustParseAddr("10.0.0.77")
		r.endpoints[hns.EndpointID(id)] = hns.Endpoint{
			ID: hns.EndpointID(id), Network: network, Flags: hns.FlagRemote, Addresses: []netip.Addr{addr}, MAC: kubeproxy.RemoteMAC(addr),
		}
	}
	azure := hns.Network{ID: "pods-2", Name: "azure", Type: hns.NetworkL2Bridge}
	for name, tc := range map[string]struct {
		appears func(*restored)
		want    hns.NetworkID
	}{
		"that of a known CNI": {func(r *restored) { r.networks = append(r.networks, azure) }, "pods-2"},
		"that of a known CNI, with kube-proxy's endpoints": {func(r *restored) {
			r.networks = append(r.networks, azure)
			proxied(r, "proxied", azure.ID)
		}, "pods-2"},
		"that of a known CNI, and kube-proxy uses both": {func(r *restored) {
			proxied(r, "former", "pods-1")
			r.networks = append(r.networks, azure)
			proxied(r, "proxied", azure.ID)
		}, "pods-2"},
		"another unknown one": {func(r *restored) {
			r.networks = append(r.networks, hns.Network{ID: "pods-2", Name: "lab", Type: hns.NetworkL2Bridge})
		}, "pods-1"},
		"a known name, but kube-proxy uses the first": {func(r *restored) {
			proxied(r, "proxied", "pods-1")
			r.networks = append(r.networks, azure)
		}, "pods-1"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			r := newRestored(0, 1)
			r.networks[0].Name = "other"
			w := watch(r)
			w.polls(t, poll)
			tc.appears(r)
			var last verdict.Snapshot
			for range 2 * rereadEvery / poll {
				snapshot, err := w.after(t, poll)
				g.Expect(err).NotTo(HaveOccurred())
				last = snapshot
			}
			g.Expect(last.Network.ID).To(Equal(tc.want))
		})
	}
}

// Invariant 4. What was read before HNS restarts is not believed for days.
func TestASignThatHNSIsNotWhatItWasLetsAllBeReadAgain(t *testing.T) {
	for name, happens := range map[string]func(*restored){
		"a failure":                            func(r *restored) { r.broken = errBroken },
		"a local endpoint on another network":  func(r *restored) { r.rename("pods-2") },
		"another pod network instead of ours":  func(r *restored) { r.networks[0].ID = "pods-2" },
		"no pod network at all, for some time": func(r *restored) { r.networks = nil },
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			w := watch(newRestored(50, 5))
			w.days(t, 1)
			networks := slices.Clone(w.networks)
			happens(w.restored)
			_, err := w.after(t, poll)
			if w.broken != nil {
				g.Expect(err).To(MatchError(errBroken))
			}
			w.broken, w.read = nil, nil
			for took := time.Duration(0); took < 3*rereadEvery; took += poll {
				if _, err := w.after(t, poll); err != nil {
					w.networks = networks // it no longer fails
				}
			}
			g.Expect(sets.New(w.read...)).To(HaveLen(55))
		})
	}
}

// Invariant 4. At every moment, the inventory's knowledge of each endpoint is no older than it may be, and no endpoint
// is read more often than necessary.
func TestKnowledgeAgesAsItMay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := watch(newRestored(20, 4))
		m := newAges(w)
		m.observe(t, 0)
		t.Repeat(map[string]func(*rapid.T){
			"calm": func(t *rapid.T) {
				for range rapid.IntRange(1, 300).Draw(t, "minutes") {
					m.observe(t, time.Minute)
				}
			},
			"busy": func(t *rapid.T) {
				for range rapid.IntRange(1, 100).Draw(t, "passes") {
					m.observe(t, 250*time.Millisecond)
				}
			},
			"fails": func(t *rapid.T) {
				w.broken = errBroken
				m.observe(t, poll)
				w.broken = nil
			},
			"comes": func(t *rapid.T) {
				id := fmt.Sprintf("remote-%d", rapid.IntRange(0, 30).Draw(t, "number"))
				if _, there := w.endpoints[hns.EndpointID(id)]; !there {
					w.make(id, hns.FlagRemote, 50)
				}
			},
			"goes": func(t *rapid.T) {
				delete(w.endpoints, rapid.SampledFrom(slices.Sorted(maps.Keys(w.endpoints))).Draw(t, "endpoint"))
				w.make("local-0", 0, 100) // one endpoint always stays
				m.observe(t, poll)
			},
		})
	})
}

// ages are the expected ages of endpoints: when each was last read, and how often it was unchanged.
type ages struct {
	*watched
	known   map[hns.EndpointID]*age
	started bool
}

type age struct {
	read time.Time
	rest time.Duration
	// hastened is when it was last read out of turn.
	hastened time.Time
}

func newAges(w *watched) *ages {
	return &ages{watched: w, known: map[hns.EndpointID]*age{}}
}

func (m *ages) hasten(ids sets.Set[hns.EndpointID]) {
	for id := range ids {
		if a := m.known[id]; a != nil {
			a.hastened, a.rest = m.clock.Now(), rereadEvery
		}
	}
}

func (m *ages) observe(t *rapid.T, after time.Duration) {
	m.clock.SetTime(m.clock.Now().Add(after))
	m.read = nil
	now := m.clock.Now()
	_, err := m.Observe(t.Context())
	for _, id := range m.read {
		m.learn(t, id, now)
	}
	if err != nil {
		m.hasten(sets.KeySet(m.known))
		return
	}
	m.started = true
	for id := range m.known {
		if _, there := m.endpoints[id]; !there {
			delete(m.known, id)
		}
	}
	for id := range m.endpoints {
		m.check(t, id, now)
	}
}

// learn records one read of an endpoint.
func (m *ages) learn(t *rapid.T, id hns.EndpointID, now time.Time) {
	a, known := m.known[id]
	if !known {
		a = &age{read: now, rest: rereadEvery}
		if e := m.endpoints[id]; !m.started && e.Remote() {
			a.rest = remoteRest
		}
		m.known[id] = a
		return
	}
	if now.Sub(a.read) < a.rest/2 && now.Sub(a.hastened) > 2*rereadEvery {
		t.Fatalf("%s was read after %s, of %s in which it may rest", id, now.Sub(a.read), a.rest)
	}
	a.read = now
	a.rest = remoteRest
	if local := m.endpoints[id]; !local.Remote() {
		a.rest = rereadEvery
	}
}

// late is how late an endpoint may be read: there is at least one snapshot per minute, and each reads at least ten
// endpoints.
const late = 4 * time.Minute

func (m *ages) check(t *rapid.T, id hns.EndpointID, now time.Time) {
	a, known := m.known[id]
	if !known {
		t.Fatalf("%s is there and was never read", id)
	}
	since := a.read
	if a.hastened.After(since) {
		since = a.hastened
	}
	if now.Sub(since) > a.rest+late {
		t.Fatalf("%s was last read %s ago, and may rest for %s", id, now.Sub(a.read), a.rest)
	}
}

// A node without changes costs little from the start.
func TestWhatWasThereBeforeIsReadAgainSeldom(t *testing.T) {
	g := NewWithT(t)
	w := watch(newRestored(100, 0))
	w.days(t, 3)
	g.Expect(w.read).To(HaveLen(100))
	w.days(t, 4)
	g.Expect(sets.New(w.read[100:]...)).To(HaveLen(100), "once in a week")
	g.Expect(len(w.read)).To(BeNumerically("<=", 3*100))
}

// It may have been read half created.
func TestWhatIsNewIsReadAgainSoon(t *testing.T) {
	g := NewWithT(t)
	w := watch(newRestored(100, 0))
	w.polls(t, poll)
	w.make("new", hns.FlagRemote, 200)
	w.polls(t, poll)
	w.read = nil
	w.polls(t, rereadEvery)
	g.Expect(w.read).To(Equal([]hns.EndpointID{"new"}))
	w.polls(t, 20*time.Minute)
	g.Expect(w.read).To(HaveLen(1), "it was the same")
}

// Invariant 4: a CNI attaches what it creates within seconds. Endpoints that it left behind are read no more often than
// others.
func TestWhatIsNotAttachedIsReadAgainAfterAsLongAsItHasBeenThere(t *testing.T) {
	g := NewWithT(t)
	w := watch(newRestored(0, 0))
	_, err := w.after(t, poll)
	g.Expect(err).NotTo(HaveOccurred())
	w.make("fresh", 0, 1)
	fresh := w.endpoints["fresh"]
	fresh.SharedContainers = 0
	w.endpoints["fresh"] = fresh
	readWithin := func(d time.Duration) int {
		w.read = nil
		for end := w.clock.Now().Add(d); w.clock.Now().Before(end); {
			_, err := w.after(t, time.Second)
			g.Expect(err).NotTo(HaveOccurred())
		}
		return len(w.read)
	}
	g.Expect(readWithin(17*time.Second)).To(Equal(6), "at 0, 1, 2, 4, 8 and 16 seconds")
	readWithin(time.Hour)
	g.Expect(readWithin(10 * rereadEvery)).To(Equal(10))
	fresh.SharedContainers = 1
	w.endpoints["fresh"] = fresh
	g.Expect(readWithin(rereadEvery)).To(Equal(1))
}
