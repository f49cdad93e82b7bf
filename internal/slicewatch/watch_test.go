// SPDX-License-Identifier: Apache-2.0

package slicewatch_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/slicewatch"
)

func slice(name, version string, addrs ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, ResourceVersion: version, Labels: map[string]string{discoveryv1.LabelServiceName: name},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, addr := range addrs {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{addr}, NodeName: new("lin-1")})
	}
	return s
}

// observer records what it sees, and what the index has at that time.
type observer struct {
	index *cluster.Index
	seen  []string
}

func (o *observer) SliceChanged(before, after *cluster.Slice) {
	one, what := after, "changed"
	switch {
	case before == nil:
		what = "added"
	case after == nil:
		one, what = before, "deleted"
	}
	addr := netip.MustParseAddr("10.0.0.1")
	listed := len(o.index.View([]netip.Addr{addr}).Listings(addr)) > 0
	o.seen = append(o.seen, strings.Join([]string{one.Key.Name, what, map[bool]string{true: "listed", false: "absent"}[listed]}, " "))
}

func (o *observer) SlicesRelisted() { o.seen = append(o.seen, "relisted") }

func newWatch() (*slicewatch.Watch, *observer) {
	index := cluster.NewIndex("win-1")
	w, o := slicewatch.New(slicewatch.Options{Index: index}), &observer{index: index}
	w.Observe(plain{}, o)
	return w, o
}

// plain is an observer that is not notified of lists.
type plain struct{}

func (plain) SliceChanged(*cluster.Slice, *cluster.Slice) {}

// Invariant 1.
func TestTheVersionIsThatOfTheIndex(t *testing.T) {
	g := NewWithT(t)
	w, o := newWatch()
	g.Expect(w.Version()).To(BeEmpty())
	g.Expect(w.Replace([]any{slice("cart", "5", "10.0.0.1")}, "7")).To(Succeed())
	g.Expect(w.Version()).To(Equal("7"))
	g.Expect(w.Update(slice("cart", "8"))).To(Succeed())
	g.Expect(w.Version()).To(Equal("8"))
	g.Expect(w.Add(slice("web", "9", "10.0.0.1"))).To(Succeed())
	g.Expect(w.Version()).To(Equal("9"))
	g.Expect(w.Bookmark("20")).To(Succeed())
	g.Expect(w.Version()).To(Equal("20"))
	g.Expect(w.Delete(slice("web", "21", "10.0.0.1"))).To(Succeed())
	g.Expect(w.Version()).To(Equal("21"))
	g.Expect(o.seen).To(Equal([]string{
		"cart added listed", "relisted", "cart changed absent", "web added listed", "web deleted absent",
	}), "the index has it when observers see it")
}

// Observers see the sum of the changes that the watch missed.
func TestAListIsComparedWithWhatWasThere(t *testing.T) {
	g := NewWithT(t)
	w, o := newWatch()
	g.Expect(w.Replace([]any{slice("a", "1", "10.0.0.1"), slice("b", "2"), slice("c", "3")}, "3")).To(Succeed())
	o.seen = nil
	g.Expect(w.Replace([]any{slice("b", "2"), slice("c", "8"), slice("d", "9")}, "9")).To(Succeed())
	g.Expect(o.seen).To(ConsistOf("b changed listed", "c changed listed", "d added listed", "a deleted absent", "relisted"))
	g.Expect(o.seen[len(o.seen)-1]).To(Equal("relisted"), "after all changes")
	g.Expect(w.Delete(slice("unknown", "10"))).To(Succeed())
	g.Expect(o.seen).To(HaveLen(5), "what was not there cannot go")
	g.Expect(w.Delete(slice("d", "11"))).To(Succeed())
	g.Expect(w.Add(slice("d", "12"))).To(Succeed())
	g.Expect(o.seen[5:]).To(Equal([]string{"d deleted absent", "d added absent"}))
}

// Invariant 5: if the index has a slice of hnsguard, it has the others as they were when that slice was written.
func TestOfAListTheSlicesOfHNSGuardComeLast(t *testing.T) {
	g := NewWithT(t)
	w, o := newWatch()
	own := slice("a-keep", "5", "10.0.0.1")
	own.Labels[discoveryv1.LabelManagedBy] = cluster.ManagedByKeep
	g.Expect(w.Replace([]any{slice("b", "1", "10.0.0.1"), slice("c", "2")}, "2")).To(Succeed())
	o.seen = nil
	g.Expect(w.Replace([]any{own, slice("b", "6")}, "6")).To(Succeed())
	g.Expect(o.seen).To(Equal([]string{"b changed absent", "c deleted absent", "a-keep added listed", "relisted"}))
}

