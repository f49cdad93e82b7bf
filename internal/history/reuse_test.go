// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

const (
	here = "win-1"
	addr = "10.240.0.11"
)

// node is a node with a meter, with a clock that only the test moves.
type node struct {
	t        *testing.T
	index    *cluster.Index
	meter    *history.ReuseMeter
	clock    *testingclock.FakeClock
	registry *prometheus.Registry
	history  *history.Ring
	slices   map[string]*discoveryv1.EndpointSlice
}

// newNode returns a node whose agent has already run a pass.
func newNode(t *testing.T) *node {
	t.Helper()
	n := starting(t)
	n.look()
	return n
}

func starting(t *testing.T) *node {
	t.Helper()
	n := &node{
		t: t, index: cluster.NewIndex(here), registry: prometheus.NewPedanticRegistry(),
		clock:  testingclock.NewFakeClock(time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC)),
		slices: map[string]*discoveryv1.EndpointSlice{},
	}
	n.history = history.NewRing(history.Options{Clock: n.clock})
	n.meter = history.NewReuseMeter(here, n.index, n.history, n.registry, n.clock)
	return n
}

func (n *node) look() {
	n.t.Helper()
	pass := pass.Pass{Evidence: verdict.Evidence{Cluster: n.index.View(nil), Now: n.clock.Now()}}
	if next := n.meter.Run(n.t.Context(), pass); next != 0 {
		n.t.Fatalf("the meter requests a pass in %s", next)
	}
}

// slice lists addresses on a node; without addresses it deletes the slice.
func (n *node) slice(name, onNode string, addrs ...string) {
	before := n.slices[name]
	if len(addrs) == 0 {
		n.index.DeleteSlice(types.NamespacedName{Namespace: "default", Name: name})
		n.meter.SliceChanged(cluster.SliceOf(before), nil)
		delete(n.slices, name)
		return
	}
	after := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	for _, a := range addrs {
		e := discoveryv1.Endpoint{Addresses: []string{a}}
		if onNode != "" {
			e.NodeName = &onNode
		}
		after.Endpoints = append(after.Endpoints, e)
	}
	n.slices[name] = after
	n.index.SetSlice(cluster.SliceOf(after))
	n.meter.SliceChanged(cluster.SliceOf(before), cluster.SliceOf(after))
}

// pod creates or changes a running pod on this node, and runs the meter.
func (n *node) pod(name string, changes ...func(*corev1.Pod)) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)}}
	pod.Spec.NodeName = here
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: addr}}}
	for _, change := range changes {
		change(pod)
	}
	n.index.SetPod(pod)
	n.look()
}

func waiting(p *corev1.Pod)     { p.Status = corev1.PodStatus{Phase: corev1.PodPending} }
func deleting(p *corev1.Pod)    { p.DeletionTimestamp = &metav1.Time{} }
func hostNetwork(p *corev1.Pod) { p.Spec.HostNetwork = true }

func (n *node) gone(name string) {
	n.index.DeletePod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
	n.look()
}

// expect checks how many reuses were recorded, and the sum of their times.
func (n *node) expect(count int, sum time.Duration) {
	n.t.Helper()
	g := NewWithT(n.t)
	h := n.histogram()
	g.Expect(h.GetSampleCount()).To(BeEquivalentTo(count))
	g.Expect(h.GetSampleSum()).To(BeNumerically("~", sum.Seconds(), 1e-6))
}

func (n *node) histogram() *dto.Histogram {
	n.t.Helper()
	families, err := n.registry.Gather()
	if err != nil || len(families) != 1 {
		n.t.Fatal(families, err)
	}
	return families[0].GetMetric()[0].GetHistogram()
}

func TestAReuseIsMeasured(t *testing.T) {
	n := newNode(t)
	n.slice("svc", "lin-1", addr, "10.240.0.12")
	n.clock.Step(time.Hour)
	n.slice("svc", "lin-1", "10.240.0.12")
	n.clock.Step(7 * time.Second)
	n.pod("web", waiting)
	n.expect(0, 0)
	n.clock.Step(3 * time.Second)
	n.pod("web")
	n.expect(1, 10*time.Second)
	n.pod("web") // invariant 6: its status is seen many times
	n.expect(1, 10*time.Second)
	NewWithT(t).Expect(n.history.Entries()).To(ConsistOf(And(
		HaveField("Act", history.Reuse), HaveField("Result", history.Dropped), HaveField("AfterSeconds", 10.0),
		HaveField("Pods", ConsistOf("default/web")), HaveField("Address", netip.MustParseAddr(addr)))))
}

func TestTheSliceIsGone(t *testing.T) {
	n := newNode(t)
	n.slice("svc", "lin-1", addr)
	n.slice("svc", "")
	n.clock.Step(time.Minute)
	n.pod("web")
	n.expect(1, time.Minute)
}

