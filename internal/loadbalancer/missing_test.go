// SPDX-License-Identifier: Apache-2.0

package loadbalancer_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

const watchLag = 200 * time.Second

// Absent and Forget implement loadbalancer.LoadBalancers.
func (n *node) Absent() ([]loadbalancer.Absence, time.Time) { return n.absent, n.read }

func (n *node) Forget(front loadbalancer.Frontend) {
	n.absent = slices.DeleteFunc(slices.Clone(n.absent), func(a loadbalancer.Absence) bool { return a.Frontend == front })
}

func frontend(vip string, port uint16) loadbalancer.Frontend {
	return loadbalancer.Frontend{VIP: netip.MustParseAddr(vip), Protocol: 6, Port: port}
}

// vanishes lets load balancers be absent from now on.
func (n *node) vanishes(fronts ...loadbalancer.Frontend) {
	for _, front := range fronts {
		n.absent = append(n.absent, loadbalancer.Absence{Frontend: front, Since: n.clock.Now()})
	}
}

// passes lets time go by with a pass and a reading every five seconds, and a sync of kube-proxy every half minute.
func (n *node) passes(d time.Duration) {
	n.t.Helper()
	for range d / (5 * time.Second) {
		n.clock.Step(5 * time.Second)
		n.read = n.clock.Now()
		if !n.stuck && n.clock.Now().Second()%30 == 0 {
			n.syncs++
		}
		n.pass()
	}
}

// touch changes a slice.
func (n *node) touch(slice *discoveryv1.EndpointSlice) {
	n.t.Helper()
	if err := n.api.Get(n.t.Context(), client.ObjectKeyFromObject(slice), slice); err != nil {
		n.t.Fatal(err)
	}
	slice.Annotations = map[string]string{"at": n.clock.Now().String()}
	if err := n.api.Update(n.t.Context(), slice); err != nil {
		n.t.Fatal(err)
	}
}

// missing is what the gauge shows.
func (n *node) missing() float64 {
	n.t.Helper()
	families, err := n.metrics.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "hnsguard_missing_load_balancers" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	n.t.Fatal("no gauge")
	return 0
}

// cart is a Service, and a slice of it with a ready endpoint on another node.
func cart() (*corev1.Service, *discoveryv1.EndpointSlice) {
	svc := serviceWith("cart", "10.0.0.7")
	svc.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}
	return svc, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "cart-x1", UID: "2", Labels: map[string]string{discoveryv1.LabelServiceName: "cart"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.2.9"}, NodeName: new("lin-1")}},
	}
}

// enough is how long it takes to be sure.
const enough = watchLag + 3*time.Minute

// Invariant 8.
func TestAMissingLoadBalancerIsReportedAndItsServiceDisturbed(t *testing.T) {
	g := NewWithT(t)
	svc, slice := cart()
	n := newNode(t, svc, slice)
	n.vanishes(frontend("10.0.0.7", 80))
	n.passes(watchLag)
	g.Expect(n.events.Events).NotTo(Receive(), "kube-proxy may not have taken the Service in")
	g.Expect(n.missing()).To(BeZero())
	g.Expect(n.slices()).To(HaveLen(1))

	n.passes(enough - watchLag)
	g.Expect(n.missing()).To(BeEquivalentTo(1))
	g.Expect(n.events.Events).To(Receive(And(ContainSubstring("Warning LoadBalancerMissing"),
		ContainSubstring("node win-1"), ContainSubstring("10.0.0.7:80/TCP"), ContainSubstring("is made to program"))))
	g.Expect(n.count("done")).To(BeNumerically(">", 0))
	g.Expect(n.history.Entries()).To(ContainElement(And(
		HaveField("Result", "done"), HaveField("Subject", "shop/cart"), HaveField("Address", netip.MustParseAddr("10.0.0.7")))))

	n.absent = nil // kube-proxy has made it again
	n.passes(10 * time.Second)
	g.Expect(n.missing()).To(BeZero())
	g.Expect(n.slices()).To(HaveLen(1), "the slice that disturbs is gone")
	g.Expect(n.events.Events).NotTo(Receive(), "it is told of once")
}

