// SPDX-License-Identifier: Apache-2.0

package stalerecord_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hnsguard/hnsguard/internal/admission"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// keeping is a node with a keeper, and an API server whose changes the watch delivers at once unless it is behind.
type keeping struct {
	t        *testing.T
	keeper   *stalerecord.Keeper
	index    *cluster.Index
	api      client.Client
	apiErr   error
	creates  int
	clock    *testingclock.FakeClock
	registry *prometheus.Registry
	profile  kubeproxy.Profile
	network  hns.NetworkType
	behind   bool
	changed  bool // since the last delivery of the watch
	// users are the pods on the API server, and asked is how often they were requested.
	users    []cluster.Pod
	usersErr error
	asked    int
	current  []time.Time
	events   *events.FakeRecorder
}

func (k *keeping) Current(_ context.Context, since time.Time) (bool, error) {
	k.current = append(k.current, since)
	return false, nil
}

func newKeeping(t *testing.T, changes ...func(*stalerecord.KeeperOptions)) *keeping {
	t.Helper()
	k := &keeping{
		t: t, index: cluster.NewIndex(nodeName), clock: testingclock.NewFakeClock(start),
		registry: prometheus.NewRegistry(), profile: faulty, network: hns.NetworkL2Bridge,
		events: events.NewFakeRecorder(2000),
	}
	k.api = interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			k.creates++
			if k.apiErr != nil {
				return k.apiErr
			}
			k.changed = true
			return c.Create(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			k.changed = true
			return c.Delete(ctx, o, opts...)
		},
	})
	o := stalerecord.KeeperOptions{
		Node: nodeName, Enforce: true, Client: k.api, Freshness: k,
		Users: func(context.Context, sets.Set[netip.Addr]) ([]cluster.Pod, error) {
			k.asked++
			return k.users, k.usersErr
		},
		Server: k.api, Events: k.events, Random: func() float64 { return 0 }, Metrics: stalerecord.NewMetrics(k.registry), Clock: k.clock,
	}
	for _, change := range changes {
		change(&o)
	}
	k.keeper = stalerecord.NewKeeper(o)
	k.list(slice("kubernetes", "", other))
	return k
}

// list adds a slice to the index.
func (k *keeping) list(s *discoveryv1.EndpointSlice) { k.index.SetSlice(cluster.SliceOf(s)) }

// run starts a pod on this node with the address.
func (k *keeping) run(addr netip.Addr) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1"}}
	pod.Spec.NodeName, pod.Status.Phase = nodeName, corev1.PodRunning
	pod.Status.PodIPs = []corev1.PodIP{{IP: addr.String()}}
	k.index.SetPod(pod)
	return pod
}

// pass runs one pass a second later, after which the watch delivers what was written.
func (k *keeping) pass(addrs ...netip.Addr) time.Duration {
	k.t.Helper()
	k.clock.Step(time.Second)
	snapshot := verdict.Snapshot{Taken: k.clock.Now(), Network: hns.Network{ID: "net", Type: k.network}}
	for _, addr := range addrs {
		snapshot.Endpoints = append(snapshot.Endpoints, verdict.Endpoint{Endpoint: hns.Endpoint{
			ID: hns.EndpointID(addr.String()), Network: "net", Addresses: []netip.Addr{addr}, Namespace: "ns",
		}})
	}
	next := k.keeper.Run(k.t.Context(), pass.Pass{Evidence: verdict.Evidence{
		Snapshot: snapshot, Cluster: k.index.View(snapshot.Addresses()), KubeProxy: k.profile, Now: k.clock.Now(),
	}})
	if !k.behind && k.changed {
		k.watch()
	}
	return next
}

// watch delivers what the API server has.
func (k *keeping) watch() {
	k.changed = false
	present := sets.New[types.NamespacedName]()
	for _, s := range k.kept() {
		present.Insert(client.ObjectKeyFromObject(&s))
		k.list(&s)
	}
	for _, key := range k.index.SliceKeys() {
		if len(key.Name) > 14 && key.Name[:14] == "hnsguard-keep-" && !present.Has(key) {
			k.index.DeleteSlice(key)
		}
	}
}

