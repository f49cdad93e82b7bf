// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/guard"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/test/winkernel"
	"github.com/hnsguard/hnsguard/test/world"
)

// fault is a fault of kube-proxy that its release notes do not mention.
type fault struct {
	what string
	// scene plays the fault, and returns whether it happened.
	scene func(g *WithT, w *world.World) bool
	// has reports whether a version has the fault.
	has func(kubeproxy.Profile) bool
	// cured: with an agent, the fault occurs, but no endpoint is left after half an hour.
	cured bool
	// reports is the reason of the Events about the fault.
	reports string
	// mended reports whether the Service's load balancer is right again within half an hour if reprogramming is on.
	// remakes is Setup.Remakes.
	mended func(remakes bool) bool
}

func every(kubeproxy.Profile) bool { return true }

// ifRemade: a kube-proxy that updates load balancers keeps trying to update the one that is gone.
func ifRemade(remakes bool) bool { return remakes }

func remaining() []fault {
	return []fault{
		{
			"a sync that is given up forgets what was dropped", givenUpSync, func(p kubeproxy.Profile) bool {
				// 1.34.0 would remember it until another Service changes, but before that it syncs only once an hour.
				return p.GivenUpLeak || p.Version == "v1.34.0"
			}, true, "", nil,
		},
		{"a load balancer that fails once counts its endpoints twice", failedLoadBalancer, every, true, "", nil},
		{"a restart while an address is dropped leaves its endpoint", restartWhileDropped, every, true, "", nil},
		{
			"a moment without HNS ends with no load balancer", hiccup,
			func(p kubeproxy.Profile) bool { return p.LosesLoadBalancers }, false, loadbalancer.EventMissing, ifRemade,
		},
		{"a load balancer that is lost is not made again", lostBalancer, every, false, loadbalancer.EventMissing, ifRemade},
		{"a leaked local endpoint is taken for the backend", leakedBefore, every, false, guard.EventLeaked, nil},
		{
			"a leaked local endpoint takes the place of the backend later", leakedAfter,
			func(p kubeproxy.Profile) bool { return !p.Duplicates }, false, guard.EventLeaked, nil,
		},
		{
			"a load balancer keeps a leaked endpoint that is deleted", leakedAndDeleted, every, false,
			loadbalancer.EventDangling, func(bool) bool { return true },
		},
		{
			"a slice that comes and goes changes something in HNS", reprogrammed,
			func(kubeproxy.Profile) bool { return false }, false, "", nil,
		},
	}
}

// TestFaultsThatRemain plays each fault with every kube-proxy, both the world's own and released ones.
func TestFaultsThatRemain(t *testing.T) {
	for _, traits := range world.KnownVersions() {
		t.Run(traits.Version, func(t *testing.T) { playFaults(t, traits.Version, nil) })
	}
	for version := range winkernel.Programs() {
		t.Run("released "+version, func(t *testing.T) { playFaults(t, version, startPrograms(t, version)) })
	}
}

func playFaults(t *testing.T, version string, released programs) {
	t.Helper()
	for _, f := range remaining() {
		for _, remakes := range []bool{false, true} {
			s := setup(version)
			s.Pool, s.Remakes, s.Reprogram = 2, remakes, true
			t.Run(fmt.Sprintf("%s, remakes %t", f.what, remakes), func(t *testing.T) {
				stage(t, s, world.Play{Programs: released}, func(g *WithT, w *world.World) {
					g.Expect(f.scene(g, w)).To(Equal(f.has(kubeproxy.ProfileOf(version))), "without hnsguard")
				})
				stage(t, s, world.Play{Guarded: true, Programs: released}, func(g *WithT, w *world.World) {
					f.scene(g, w)
					w.Run(f.enough(version))
					f.judge(g, w, version)
				})
			})
		}
	}
}

// enough returns how long hnsguard needs. A missing load balancer is certain only after some syncs, and 1.34.0 syncs
// only once an hour.
func (f fault) enough(version string) time.Duration {
	if version == "v1.34.0" && f.reports == loadbalancer.EventMissing {
		return 6 * time.Hour
	}
	return 30 * time.Minute
}

// judge checks the result with hnsguard.
func (f fault) judge(g *WithT, w *world.World, version string) {
	g.Expect(w.Violations).To(BeEmpty())
	g.Expect(w.Lost()).To(BeEmpty())
	if f.cured {
		g.Expect(ends(w, first)).To(BeEmpty())
	}
	if !f.has(kubeproxy.ProfileOf(version)) {
		return
	}
	if f.reports != "" {
		g.Expect(w.Nodes[0].Agents[0].Told(f.reports)).NotTo(BeZero(), f.reports)
	}
	if f.mended != nil {
		g.Expect(right(w)).To(Equal(f.mended(w.Setup.Remakes)), "the load balancer")
	}
}

// right reports whether the Service has its load balancer with all backends.
func right(w *world.World) bool {
	there := map[hns.EndpointID]bool{}
	for _, e := range w.Nodes[0].HNS.State().Endpoints {
		there[e.ID] = true
	}
	all := balancers(w)
	return len(all) == 1 && !slices.ContainsFunc(all[0].Endpoints, func(id hns.EndpointID) bool { return !there[id] })
}

