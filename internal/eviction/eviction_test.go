// SPDX-License-Identifier: Apache-2.0

package eviction_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
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

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/eviction"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// ward is a node with an evictor.
type ward struct {
	t       *testing.T
	evictor *eviction.Evictor
	index   *cluster.Index
	local   []verdict.Endpoint
	network hns.Network
	clock   *testingclock.FakeClock
	events  chan string
	metrics *prometheus.Registry
	history *history.Ring
	// evicted are the UIDs in the evictions that the API server got; refuse is its answer for the pods with a name, or for
	// all.
	evicted []types.UID
	refuse  map[string]error
	// forbidden is the answer to an eviction without a UID, which the admission policy must refuse.
	forbidden error
	// hangs makes the API server not answer.
	hangs bool
}

// every is the name for the pods of all names.
const every = "*"

func newWard(t *testing.T, evict bool, changes ...func(*eviction.Options)) *ward {
	t.Helper()
	recorder := events.NewFakeRecorder(100)
	w := &ward{
		t: t, index: cluster.NewIndex("win-1"), network: hns.Network{ID: "pods"},
		events: recorder.Events, metrics: prometheus.NewPedanticRegistry(),
		clock: testingclock.NewFakeClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)),
	}
	api := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		SubResourceCreate: func(ctx context.Context, _ client.Client, resource string, _, body client.Object,
			opts ...client.SubResourceCreateOption,
		) error {
			if w.hangs {
				w.evicted = append(w.evicted, "?")
				<-ctx.Done()
				return ctx.Err()
			}
			eviction, ok := body.(*policyv1.Eviction)
			if !ok || resource != "eviction" {
				t.Fatalf("unexpected %s of %T", resource, body)
			}
			if eviction.DeleteOptions == nil {
				var all client.SubResourceCreateOptions
				all.ApplyOptions(opts)
				NewWithT(t).Expect(all.DryRun).To(Equal([]string{metav1.DryRunAll}))
				return w.forbidden
			}
			w.evicted = append(w.evicted, *eviction.DeleteOptions.Preconditions.UID)
			return cmp.Or(w.refuse[eviction.Name], w.refuse[every])
		},
	})
	w.history = history.NewRing(history.Options{Clock: w.clock})
	o := eviction.Options{
		Enforce: evict, After: 30 * time.Second, Interval: time.Minute, MaxGap: 20 * time.Second, Client: api,
		Events: recorder, History: w.history, Metrics: eviction.NewMetrics(w.metrics), Clock: w.clock,
		Describe: report.Words{
			Node: "win-1", Config: config.Default(), KubeProxy: func() kubeproxy.Profile { return kubeproxy.Profile{} },
		}.Pod,
	}
	for _, change := range changes {
		change(&o)
	}
	w.evictor = eviction.New(o)
	return w
}

func (w *ward) pod(name, addr string, changes ...func(*corev1.Pod)) {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name, UID: types.UID(name),
		OwnerReferences: []metav1.OwnerReference{owner("ReplicaSet", "rs of "+name)},
	}}
	p.Spec.NodeName = "win-1"
	p.Status.Phase = corev1.PodRunning
	p.Status.PodIPs = []corev1.PodIP{{IP: addr}}
	for _, change := range changes {
		change(p)
	}
	w.index.SetPod(p)
}

func owner(kind, name string) metav1.OwnerReference {
	return metav1.OwnerReference{Kind: kind, Name: name, UID: types.UID(name), Controller: new(true)}
}

func ownedBy(kind, name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.OwnerReferences = []metav1.OwnerReference{owner(kind, name)} }
}

func (w *ward) gone(name string) {
	w.index.DeletePod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
}

func (w *ward) endpoint(addr string) {
	w.local = append(w.local, verdict.Endpoint{Endpoint: hns.Endpoint{
		ID: hns.EndpointID("ep-" + addr), Addresses: []netip.Addr{netip.MustParseAddr(addr)}, Namespace: "ns",
	}})
}

// look lets time pass, with a pass at its end. Because time in which the node is not observed does not count, it also
// runs a pass every five seconds before.
func (w *ward) look(after time.Duration) {
	const interval = 5 * time.Second
	for ; after > interval; after -= interval {
		w.jump(interval)
	}
	w.jump(after)
}