func (k *keeping) kept() []discoveryv1.EndpointSlice {
	k.t.Helper()
	var all discoveryv1.EndpointSliceList
	if err := k.api.List(k.t.Context(), &all); err != nil {
		k.t.Fatal(err)
	}
	return all.Items
}

// keep creates a keep-slice, which the watch delivers.
func (k *keeping) keep(node, service string, addr netip.Addr) *discoveryv1.EndpointSlice {
	keep := cluster.Keep{Service: types.NamespacedName{Namespace: "shop", Name: service}, Node: node, Address: addr}
	s := slice(keep.Name(), "", addr)
	s.Endpoints[0].Conditions = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false)}
	s.Labels = map[string]string{discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: cluster.ManagedByKeep}
	s.Annotations, s.Endpoints[0].NodeName = map[string]string{cluster.AnnotationNode: node}, nil
	k.list(s)
	return s
}

// foreign creates a keep-slice of another node.
func (k *keeping) foreign(node, service string, addr netip.Addr) {
	if err := k.api.Create(k.t.Context(), k.keep(node, service, addr)); err != nil {
		k.t.Fatal(err)
	}
	k.creates--
	k.watch()
}

// Invariant 12: nothing can receive traffic, and nothing but an agent deletes it.
func TestAKeepSlice(t *testing.T) {
	g := NewWithT(t)
	k := newKeeping(t)
	k.run(ip)
	k.list(slice("cart", "lin-1", ip))
	k.pass(ip)
	g.Expect(k.kept()).To(HaveLen(1))
	s := k.kept()[0]
	g.Expect(s.Namespace).To(Equal("shop"))
	g.Expect(s.Name).To(MatchRegexp("^hnsguard-keep-[0-9a-f]{16}$"))
	g.Expect(s.Labels).To(Equal(map[string]string{
		discoveryv1.LabelServiceName: "cart", discoveryv1.LabelManagedBy: "hnsguard-keep",
	}))
	g.Expect(s.Annotations).To(Equal(map[string]string{"hnsguard.io/node": nodeName}))
	g.Expect(s.OwnerReferences).To(BeEmpty())
	g.Expect(s.Endpoints).To(Equal([]discoveryv1.Endpoint{{
		Addresses:  []string{ip.String()},
		Conditions: discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false), Terminating: new(false)},
	}}))
	g.Expect(s.Ports).To(ConsistOf(HaveField("Name", HaveValue(Equal("hnsguard-keep")))))
	g.Expect(k.current).To(HaveLen(1), "so that the watch proves how current it is by bringing the slice")
	g.Expect(k.events.Events).To(Receive(And(HavePrefix("Normal AddressKept "), ContainSubstring("Service shop/cart"))))
	g.Expect(value(t, k.registry, "hnsguard_keep_slices")).To(BeZero())
	k.pass(ip)
	g.Expect(value(t, k.registry, "hnsguard_keep_slices")).To(BeEquivalentTo(1))
	g.Expect(k.creates).To(Equal(1))
}