// Invariant 6.
func TestWhileASliceStillListsItTheTimeIsZero(t *testing.T) {
	n := newNode(t)
	n.slice("svc", "lin-1", addr)
	n.clock.Step(time.Minute)
	n.pod("web")
	n.expect(1, 0)
	n.clock.Step(time.Minute)
	n.slice("svc", "")
	n.pod("web")
	n.expect(1, 0)
	n.gone("web")
	n.clock.Step(time.Minute)
	n.pod("next") // the pod before it was on this node
	n.expect(1, 0)
	NewWithT(t).Expect(n.history.Entries()).To(ConsistOf(And(
		HaveField("Act", history.Reuse), HaveField("Result", history.Listed), HaveField("AfterSeconds", 0.0))))
}

func TestOneOfTwoSlicesDropsIt(t *testing.T) {
	n := newNode(t)
	n.slice("a", "lin-1", addr)
	n.slice("b", "lin-1", addr)
	n.slice("a", "")
	n.clock.Step(time.Minute)
	n.slice("b", "")
	n.clock.Step(5 * time.Second)
	n.pod("web")
	n.expect(1, 5*time.Second)
}

func TestAnotherNodeTakesItInBetween(t *testing.T) {
	n := newNode(t)
	n.slice("a", "lin-1", addr)
	n.slice("a", "")
	n.clock.Step(time.Minute)
	n.slice("b", "lin-2", addr)
	n.clock.Step(time.Minute)
	n.slice("b", "")
	n.clock.Step(time.Second)
	n.pod("web")
	n.expect(1, time.Second)
}

// Invariant 5.
func TestWhatWasThereBeforeTheAgentIsNotRecorded(t *testing.T) {
	n := starting(t)
	n.slice("svc", "lin-1", addr)
	n.pod("web") // the first pass
	n.slice("svc", "")
	n.pod("web")
	n.gone("web")
	n.pod("next")
	n.expect(0, 0)
}

func TestASliceDropsItBeforeTheFirstLook(t *testing.T) {
	n := starting(t)
	n.slice("svc", "lin-1", addr)
	n.slice("svc", "")
	n.pod("web")
	n.gone("web")
	n.clock.Step(time.Minute)
	n.pod("next")
	n.expect(0, 0)
}

func TestWhatIsNoReuseByAPodOfThisNode(t *testing.T) {
	for name, let := range map[string]func(*node){
		"another address":     func(n *node) { n.slice("svc", "lin-1", "10.240.0.12"); n.slice("svc", ""); n.pod("web") },
		"this node's own":     func(n *node) { n.slice("svc", here, addr); n.slice("svc", ""); n.pod("web") },
		"outside the cluster": func(n *node) { n.slice("svc", "", addr); n.slice("svc", ""); n.pod("web") },
		"the node's address": func(n *node) {
			n.slice("svc", "lin-1", addr)
			n.slice("svc", "")
			n.pod("agent", hostNetwork)
		},
		"a pod that goes": func(n *node) {
			n.slice("svc", "lin-1", addr)
			n.slice("svc", "")
			n.pod("web", deleting)
		},
		"no pod": func(n *node) { n.slice("svc", "lin-1", addr); n.slice("svc", "") },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			let(n)
			n.expect(0, 0)
		})
	}
}

func TestEachPodCounts(t *testing.T) {
	n := newNode(t)
	for _, name := range []string{"a", "b", "c"} {
		n.slice("svc", "lin-1", addr)
		n.slice("svc", "")
		n.clock.Step(2 * time.Second)
		n.pod(name)
		n.gone(name)
	}
	n.expect(3, 6*time.Second)
}

// Invariant 7.
func TestTheMemoryIsBounded(t *testing.T) {
	n := newNode(t)
	n.slice("svc", "lin-1", addr)
	n.slice("svc", "")
	n.clock.Step(history.Horizon)
	n.pod("at the horizon")
	n.expect(1, history.Horizon)
	n.gone("at the horizon")

	n.slice("svc", "lin-1", addr)
	n.slice("svc", "")
	n.clock.Step(history.Horizon + time.Second)
	n.pod("behind it")
	n.expect(1, history.Horizon)
	n.gone("behind it")

	n.slice("svc", "lin-1", addr)
	n.slice("svc", "")
	for i := range uint32(history.MaxAddresses) {
		other := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 0x0b000000+i))).String()
		n.slice("other", "lin-1", other)
		n.slice("other", "")
	}
	n.pod("after so many")
	n.expect(1, history.Horizon)
}

func TestMetricsAreLinted(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	problems, err := testutil.GatherAndLint(n.registry)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(problems).To(BeEmpty(), fmt.Sprint(problems))
	buckets := n.histogram().GetBucket()
	g.Expect(buckets[0].GetUpperBound()).To(BeEquivalentTo(1))
	g.Expect(buckets[len(buckets)-1].GetUpperBound()).To(BeEquivalentTo(history.Horizon.Seconds()))
}