// jump runs a pass after the given time, in which the node was not observed.
func (w *ward) jump(after time.Duration) {
	w.clock.Step(after)
	w.evictor.Run(w.t.Context(), pass.Pass{Evidence: verdict.Evidence{
		Snapshot: verdict.Snapshot{Network: w.network, Endpoints: w.local}, Cluster: w.index.View(nil), Now: w.clock.Now(),
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

// victims counts the pods that lack their network, and ending those that have been ending for too long.
func (w *ward) victims() int { return len(w.evictor.Lacking()) - w.ending() }

func (w *ward) ending() (n int) {
	for _, v := range w.evictor.Lacking() {
		if v.State == verdict.PodEndingTooLong {
			n++
		}
	}
	return n
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
	g.Expect(w.history.Entries()).To(ConsistOf(And(
		HaveField("Act", history.Victim), HaveField("Count", 1), HaveField("Pods", ConsistOf("default/lost")),
		HaveField("Address", netip.MustParseAddr("10.240.0.1")))))
}

// Invariant 8: a pod that should be gone is reported once, and is not a victim.
func TestAPodThatEndsForTooLongIsReportedOnce(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true)
	ending := func(p *corev1.Pod) {
		p.DeletionTimestamp = &metav1.Time{Time: w.clock.Now()}
		p.DeletionGracePeriodSeconds = new(int64(0))
	}
	w.pod("stuck", "10.240.0.1", ending)
	w.pod("without address", "", ending, func(p *corev1.Pod) { p.Status.PodIPs = nil })
	w.pod("ends with its endpoint", "10.240.0.3", ending)
	w.endpoint("10.240.0.3")
	w.look(59 * time.Minute)
	g.Expect(w.happened()).To(BeEmpty(), "not for long enough yet")
	w.look(time.Minute)
	w.look(time.Hour)
	g.Expect(w.happened()).To(ConsistOf(
		And(ContainSubstring("Warning NetworkEndpointGoneBeforePod"), ContainSubstring("delete pod stuck --grace-period=0")),
		ContainSubstring("Warning NetworkEndpointGoneBeforePod")))
	g.Expect(w.ending()).To(Equal(2))
	g.Expect(w.victims()).To(BeZero())
	g.Expect(w.evicted).To(BeEmpty())
	g.Expect(w.history.Entries()).To(ConsistOf(
		And(HaveField("Result", history.Ending), HaveField("Pods", ConsistOf("default/stuck")),
			HaveField("Address", netip.MustParseAddr("10.240.0.1"))),
		And(HaveField("Result", history.Ending), HaveField("Pods", ConsistOf("default/without address")))))
	w.gone("stuck")
	w.look(time.Second)
	g.Expect(w.ending()).To(Equal(1))
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

// Invariant 2: a pod whose endpoint is not attached is reported, but not evicted.
func TestAnEndpointThatIsNotAttachedIsNoNetwork(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true)
	w.pod("cut-off", "10.240.0.1")
	w.endpoint("10.240.0.1")
	w.pod("fine", "10.240.0.2")
	w.endpoint("10.240.0.2")
	w.local[0].Namespace = ""
	w.look(0)
	w.look(time.Hour)
	g.Expect(w.evictor.Lacking()).To(ConsistOf(HaveField("State", verdict.PodNotAttached)))
	g.Expect(w.happened()).To(ConsistOf(And(ContainSubstring("Warning NetworkEndpointNotAttached"), ContainSubstring("10.240.0.1"))))
	g.Expect(w.evicted).To(BeEmpty())

	w.local = w.local[1:]
	w.look(time.Second)
	g.Expect(w.evicted).To(ConsistOf(types.UID("cut-off")), "it has none at all now")
}

// Invariant 3: a replacement would get no network either.
func TestWithoutPodNetworkNoPodIsEvicted(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true)
	w.network = hns.Network{}
	w.pod("lost", "10.240.0.1")
	w.look(0)
	w.look(time.Hour)
	g.Expect(w.victims()).To(Equal(1))
	g.Expect(w.evicted).To(BeEmpty())
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
	w.pod("lost-1", "10.240.0.1", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: w.clock.Now()} })
	w.look(30 * time.Second)
	g.Expect(w.evicted).To(HaveLen(1), "not so soon")
	w.look(30 * time.Second)
	g.Expect(w.evicted).To(ConsistOf(types.UID("lost-1"), types.UID("lost-2")))
	g.Expect(w.history.Entries()).To(HaveLen(4))
	g.Expect(w.history.Entries()[0]).To(And(HaveField("Act", history.Eviction), HaveField("Result", "evicted"),
		HaveField("Pods", ConsistOf("default/lost-2")), HaveField("Detail", "")))
}