// dropped makes slices drop a Linux pod after something has gone wrong, and reports whether its endpoint is left.
// Another Service has irrelevant changes, because 1.34.0 otherwise syncs only once an hour.
func dropped(w *world.World, goesWrong func()) bool {
	w.StartPod("old", lin, linux(0))
	w.Run(5 * time.Second)
	w.StartPod("other", lin, linux(1))
	w.Run(5 * time.Second)
	goesWrong()
	w.Pods["old"].Delete()
	w.Run(2 * time.Minute)
	w.Touch(1)
	w.Run(time.Minute)
	return ends(w, first) == "R"
}

func givenUpSync(_ *WithT, w *world.World) bool {
	const justBeforeTheDrop = 900 * time.Millisecond
	return dropped(w, func() {
		w.After(justBeforeTheDrop, world.ActorHistory, func() { w.Nodes[0].FailOnce(hns.OpEndpoint) })
	})
}

func failedLoadBalancer(_ *WithT, w *world.World) bool {
	w.Nodes[0].FailOnce(world.OpWriteLoadBalancer)
	return dropped(w, func() {
		w.Touch(1)
		w.Run(5 * time.Second)
	})
}

func restartWhileDropped(_ *WithT, w *world.World) bool {
	return dropped(w, func() { w.Nodes[0].KubeProxy.Restart(10 * time.Second) })
}

func hiccup(g *WithT, w *world.World) bool {
	node := w.Nodes[0]
	w.StartPod("web", lin, linux(0))
	w.Run(10 * time.Second)
	g.Expect(balancers(w)).To(HaveLen(1))
	node.SetSilent(true)
	w.Touch(0)
	w.Run(5 * time.Second)
	node.SetSilent(false)
	w.Run(5 * time.Minute)
	return len(balancers(w)) == 0
}

// lostBalancer deletes a load balancer, as another program would.
func lostBalancer(g *WithT, w *world.World) bool {
	w.StartPod("web", lin, linux(0))
	w.Run(10 * time.Second)
	all := balancers(w)
	g.Expect(all).To(HaveLen(1))
	g.Expect(w.Nodes[0].HNS.DeleteLoadBalancer(all[0].ID)).To(Succeed())
	w.Run(2 * time.Minute)
	return len(balancers(w)) == 0
}

// balancers returns the load balancers of the scenes' Service.
func balancers(w *world.World) []hns.LoadBalancer {
	vip := netip.MustParseAddr("10.96.0.1")
	return slices.DeleteFunc(w.Nodes[0].HNS.State().LoadBalancers, func(lb hns.LoadBalancer) bool {
		return !slices.Contains(lb.FrontendVIPs, vip)
	})
}

// backends returns the IDs of its load balancer's backends.
func backends(g *WithT, w *world.World) []hns.EndpointID {
	all := balancers(w)
	g.Expect(all).To(HaveLen(1))
	return all[0].Endpoints
}

func leakedBefore(g *WithT, w *world.World) bool {
	leaked := w.Nodes[0].LeaveLocal(first, false)
	w.StartPod("web", lin, linux(0))
	w.Run(time.Minute)
	return ends(w, first) == "L" && slices.Contains(backends(g, w), leaked)
}

func leakedAfter(g *WithT, w *world.World) bool {
	w.StartPod("web", lin, linux(0))
	w.Run(10 * time.Second)
	leaked := w.Nodes[0].LeaveLocal(first, false)
	w.Run(time.Minute)
	lost := ends(w, first) == "L"
	w.Touch(0)
	w.Run(time.Minute)
	return lost && slices.Contains(backends(g, w), leaked)
}

func leakedAndDeleted(g *WithT, w *world.World) bool {
	leaked := w.Nodes[0].LeaveLocal(first, false)
	w.StartPod("web", lin, linux(0))
	w.Run(time.Minute)
	g.Expect(w.Nodes[0].HNS.DeleteEndpoint(context.Background(), leaked)).To(Succeed())
	w.Run(2 * time.Minute)
	return ends(w, first) == "" && slices.Contains(backends(g, w), leaked)
}

func reprogrammed(_ *WithT, w *world.World) bool {
	w.StartPod("web", lin, linux(0))
	w.Run(10 * time.Second)
	before := w.Nodes[0].HNS.State()
	w.API.Put(&discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "disturbance", Labels: map[string]string{discoveryv1.LabelServiceName: "svc-0"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{"192.0.2.9"}, Conditions: discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false)},
		}},
		Ports: []discoveryv1.EndpointPort{{Name: new("disturbance"), Port: new(int32(1)), Protocol: new(corev1.ProtocolTCP)}},
	})
	w.Run(10 * time.Second)
	w.API.Delete(world.KindSlice, types.NamespacedName{Namespace: "shop", Name: "disturbance"})
	w.Run(time.Minute)
	return !reflect.DeepEqual(w.Nodes[0].HNS.State(), before)
}