// Invariant 8. Each case has one reason for which kube-proxy programs nothing.
func TestWhatNeedNotBeThereIsForgotten(t *testing.T) {
	for name, change := range map[string]func(s *corev1.Service, e *discoveryv1.EndpointSlice){
		"another address":  func(s *corev1.Service, _ *discoveryv1.EndpointSlice) { s.Spec.ClusterIP = "10.0.0.8" },
		"another port":     func(s *corev1.Service, _ *discoveryv1.EndpointSlice) { s.Spec.Ports[0].Port = 81 },
		"another protocol": func(s *corev1.Service, _ *discoveryv1.EndpointSlice) { s.Spec.Ports[0].Protocol = "UDP" },
		"SCTP":             func(s *corev1.Service, _ *discoveryv1.EndpointSlice) { s.Spec.Ports[0].Protocol = "SCTP" },
		"an external name": func(s *corev1.Service, _ *discoveryv1.EndpointSlice) { s.Spec.Type = "ExternalName" },
		"headless by a label": func(s *corev1.Service, _ *discoveryv1.EndpointSlice) {
			s.Labels = map[string]string{corev1.IsHeadlessService: ""}
		},
		"a Service that is being deleted": func(s *corev1.Service, _ *discoveryv1.EndpointSlice) {
			s.Finalizers, s.DeletionTimestamp = []string{"shop/keep"}, &metav1.Time{Time: time.Unix(1, 0)}
		},
		"a slice without the port": func(_ *corev1.Service, e *discoveryv1.EndpointSlice) { e.Ports[0].Port = new(int32(0)) },
		"another proxy": func(s *corev1.Service, _ *discoveryv1.EndpointSlice) {
			s.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": "cilium"}
		},
		"local endpoints only": func(s *corev1.Service, _ *discoveryv1.EndpointSlice) {
			s.Spec.InternalTrafficPolicy = new(corev1.ServiceInternalTrafficPolicyLocal)
		},
		"a slice of another Service": func(_ *corev1.Service, e *discoveryv1.EndpointSlice) {
			e.Labels[discoveryv1.LabelServiceName] = "carts"
		},
		"a slice for another proxy": func(_ *corev1.Service, e *discoveryv1.EndpointSlice) {
			e.Labels["service.kubernetes.io/service-proxy-name"] = "cilium"
		},
		"a slice of another namespace": func(_ *corev1.Service, e *discoveryv1.EndpointSlice) { e.Namespace = "bank" },
		"no endpoint":                  func(_ *corev1.Service, e *discoveryv1.EndpointSlice) { e.Endpoints = nil },
		"an endpoint that is not ready": func(_ *corev1.Service, e *discoveryv1.EndpointSlice) {
			e.Endpoints[0].Conditions.Ready = new(false)
		},
		"an endpoint that does not serve": func(_ *corev1.Service, e *discoveryv1.EndpointSlice) {
			e.Endpoints[0].Conditions.Serving = new(false)
		},
		"an endpoint that terminates": func(_ *corev1.Service, e *discoveryv1.EndpointSlice) {
			e.Endpoints[0].Conditions.Terminating = new(true)
		},
		"an endpoint of the other family": func(_ *corev1.Service, e *discoveryv1.EndpointSlice) {
			e.AddressType, e.Endpoints[0].Addresses = discoveryv1.AddressTypeIPv6, []string{"fd00::1"}
		},
		"a local endpoint that is not in HNS": func(_ *corev1.Service, e *discoveryv1.EndpointSlice) {
			e.Endpoints[0].NodeName = new("win-1")
		},
		"a port of another name":     func(_ *corev1.Service, e *discoveryv1.EndpointSlice) { e.Ports[0].Name = new("https") },
		"a port of another protocol": func(_ *corev1.Service, e *discoveryv1.EndpointSlice) { e.Ports[0].Protocol = new(corev1.ProtocolUDP) },
		"a port without a number":    func(_ *corev1.Service, e *discoveryv1.EndpointSlice) { e.Ports[0].Port = nil },
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			svc, slice := cart()
			change(svc, slice)
			n := newNode(t, svc, slice)
			n.vanishes(frontend("10.0.0.7", 80))
			n.passes(enough)
			g.Expect(n.absent).To(BeEmpty())
			g.Expect(n.missing()).To(BeZero())
			g.Expect(n.events.Events).NotTo(Receive())
			g.Expect(n.count("done")).To(BeZero())
		})
	}
}

func TestALocalEndpointInHNSIsUsed(t *testing.T) {
	for policy, localOnly := range map[string]corev1.ServiceInternalTrafficPolicy{
		"cluster": corev1.ServiceInternalTrafficPolicyCluster, "local": corev1.ServiceInternalTrafficPolicyLocal,
	} {
		t.Run(policy, func(t *testing.T) {
			g := NewWithT(t)
			svc, slice := cart()
			svc.Spec.InternalTrafficPolicy, slice.Endpoints[0].NodeName = &localOnly, new("win-1")
			n := newNode(t, svc, slice)
			n.endpoints = []verdict.Endpoint{{Endpoint: hns.Endpoint{
				ID: "e", Addresses: []netip.Addr{netip.MustParseAddr("10.244.2.9")},
			}}}
			n.vanishes(frontend("10.0.0.7", 80))
			n.passes(enough)
			g.Expect(n.missing()).To(BeEquivalentTo(1))
			n.endpoints = nil // a victim
			n.passes(2 * time.Minute)
			g.Expect(n.missing()).To(BeZero())
			g.Expect(n.absent).To(BeEmpty())
		})
	}
}