// Invariant 6: kubelet may be creating the pod's sandbox again.
func TestAVictimIsReportedBeforeItIsEvicted(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true, func(o *eviction.Options) { o.Sandbox = time.Minute })
	w.pod("lost", "10.240.0.1")
	w.pod("fine", "10.240.0.3")
	w.endpoint("10.240.0.3")
	w.look(0)
	for range 5 {
		w.look(15 * time.Second)
	}
	g.Expect(w.happened()).To(ConsistOf(ContainSubstring("Warning NetworkEndpointLost")))
	g.Expect(w.evicted).To(BeEmpty())
	w.look(15 * time.Second)
	g.Expect(w.evicted).To(ConsistOf(types.UID("lost")))
}

// Invariant 2.
func TestAPodThatIsNotReplacedIsNotEvicted(t *testing.T) {
	for name, change := range map[string]func(*corev1.Pod){
		"no owner":                   func(p *corev1.Pod) { p.OwnerReferences = nil },
		"an owner, not in control":   func(p *corev1.Pod) { p.OwnerReferences[0].Controller = nil },
		"the mirror of a static pod": ownedBy("Node", "win-1"),
		"a DaemonSet's":              ownedBy("DaemonSet", "logs"),
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			w := newWard(t, true)
			w.pod("lost", "10.240.0.1", change)
			w.look(0)
			w.look(time.Hour)
			g.Expect(w.victims()).To(Equal(1))
			g.Expect(w.happened()).To(ConsistOf(ContainSubstring("Warning NetworkEndpointLost")))
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

// Invariant 3: an endpoint that could not be translated may belong to the victim.
func TestWithAnEndpointOfUnknownAddressesNoPodIsEvicted(t *testing.T) {
	for name, tc := range map[string]struct {
		odd     hns.Endpoint
		evicted int
	}{
		"unknown addresses":           {hns.Endpoint{Untranslated: "10.240.0.311"}, 0},
		"no addresses":                {hns.Endpoint{}, 1},
		"known addresses, odd in all": {hns.Endpoint{Addresses: []netip.Addr{netip.MustParseAddr("10.240.0.9")}, Untranslated: "zz"}, 1},
		"remote":                      {hns.Endpoint{Flags: hns.FlagRemote, Untranslated: "10.240.0.311"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			w := newWard(t, true)
			w.pod("lost", "10.240.0.1")
			w.pod("fine", "10.240.0.2")
			w.endpoint("10.240.0.2")
			w.local = append(w.local, verdict.Endpoint{Endpoint: tc.odd})
			w.look(0)
			w.look(30 * time.Second)
			g.Expect(w.victims()).To(Equal(1))
			g.Expect(w.happened()).To(ContainElement(ContainSubstring("Warning NetworkEndpointLost")))
			g.Expect(w.evicted).To(HaveLen(tc.evicted))
		})
	}
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
			w.refuse = map[string]error{every: err}
			w.pod("lost", "10.240.0.1")
			w.look(0)
			w.look(30 * time.Second)
			w.look(time.Minute)
			g.Expect(w.evicted).To(HaveLen(2), "it is retried")
			g.Expect(w.happened()).NotTo(ContainElement(ContainSubstring("Evicted")))
			g.Expect(testutil.GatherAndLint(w.metrics)).To(BeEmpty())
			families, err := w.metrics.Gather()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(families).To(ContainElement(HaveField("GetMetric()", ContainElement(And(
				HaveField("GetLabel()", ContainElement(HaveField("GetValue()", result))),
				HaveField("GetCounter().GetValue()", BeEquivalentTo(2)))))))
			g.Expect(w.history.Entries()[0]).To(And(HaveField("Act", history.Eviction), HaveField("Result", result),
				HaveField("Count", 2), HaveField("Detail", ContainSubstring("evicting pod default/lost"))))
		})
	}
}