// Invariant 13.
func TestWhatIsKept(t *testing.T) {
	several := func(k *keeping) {
		k.run(ip)
		k.list(slice("cart", "lin-1", ip))
		k.list(slice("till", "lin-2", ip, other))
		cart := slice("cart-2", "lin-1", ip)
		cart.Labels[discoveryv1.LabelServiceName] = "cart"
		k.list(cart)
	}
	for name, tc := range map[string]struct {
		scene func(k *keeping)
		keeps int
	}{
		"one for each Service that lists it elsewhere": {several, 2},
		"one for a Service with 200 slices": {func(k *keeping) {
			k.run(ip)
			for n := range 200 {
				s := slice(fmt.Sprintf("cart-%d", n), "lin-1", ip)
				s.Labels[discoveryv1.LabelServiceName] = "cart"
				k.list(s)
			}
		}, 1},
		"what another node keeps": {func(k *keeping) { k.run(ip); k.foreign("win-2", "cart", ip) }, 1},
		"an address outside of the cluster": {func(k *keeping) {
			k.run(ip)
			s := slice("external", "", ip)
			s.Endpoints[0].NodeName = nil
			k.list(s)
		}, 1},
		"a pod that is being deleted": {func(k *keeping) {
			pod := k.run(ip)
			pod.DeletionTimestamp = new(metav1.NewTime(start))
			k.index.SetPod(pod)
			k.list(slice("cart", "lin-1", ip))
		}, 1},
		"not what is listed here": {func(k *keeping) { k.run(ip); k.list(slice("cart", nodeName, ip)) }, 0},
		"not for another proxy": {func(k *keeping) {
			k.run(ip)
			s := slice("cart", "lin-1", ip)
			s.Labels[cluster.LabelServiceProxyName] = "x"
			k.list(s)
		}, 0},
		"not without a Service": {func(k *keeping) {
			k.run(ip)
			s := slice("cart", "lin-1", ip)
			s.Labels = nil
			k.list(s)
		}, 0},
		"not without a pod": {func(k *keeping) { k.list(slice("cart", "lin-1", ip)) }, 0},
		"not for a pod that has ended": {func(k *keeping) {
			pod := k.run(ip)
			pod.Status.Phase = corev1.PodSucceeded
			k.index.SetPod(pod)
			k.list(slice("cart", "lin-1", ip))
		}, 0},
		"not on a kube-proxy without the fault": {func(k *keeping) { several(k); k.profile = sound }, 0},
		"not on an overlay network":             {func(k *keeping) { several(k); k.network = hns.NetworkOverlay }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			k := newKeeping(t)
			tc.scene(k)
			for range 5 {
				k.pass(ip)
			}
			g.Expect(k.creates).To(Equal(tc.keeps))
		})
	}
}

func TestBothFamiliesAreKept(t *testing.T) {
	g := NewWithT(t)
	k := newKeeping(t)
	pod := k.run(v6)
	pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: ip.String()})
	k.index.SetPod(pod)
	k.list(slice("cart-v6", "lin-1", v6))
	k.list(slice("cart", "lin-1", ip))
	k.pass(v6, ip)
	g.Expect(k.kept()).To(ConsistOf(HaveField("AddressType", discoveryv1.AddressTypeIPv6),
		HaveField("AddressType", discoveryv1.AddressTypeIPv4)))
}

// A deleted Service takes its slices along, but not the keep-slices for it. A recreated Service finds them.
func TestAServiceIsDeletedAndMadeAgain(t *testing.T) {
	g := NewWithT(t)
	k := newKeeping(t)
	k.run(ip)
	k.list(slice("cart", "lin-1", ip))
	k.pass(ip)
	k.index.DeleteSlice(types.NamespacedName{Namespace: "shop", Name: "cart"})
	k.users = []cluster.Pod{{Node: nodeName, Addresses: []netip.Addr{ip}}}
	for range 600 {
		k.pass(ip)
	}
	g.Expect(k.kept()).To(HaveLen(1))
	k.list(slice("cart", "lin-1", ip))
	k.pass(ip)
	g.Expect(k.kept()).To(HaveLen(1))
	g.Expect(k.creates).To(Equal(1))
}

// Invariant 14: an address is kept while a pod may use it, and for five minutes more.
func TestWhenItIsNotKeptAnyMore(t *testing.T) {
	g := NewWithT(t)
	k := newKeeping(t)
	pod := k.run(ip)
	k.list(slice("cart", "lin-1", ip))
	unused := func() float64 { return value(t, k.registry, "hnsguard_keep_slices_unused_since_timestamp_seconds") }
	for range 600 {
		k.pass(ip)
	}
	k.index.DeleteSlice(types.NamespacedName{Namespace: "shop", Name: "cart"})
	g.Expect(k.kept()).To(HaveLen(1))

	k.index.SetPod(pod) // no Service lists it any more, but the pod still has it
	for range 600 {
		k.pass(ip)
	}
	k.index.DeletePod(pod) // but the endpoint still exists
	for range 300 {
		k.pass(ip)
	}
	g.Expect(k.kept()).To(HaveLen(1))
	g.Expect(unused()).To(BeZero())

	since := k.clock.Now()
	for k.clock.Since(since) < 10*time.Minute && len(k.kept()) > 0 {
		k.pass()
	}
	g.Expect(k.kept()).To(BeEmpty())
	g.Expect(k.clock.Since(since)).To(BeNumerically("~", 5*time.Minute, 2*time.Second))
	g.Expect(k.asked).To(Equal(1), "the API server is not pressed")
	k.pass()
	g.Expect(unused()).To(BeZero())
}

