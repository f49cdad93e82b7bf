// SPDX-License-Identifier: Apache-2.0

package eviction_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hnsguard/hnsguard/internal/action"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/eviction"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// ward is a node with a repairer.
type ward struct {
	t        *testing.T
	repairer *eviction.Evictor
	index    *cluster.Index
	local    []inventory.Endpoint
	clock    *testingclock.FakeClock
	events   chan string
	metrics  *prometheus.Registry
	// evicted are the UIDs that were asked to be evicted; refuse is the answer.
	evicted []types.UID
	refuse  error
	// deadline is how long the last eviction might have taken.
	deadline time.Duration
}

func newWard(t *testing.T, evict bool) *ward {
	t.Helper()
	recorder := events.NewFakeRecorder(100)
	w := &ward{
		t: t, index: cluster.NewIndex("win-1"), events: recorder.Events, metrics: prometheus.NewPedanticRegistry(),
		clock: testingclock.NewFakeClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)),
	}
	api := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		SubResourceCreate: func(ctx context.Context, _ client.Client, resource string, _, body client.Object,
			_ ...client.SubResourceCreateOption,
		) error {
			eviction, ok := body.(*policyv1.Eviction)
			if !ok || resource != "eviction" {
				t.Fatalf("unexpected %s of %T", resource, body)
			}
			w.evicted = append(w.evicted, *eviction.DeleteOptions.Preconditions.UID)
			if deadline, has := ctx.Deadline(); has {
				w.deadline = time.Until(deadline)
			}
			return w.refuse
		},
	})
	w.repairer = eviction.New(eviction.Options{
		Enforce: evict, After: 30 * time.Second, Interval: time.Minute, MaxGap: 20 * time.Second, Client: api, Events: recorder,
		Metrics: eviction.NewMetrics(w.metrics), Clock: w.clock,
	})
	return w
}

func (w *ward) pod(name, addr string, changes ...func(*corev1.Pod)) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name, UID: types.UID(name),
		OwnerReferences: []metav1.OwnerReference{{
			Kind: "ReplicaSet", Name: "rs", UID: types.UID("owner of " + name), Controller: new(true),
		}},
	}}
	p.Spec.NodeName = "win-1"
	p.Status.Phase = corev1.PodRunning
	p.Status.PodIPs = []corev1.PodIP{{IP: addr}}
	for _, change := range changes {
		change(p)
	}
	w.index.SetPod(p)
}

func (w *ward) endpoint(addr string) {
	w.local = append(w.local, inventory.Endpoint{Endpoint: hns.Endpoint{
		ID: hns.EndpointID("ep-" + addr), Addresses: []netip.Addr{netip.MustParseAddr(addr)},
	}})
}

// look lets time pass, with a pass every five seconds and one at its end.
func (w *ward) look(after time.Duration) {
	for ; after > 5*time.Second; after -= 5 * time.Second {
		w.pass(5 * time.Second)
	}
	w.pass(after)
}

// pass is one pass, after a time in which the node was not observed.
func (w *ward) pass(after time.Duration) {
	w.clock.SetTime(w.clock.Now().Add(after))
	w.repairer.Run(w.t.Context(), action.Pass{Evidence: verdict.Evidence{
		Snapshot: inventory.Snapshot{Endpoints: w.local}, Cluster: w.index.View(nil),
	}})
}

func (w *ward) happened() []string {
	var all []string
	for {
		select {
		case e := <-w.events:
			all = append(all, e)
		default:
			return all
		}
	}
}

func (w *ward) victims() int {
	w.t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "hnsguard_victims" {
			return int(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	w.t.Fatal("no metric")
	return 0
}

func TestAVictimIsReportedOnce(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, false)
	w.pod("lost", "10.240.0.1")
	w.pod("fine", "10.240.0.2")
	w.endpoint("10.240.0.2")
	w.look(0)
	w.look(29 * time.Second)
	g.Expect(w.victims()).To(BeZero(), "not for long enough yet")
	w.look(time.Second)
	w.look(time.Hour)
	g.Expect(w.victims()).To(Equal(1))
	g.Expect(w.happened()).To(ConsistOf(And(ContainSubstring("Warning NetworkEndpointLost"), ContainSubstring("10.240.0.1"))))
	g.Expect(w.evicted).To(BeEmpty())
}

// Invariant 1.
func TestWhoIsNoVictim(t *testing.T) {
	for name, change := range map[string]func(*corev1.Pod){
		"a pod that is being deleted":   func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} },
		"a pod that has ended":          func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded },
		"a pod that does not run yet":   func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending },
		"a hostNetwork pod":             func(p *corev1.Pod) { p.Spec.HostNetwork = true },
		"a pod without address":         func(p *corev1.Pod) { p.Status.PodIPs = nil },
		"a pod of which one address is": func(p *corev1.Pod) { p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: "10.240.0.2"}) },
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			w := newWard(t, true)
			w.pod("suspect", "10.240.0.1", change)
			w.pod("fine", "10.240.0.2")
			w.endpoint("10.240.0.2")
			w.look(0)
			w.look(time.Hour)
			g.Expect(w.victims()).To(BeZero())
			g.Expect(w.evicted).To(BeEmpty())
		})
	}
}