// Invariant 1, after an HNS that failed, or an agent that was stopped.
// Invariant 6.
func TestWithoutAnAdmissionPolicyNoPodIsEvicted(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true, func(o *eviction.Options) {
		o.Gate = admission.NewGate(admission.Eviction, admission.NewMetric(prometheus.NewRegistry()), o.Clock)
	})
	w.pod("lost", "10.240.0.1")
	w.pod("fine", "10.240.0.2")
	w.endpoint("10.240.0.2")
	w.look(0)
	w.look(10 * time.Minute)
	g.Expect(w.victims()).To(Equal(1))
	g.Expect(w.evicted).To(BeEmpty())
	w.forbidden = apierrors.NewInvalid(policyv1.SchemeGroupVersion.WithKind("Eviction").GroupKind(), "lost", nil)
	w.look(20 * time.Minute)
	g.Expect(w.evicted).To(ContainElement(types.UID("lost")))
}

func TestBlindTimeDoesNotCount(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true)
	w.pod("lost", "10.240.0.1")
	w.pod("fine", "10.240.0.2")
	w.endpoint("10.240.0.2")
	w.look(20 * time.Second)
	w.jump(time.Hour)
	g.Expect(w.victims()).To(BeZero(), "the pod may have had an endpoint in between, and lost it just now")
	w.look(29 * time.Second)
	g.Expect(w.victims()).To(BeZero())
	w.look(time.Second)
	g.Expect(w.victims()).To(Equal(1))
	g.Expect(w.evicted).To(ConsistOf(types.UID("lost")))
}

// An interval of passes close to the longest gap still counts as observation.
func TestPassesThatAreFarApartConfirm(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true)
	w.pod("lost", "10.240.0.1")
	for range 3 {
		w.jump(20 * time.Second)
	}
	g.Expect(w.victims()).To(Equal(1))
}

// Invariant 4: where the replacement has no endpoint either, the next eviction is 5, 10, 20... minutes away.
func TestReplacementsThatLoseTheirEndpointTooAreEvictedLessOften(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true)
	w.pod("fine", "10.240.0.2")
	w.endpoint("10.240.0.2")
	w.pod("lost-0", "10.240.0.1", ownedBy("ReplicaSet", "rs"))
	begun := w.clock.Now()
	var minutes []int
	for done := 0; w.clock.Now().Sub(begun) < 12*time.Hour; w.look(30 * time.Second) {
		if len(w.evicted) == done {
			continue
		}
		minutes = append(minutes, int(w.clock.Now().Sub(begun).Minutes()))
		w.gone(fmt.Sprint("lost-", done))
		done = len(w.evicted)
		w.pod(fmt.Sprint("lost-", done), "10.240.0.1", ownedBy("ReplicaSet", "rs"))
	}
	t.Logf("evicted after %d minutes", minutes)
	g.Expect(minutes[:4]).To(Equal([]int{1, 6, 16, 36}))
	g.Expect(len(minutes)).To(BeNumerically("<=", 11))

	w.pod("other", "10.240.0.3")
	w.look(time.Minute)
	g.Expect(w.evicted).To(ContainElement(types.UID("other")), "another controller's pod does not have to wait")
}

// Invariant 5. The timeout is on the context, which a fake clock does not move.
func TestTheCallHasATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewWithT(t)
		w := newWard(t, true)
		w.hangs = true
		w.pod("fine", "10.240.0.9")
		w.endpoint("10.240.0.9")
		for i := range 5 {
			w.pod(fmt.Sprint("lost-", i), fmt.Sprint("10.240.0.", i))
		}
		begun := time.Now()
		w.look(0)
		w.look(30 * time.Second)
		g.Expect(w.evicted).To(HaveLen(1), "an API server that does not answer is not tried for every victim")
		g.Expect(time.Since(begun)).To(Equal(5 * time.Second))
	})
}

func TestABudgetOfOnePodDoesNotStopTheOthers(t *testing.T) {
	g := NewWithT(t)
	w := newWard(t, true)
	w.refuse = map[string]error{"lost-1": apierrors.NewTooManyRequests("budget", 10)}
	w.pod("lost-1", "10.240.0.1")
	w.pod("lost-2", "10.240.0.2")
	w.pod("fine", "10.240.0.3")
	w.endpoint("10.240.0.3")
	w.look(0)
	w.look(30 * time.Second)
	g.Expect(w.evicted).To(Equal([]types.UID{"lost-1", "lost-2"}))
	g.Expect(w.happened()).To(ContainElement(ContainSubstring("Warning EvictedWithoutNetwork")))
}