// Invariant 14.
func TestWhoKeepsAnAddressInUse(t *testing.T) {
	for name, tc := range map[string]struct {
		scene func(k *keeping)
		stays bool
	}{
		"no pod": {func(*keeping) {}, false},
		"a pod on another node": {func(k *keeping) {
			k.users = []cluster.Pod{{Node: "win-2", Addresses: []netip.Addr{ip}}}
		}, true},
		"one that has ended": {func(k *keeping) {
			k.users = []cluster.Pod{{Node: "win-2", Addresses: []netip.Addr{ip}, Terminal: true}}
		}, false},
		"a pod with another address": {func(k *keeping) {
			k.users = []cluster.Pod{{Node: "win-2", Addresses: []netip.Addr{other}}}
		}, false},
		"a pod whose node keeps the address itself": {func(k *keeping) {
			k.users = []cluster.Pod{{Node: "win-2", Addresses: []netip.Addr{ip}}}
			k.foreign("win-2", "cart", ip)
		}, false},
		"a pod whose node keeps it for another Service": {func(k *keeping) {
			k.users = []cluster.Pod{{Node: "win-2", Addresses: []netip.Addr{ip}}}
			k.foreign("win-2", "till", ip)
		}, true},
		"a pod on this node that the watch does not show": {func(k *keeping) {
			k.users = []cluster.Pod{{Node: nodeName, Addresses: []netip.Addr{ip}}}
		}, true},
		"a pod on this node, whose kube-proxy has no record": {func(k *keeping) {
			k.users = []cluster.Pod{{Node: nodeName, Addresses: []netip.Addr{ip}}}
			k.profile = sound
		}, false},
		"unknown": {func(k *keeping) { k.usersErr = errors.New("connection refused") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			k := newKeeping(t)
			pod := k.run(ip)
			k.list(slice("cart", "lin-1", ip))
			k.pass(ip)
			own := k.kept()[0].Name
			k.index.DeletePod(pod)
			tc.scene(k)
			for range 1200 {
				k.pass()
			}
			var names []string
			for _, s := range k.kept() {
				names = append(names, s.Name)
			}
			if tc.stays {
				g.Expect(names).To(ContainElement(own))
			} else {
				g.Expect(names).NotTo(ContainElement(own))
			}
		})
	}
}

// Invariant 15: the keep-slices of a node that does not exist are deleted by another.
func TestTheKeepSlicesOfANodeThatIsGone(t *testing.T) {
	g := NewWithT(t)
	k := newKeeping(t)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "win-2"}}
	g.Expect(k.api.Create(t.Context(), node)).To(Succeed())
	k.foreign("win-2", "cart", ip)
	k.foreign("win-3", "cart", ip)
	for range 2 * 3600 {
		k.pass()
	}
	g.Expect(k.kept()).To(ConsistOf(HaveField("Annotations", HaveKeyWithValue("hnsguard.io/node", "win-2"))))
	g.Expect(k.api.Delete(t.Context(), node)).To(Succeed())
	k.users = []cluster.Pod{{Node: "win-4", Addresses: []netip.Addr{ip}}}
	for range 2 * 3600 {
		k.pass()
	}
	g.Expect(k.kept()).To(HaveLen(1), "a pod has the address")
}