// Invariant 8: a pod on this node that has lost its endpoint is no backend, whatever kube-proxy has made for its address.
func TestARemoteEndpointOfALocalPodIsNotUsed(t *testing.T) {
	g := NewWithT(t)
	svc, slice := cart()
	slice.Endpoints[0].NodeName = new("win-1")
	n := newNode(t, svc, slice)
	n.endpoints = []verdict.Endpoint{{Endpoint: hns.Endpoint{
		ID: "e", Addresses: []netip.Addr{netip.MustParseAddr("10.244.2.9")}, Flags: hns.FlagRemote,
	}}}
	n.vanishes(frontend("10.0.0.7", 80))
	n.passes(enough)
	g.Expect(n.missing()).To(BeZero())
	g.Expect(n.absent).To(BeEmpty())
}

// Invariant 8. Each case lacks one part of the proof.
func TestWithoutTheWholeProofNothingIsSaid(t *testing.T) {
	svc, slice := cart()
	for name, keep := range map[string]func(n *node){
		"the slice changes all the time": func(n *node) {
			for range 20 {
				n.passes(watchLag / 2)
				n.touch(slice)
			}
		},
		"kube-proxy finishes no sync": func(n *node) {
			n.stuck = true
			n.passes(time.Hour)
		},
		"kube-proxy is started again and again": func(n *node) {
			for range 20 {
				n.passes(time.Minute)
				n.syncs = 0
			}
		},
		"kube-proxy cannot be asked": func(n *node) {
			n.syncsErr = errors.New("connection refused")
			n.passes(14 * time.Minute)
		},
		"no reading is newer": func(n *node) {
			for range 500 {
				n.clock.Step(5 * time.Second)
				n.syncs++
				n.pass()
			}
		},
		"it was there in between": func(n *node) {
			for range 20 {
				n.passes(watchLag / 2)
				n.absent = nil
				n.vanishes(frontend("10.0.0.7", 80))
			}
		},
		"the API server does not answer": func(n *node) {
			n.apiErr = errors.New("connection refused")
			n.passes(time.Hour)
			if n.count("unknown_service") == 0 || len(n.absent) == 0 {
				n.t.Error("a failure is counted, and not an answer")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			n := newNode(t, svc.DeepCopy(), slice.DeepCopy())
			n.vanishes(frontend("10.0.0.7", 80))
			n.passes(time.Minute)
			g.Expect(n.asked).To(BeNumerically(">", 0), "it is looked at")
			keep(n)
			g.Expect(n.events.Events).NotTo(Receive())
			g.Expect(n.missing()).To(BeZero())
			g.Expect(n.count("done")).To(BeZero())
		})
	}
}

// Invariant 8: the count of a kube-proxy that was restarted begins at zero.
func TestARestartOfKubeProxyDoesNotHideAMissingOne(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, objects(cart())...)
	n.syncs = 1000
	n.vanishes(frontend("10.0.0.7", 80))
	n.passes(time.Minute)
	n.syncs = 0
	n.passes(enough)
	g.Expect(n.missing()).To(BeEquivalentTo(1))
}

// Invariant 8: the first syncs that end may have started before.
func TestFourSyncsHaveToEnd(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, objects(cart())...)
	n.stuck = true
	n.vanishes(frontend("10.0.0.7", 80))
	n.passes(watchLag + time.Minute)
	n.syncs += 3
	n.passes(time.Minute)
	g.Expect(n.missing()).To(BeZero())
	n.syncs++
	n.passes(time.Minute)
	g.Expect(n.missing()).To(BeEquivalentTo(1))
}

// Invariant 8: what was processed before a change says nothing about what is expected since.
func TestAChangeStartsTheProofOver(t *testing.T) {
	g := NewWithT(t)
	svc, slice := cart()
	n := newNode(t, svc, slice)
	n.vanishes(frontend("10.0.0.7", 80))
	for range 60 { // kube-proxy syncs, and no reading is newer
		n.clock.Step(5 * time.Second)
		n.syncs++
		n.pass()
	}
	n.touch(slice)
	n.stuck = true
	n.passes(watchLag + 10*time.Minute)
	g.Expect(n.missing()).To(BeZero())
}

func TestAKubeProxyThatCannotBeAskedIsGivenMoreTime(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, objects(cart())...)
	n.syncsErr = errors.New("connection refused")
	n.vanishes(frontend("10.0.0.7", 80))
	n.passes(16 * time.Minute)
	g.Expect(n.missing()).To(BeEquivalentTo(1))
}