func TestABreakRestartsTheClock(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, false)
	w.pod("lost", "10.240.0.1")
	w.look(0)
	w.endpoint("10.240.0.1")
	w.look(20 * time.Second)
	w.local = nil
	w.look(time.Second)
	w.look(20 * time.Second)
	g.Expect(w.victims()).To(BeZero())
}

func TestARemoteEndpointIsNoNetwork(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, false)
	w.pod("lost", "10.240.0.1")
	w.endpoint("10.240.0.1")
	w.local[0].Flags = hns.FlagRemote
	w.look(0)
	w.look(time.Minute)
	g.Expect(w.victims()).To(Equal(1))
}

func TestEvictions(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true)
	w.pod("lost-1", "10.240.0.1")
	w.pod("lost-2", "10.240.0.2")
	w.pod("fine", "10.240.0.3")
	w.endpoint("10.240.0.3")
	w.look(0)
	w.look(30 * time.Second)
	g.Expect(w.evicted).To(ConsistOf(types.UID("lost-1")), "one at a time")
	g.Expect(w.happened()).To(ContainElement(ContainSubstring("Warning EvictedWithoutNetwork")))
	w.pod("lost-1", "10.240.0.1", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} })
	w.look(30 * time.Second)
	g.Expect(w.evicted).To(HaveLen(1), "not so soon")
	w.look(30 * time.Second)
	g.Expect(w.evicted).To(ConsistOf(types.UID("lost-1"), types.UID("lost-2")))
}

// A replacement that loses its endpoint too shows that eviction does not help.
func TestAControllerWhosePodsAreLostAgainIsLeftAlone(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true)
	same := func(p *corev1.Pod) { p.OwnerReferences[0].UID = "rs" }
	w.pod("fine", "10.240.0.9")
	w.endpoint("10.240.0.9")
	for n := range 3 {
		w.pod("lost", "10.240.0.1", same, func(p *corev1.Pod) { p.UID = types.UID(fmt.Sprintf("lost-%d", n)) })
		w.look(4 * time.Minute)
	}
	g.Expect(w.evicted).To(Equal([]types.UID{"lost-0", "lost-1"}), "after 30 seconds, and again five minutes later")
	w.look(10 * time.Minute)
	g.Expect(w.evicted).To(HaveLen(3))
}

// Invariant 1: a time in which the node was not observed is no time without endpoint.
func TestTimeInWhichTheNodeWasNotObservedDoesNotCount(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true)
	w.pod("lost", "10.240.0.1")
	w.pass(0)
	w.pass(time.Hour)
	g.Expect(w.victims()).To(BeZero())
	w.look(29 * time.Second)
	g.Expect(w.victims()).To(BeZero())
	w.look(time.Second)
	g.Expect(w.victims()).To(Equal(1))
}

func TestAnEvictionHasADeadline(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true)
	w.pod("lost", "10.240.0.1")
	w.look(30 * time.Second)
	w.look(5 * time.Second)
	g.Expect(w.evicted).To(HaveLen(1))
	g.Expect(w.deadline).To(BeNumerically("~", 5*time.Second, time.Second))
}

// Invariant 2.
func TestAPodThatNothingWouldReplaceIsNotEvicted(t *testing.T) {
	for name, change := range map[string]func(*corev1.Pod){
		"a bare pod":                 func(p *corev1.Pod) { p.OwnerReferences = nil },
		"the mirror of a static pod": func(p *corev1.Pod) { p.OwnerReferences[0].Kind = "Node" },
		"a DaemonSet's pod":          func(p *corev1.Pod) { p.OwnerReferences[0].Kind = "DaemonSet" },
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			w := newWard(t, true)
			w.pod("lost", "10.240.0.1", change)
			w.look(0)
			w.look(time.Minute)
			g.Expect(w.victims()).To(Equal(1))
			g.Expect(w.evicted).To(BeEmpty())
		})
	}
}

// Invariant 3.
func TestWhenAllAreVictimsNoneIsEvicted(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true)
	w.pod("lost-1", "10.240.0.1")
	w.pod("lost-2", "10.240.0.2")
	w.look(0)
	w.look(time.Minute)
	g.Expect(w.victims()).To(Equal(2))
	g.Expect(w.evicted).To(BeEmpty())
}

func TestRefusedEvictions(t *testing.T) {
	pods := corev1.Resource("pods")
	for result, err := range map[string]error{
		"blocked_by_budget": apierrors.NewTooManyRequests("budget", 10),
		"already_gone":      apierrors.NewNotFound(pods, "lost"),
		"failed":            errors.New("connection refused"),
	} {
		t.Run(result, func(t *testing.T) {
			g := NewWithT(t)
			w := newWard(t, true)
			w.refuse = err
			w.pod("lost", "10.240.0.1")
			w.look(0)
			w.look(30 * time.Second)
			w.look(time.Minute)
			g.Expect(w.evicted).To(HaveLen(2), "it is tried again")
			g.Expect(w.happened()).NotTo(ContainElement(ContainSubstring("Evicted")))
			g.Expect(testutil.GatherAndLint(w.metrics)).To(BeEmpty())
			families, err := w.metrics.Gather()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(families).To(ContainElement(HaveField("GetMetric()", ContainElement(And(
				HaveField("GetLabel()", ContainElement(HaveField("GetValue()", result))),
				HaveField("GetCounter().GetValue()", BeEquivalentTo(2)))))))
		})
	}
}