// A failed write is retried, less and less often, and never replaced.
func TestAKeepSliceThatCannotBeWritten(t *testing.T) {
	invalid := apierrors.NewInvalid(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice").GroupKind(), "x", nil)
	for name, tc := range map[string]struct {
		err    error
		result string
	}{
		"refused":   {invalid, "forbidden"},
		"a quota":   {apierrors.NewForbidden(discoveryv1.Resource("endpointslices"), "x", nil), "forbidden"},
		"away":      {errors.New("connection refused"), "failed"},
		"there":     {apierrors.NewAlreadyExists(discoveryv1.Resource("endpointslices"), "x"), "present"},
		"no longer": {apierrors.NewNotFound(corev1.Resource("namespaces"), "shop"), "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			k := newKeeping(t)
			k.run(ip)
			k.list(slice("cart", "lin-1", ip))
			k.apiErr = tc.err
			for range 3600 {
				k.pass(ip)
			}
			g.Expect(k.creates).To(BeNumerically("~", 18, 4))
			g.Expect(results(t, k.registry, "hnsguard_keeps_total")).To(Equal(map[string]float64{
				"create " + tc.result: float64(k.creates),
			}))
			k.apiErr = nil
			for range 301 {
				k.pass(ip)
			}
			g.Expect(k.kept()).To(HaveLen(1))
		})
	}
}

// A watch that is behind does not make the agent write in every pass.
func TestWhatTheWatchDoesNotShowYetIsNotWrittenAgainAtOnce(t *testing.T) {
	g := NewWithT(t)
	k := newKeeping(t)
	k.run(ip)
	k.list(slice("cart", "lin-1", ip))
	k.behind = true
	for range 10 {
		k.pass(ip)
	}
	g.Expect(k.creates).To(BeNumerically("<=", 4))
	g.Expect(k.kept()).To(HaveLen(1))
}

func TestObservingKeepsNothing(t *testing.T) {
	g := NewWithT(t)
	k := newKeeping(t, func(o *stalerecord.KeeperOptions) { o.Enforce = false })
	k.run(ip)
	k.list(slice("cart", "lin-1", ip))
	for range 100 {
		k.pass(ip)
	}
	g.Expect(k.creates).To(BeZero())
	g.Expect(results(t, k.registry, "hnsguard_keeps_total")).To(Equal(map[string]float64{"create observed": 1}))
}

// Invariant 10.
func TestNothingIsKeptUntilAnAdmissionPolicyRestrictsIt(t *testing.T) {
	g := NewWithT(t)
	restricts, trials := false, 0
	k := newKeeping(t, func(o *stalerecord.KeeperOptions) {
		o.Gate = admission.NewGate(admission.Keep, admission.NewMetric(prometheus.NewRegistry()), o.Clock)
		api := o.Client
		o.Client = interceptor.NewClient(api.(client.WithWatch), interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				all := (&client.CreateOptions{}).ApplyOptions(opts)
				if len(all.DryRun) == 0 {
					return c.Create(ctx, o, opts...)
				}
				trials++
				s, _ := o.(*discoveryv1.EndpointSlice)
				if restricts && *s.Endpoints[0].Conditions.Ready {
					return apierrors.NewInvalid(discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice").GroupKind(), s.Name, nil)
				}
				return nil
			},
		})
	})
	k.run(ip)
	k.list(slice("cart", "lin-1", ip))
	for range 3600 {
		k.pass(ip)
	}
	g.Expect(k.creates).To(BeZero())
	g.Expect(trials).To(And(BeNumerically(">", 2), BeNumerically("<", 20)))
	restricts = true
	for range 900 {
		k.pass(ip)
	}
	g.Expect(k.kept()).To(HaveLen(1))
}

// The number of keep-slices is bounded, per pass and per node.
func TestTheKeepSlicesOfANodeAreBounded(t *testing.T) {
	for have, created := range map[int]int{0: 50, 960: 40, 1000: 0, 1100: 0} {
		g := NewWithT(t)
		k := newKeeping(t)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1"}}
		pod.Spec.NodeName, pod.Status.Phase = nodeName, corev1.PodRunning
		var all []netip.Addr
		for n := range 60 {
			addr := netip.AddrFrom4([4]byte{10, 1, 0, byte(n)})
			all = append(all, addr)
			pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: addr.String()})
		}
		k.index.SetPod(pod)
		k.list(slice("cart", "lin-1", all...))
		for n := range have {
			k.keep(nodeName, "till", netip.AddrFrom4([4]byte{10, 2, byte(n >> 8), byte(n)}))
		}
		k.pass(all...)
		g.Expect(k.creates).To(Equal(created), "%d", have)
	}
}

// results returns the values of a counter that are not zero.
func results(t *testing.T, registry *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetCounter().GetValue() > 0 {
				counts[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return counts
}