func objects(svc *corev1.Service, slice *discoveryv1.EndpointSlice) []client.Object {
	return []client.Object{svc, slice}
}

// A slice that comes, goes or changes does not matter as long as another one stays as it is.
func TestOneQuietSliceIsEnough(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, objects(cart())...)
	n.vanishes(frontend("10.0.0.7", 80))
	n.passes(2 * time.Minute)
	_, other := cart()
	other.Name, other.UID = "cart-a1", "3" // listed before
	g.Expect(n.api.Create(t.Context(), other)).To(Succeed())
	n.passes(enough - 2*time.Minute)
	g.Expect(n.missing()).To(BeEquivalentTo(1))
}

func TestAMissingOneStaysSoWhileItsSliceChanges(t *testing.T) {
	g := NewWithT(t)
	svc, slice := cart()
	n := newNode(t, svc, slice)
	n.vanishes(frontend("10.0.0.7", 80))
	n.passes(enough)
	for range 10 {
		n.touch(slice)
		n.passes(time.Minute)
		g.Expect(n.missing()).To(BeEquivalentTo(1))
	}
	g.Expect(n.events.Events).To(HaveLen(1))
	g.Expect(n.api.Delete(t.Context(), svc)).To(Succeed())
	n.passes(2 * time.Minute)
	g.Expect(n.missing()).To(BeZero())
	g.Expect(n.absent).To(BeEmpty())
}

// Invariant 7.
func TestAttemptsForAMissingOneGetRarer(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, objects(cart())...)
	n.vanishes(frontend("10.0.0.7", 80))
	n.passes(enough + 2*time.Hour)
	g.Expect(n.count("done")).To(And(BeNumerically(">", 3), BeNumerically("<", 12)))
}

func TestObservingOnlyReportsAMissingOne(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, objects(cart())...)
	n.start(false)
	n.vanishes(frontend("10.0.0.7", 80))
	n.passes(enough + time.Hour)
	g.Expect(n.missing()).To(BeEquivalentTo(1))
	g.Expect(n.slices()).To(HaveLen(1))
	g.Expect(n.count("observed")).To(BeEquivalentTo(1))
	g.Expect(n.events.Events).To(Receive(ContainSubstring("restart the kube-proxy")))
	g.Expect(n.events.Events).NotTo(Receive())
}

// Invariant 9.
func TestWhereItDoesNotHelpNoServiceIsDisturbed(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t, objects(cart())...)
	n.inPlace = true
	n.vanishes(frontend("10.0.0.7", 80))
	n.passes(enough + time.Hour)
	g.Expect(n.missing()).To(BeEquivalentTo(1))
	g.Expect(n.slices()).To(HaveLen(1))
	g.Expect(n.count("updates_in_place")).To(BeEquivalentTo(1))
	g.Expect(n.events.Events).To(Receive(ContainSubstring("restart the kube-proxy")))
}

// Invariants 10 and 11.
func TestManyMissingOnesAreOnlyReported(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	const many = 11
	for i := range many {
		svc, slice := cart()
		svc.Name, svc.UID, svc.Spec.ClusterIP = fmt.Sprintf("cart-%d", i), types.UID(fmt.Sprint(i)), fmt.Sprintf("10.0.1.%d", i)
		slice.Name, slice.UID = svc.Name, svc.UID
		slice.Labels[discoveryv1.LabelServiceName] = svc.Name
		g.Expect(n.api.Create(t.Context(), svc)).To(Succeed())
		g.Expect(n.api.Create(t.Context(), slice)).To(Succeed())
		n.vanishes(frontend(svc.Spec.ClusterIP, 80))
	}
	n.pass()
	n.asked = 0
	n.passes(14 * time.Second)
	g.Expect(n.asked).To(BeZero(), "not all nodes ask at the same time")
	n.passes(10 * time.Second)
	g.Expect(n.asked).To(BeNumerically("<=", 2*2), "a Service and its slices every five seconds")
	n.passes(enough + 2*time.Minute)
	g.Expect(n.missing()).To(BeEquivalentTo(many))
	g.Expect(n.count("too_many")).To(BeNumerically(">", 0))
	g.Expect(n.count("done")).To(BeZero())
	g.Expect(n.slices()).To(HaveLen(many))
	g.Expect(n.events.Events).To(HaveLen(many))
}

func TestTheGaugeStartsAtZero(t *testing.T) {
	NewWithT(t).Expect(newNode(t).missing()).To(BeZero())
}

var _ loadbalancer.LoadBalancers = (*node)(nil)