func TestWhatIsNoSliceIsAnError(t *testing.T) {
	g := NewWithT(t)
	w, o := newWatch()
	g.Expect(w.Update(&corev1.Pod{})).To(MatchError(ContainSubstring("unexpected *v1.Pod")))
	g.Expect(w.Delete(&corev1.Pod{})).To(MatchError(ContainSubstring("unexpected *v1.Pod")))
	g.Expect(w.Replace([]any{&corev1.Pod{}}, "5")).To(MatchError(ContainSubstring("unexpected *v1.Pod")))
	g.Expect(w.Version()).To(BeEmpty())
	g.Expect(o.seen).To(BeEmpty())
}

// Slices are the largest data of an agent. The reflector keeps those of a streamed list, by name, until it is complete.
func TestOfAStreamedListOnlyWhatIsUsedIsKept(t *testing.T) {
	g := NewWithT(t)
	w, o := newWatch()
	kept := toolscache.NewStore(toolscache.DeletionHandlingMetaNamespaceKeyFunc, toolscache.WithTransformer(w.Transformer()))
	g.Expect(kept.Add(slice("cart", "5", "10.0.0.1"))).To(Succeed())
	g.Expect(kept.Add(slice("web", "6"))).To(Succeed())
	g.Expect(kept.Update(slice("cart", "7", "10.0.0.1"))).To(Succeed())
	g.Expect(kept.ListKeys()).To(ConsistOf("shop/cart", "shop/web"))
	g.Expect(kept.List()).NotTo(ContainElement(BeAssignableToTypeOf(&discoveryv1.EndpointSlice{})))
	g.Expect(kept.Delete(slice("web", "8"))).To(Succeed())
	g.Expect(w.Replace(kept.List(), "8")).To(Succeed())
	g.Expect(w.Version()).To(Equal("8"))
	g.Expect(o.seen).To(Equal([]string{"cart added listed", "relisted"}))
	g.Expect(kept.Add(&corev1.Pod{})).To(MatchError(ContainSubstring("unexpected *v1.Pod")))
}

// A controller gets a request for the first list, and for each change after it.
func TestTheSourceOfAController(t *testing.T) {
	g := NewWithT(t)
	api := fake.NewClientBuilder().WithObjects(slice("cart", "", "10.0.0.1")).Build()
	index := cluster.NewIndex("win-1")
	w := slicewatch.New(slicewatch.Options{Client: api, Index: index, NoWatchList: true})
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	defer queue.ShutDown()
	source := slicewatch.Source(w, func(q workqueue.TypedRateLimitingInterface[string]) { q.Add("pass") })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	g.Expect(source.Start(ctx, queue)).To(Succeed())
	g.Expect(source.WaitForSync(ctx)).To(Succeed())
	g.Expect(index.View(nil).Slices).To(Equal(1))
	g.Eventually(queue.Len, 20*time.Second, time.Millisecond).Should(Equal(1))
	request, _ := queue.Get()
	queue.Done(request)
	g.Expect(request).To(Equal("pass"))
	// The fake client loses changes between the list and the watch, so one change may not be enough.
	changes := 0
	g.Eventually(func() (int, error) {
		changes++
		return queue.Len(), api.Create(ctx, slice(fmt.Sprintf("web-%d", changes), ""))
	}, 20*time.Second, 10*time.Millisecond).Should(Equal(1))
}

// A second kube-proxy's endpoints look like the first one's.
func TestWhichSlicesAreWatched(t *testing.T) {
	for name, tc := range map[string]struct {
		labels  labels.Set
		watched bool
	}{
		"of a Service":          {labels.Set{discoveryv1.LabelServiceName: "cart"}, true},
		"for another proxy":     {labels.Set{cluster.LabelServiceProxyName: "cilium"}, true},
		"of a headless Service": {labels.Set{corev1.IsHeadlessService: ""}, false},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(slicewatch.Selector().Matches(tc.labels)).To(Equal(tc.watched))
		})
	}
}
