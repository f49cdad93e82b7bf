// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"strconv"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/world"
)

// guarded plays a scene with an agent, and expects no violation of an invariant.
func guarded(t *testing.T, s world.Setup, scene func(g *WithT, w *world.World)) {
	t.Helper()
	stage(t, s, world.Play{Guarded: true}, func(g *WithT, w *world.World) {
		scene(g, w)
		for _, v := range w.Violations {
			t.Error("VIOLATED", v)
		}
	})
}

// Invariant 3: if two live pods have an address, it is contested, and the remote endpoint stays.
func TestTwoLivePodsHaveOneAddress(t *testing.T) {
	guarded(t, setup("v1.34.0"), func(g *WithT, w *world.World) {
		old := w.StartPod("old", lin, linux(0))
		w.Run(10 * time.Second)
		w.Double(old, "twin", win, windows())
		w.Run(10 * time.Minute)
		g.Expect(ends(w, first)).To(Equal("RL"))
		old.Delete()
		w.Run(time.Minute)
		g.Expect(ends(w, first)).To(Equal("L"))
	})
}

// The status of a pod whose sandbox is gone is not a claim: a pod on another node may have its address.
func TestTheStatusOfAPodOutlivesItsSandbox(t *testing.T) {
	guarded(t, setup("v1.34.0"), func(g *WithT, w *world.World) {
		pod := w.StartPod("web", win, windows())
		w.Run(10 * time.Second)
		pod.LoseSandbox(5 * time.Minute)
		w.Run(2 * time.Second)
		w.StartPod("next", lin, linux(0))
		w.Run(3 * time.Minute)
		seen := w.API.Get(world.KindPod, types.NamespacedName{Namespace: "shop", Name: "web"}).(*corev1.Pod)
		g.Expect(seen.Status.Phase).To(Equal(corev1.PodRunning))
		g.Expect(seen.Status.PodIP).To(Equal(first.String()))
		g.Expect(ends(w, first)).To(Equal("R"))
	})
}

// Invariant 13: the status of a pod that has ended still has an address that another pod has by now.
func TestAPodThatHasEndedHidesNoEarlyConflict(t *testing.T) {
	guarded(t, setup("v1.34.0"), func(g *WithT, w *world.World) {
		done := w.StartPod("done", win, windows())
		w.Run(10 * time.Second)
		done.Finish()
		w.Run(10 * time.Second)
		w.Nodes[0].LeaveRemote(first) // when it has to go, it is not an orphan yet
		slow := windows()
		slow.Report = 20 * time.Second
		w.StartPod("next", win, slow)
		w.Run(4 * time.Second)
		if left := ends(w, first); left != "L" {
			t.Errorf("VIOLATED invariant 13: of %s there is %s before the pod has reported it", first, left)
		}
		g.Expect(w.Lost()).To(BeEmpty())
	})
}

// Invariant 7: many simultaneous conflicts are removed one after the other.
func TestRemovalsKeepTheirLimits(t *testing.T) {
	tight := setup("v1.34.0")
	tight.Tight, tight.Pool = true, 6
	guarded(t, tight, func(g *WithT, w *world.World) {
		addr := first
		for at := range tight.Pool {
			w.Nodes[0].LeaveRemote(addr)
			w.StartPod("web-"+strconv.Itoa(at), win, windows())
			addr = addr.Next()
		}
		w.Run(5 * time.Minute)
		g.Expect(w.Nodes[0].Removed()).To(Equal(tight.Pool))
	})
}

// Invariant 12: a kube-proxy with a stale record replaced one without, and recorded a drop before the agent noticed.
func TestAnAffectedKubeProxyReplacesAnother(t *testing.T) {
	guarded(t, setup("v1.34.0"), func(_ *WithT, w *world.World) {
		pod := w.StartPod("web", lin, linux(0))
		w.Run(70 * time.Second)
		w.Nodes[0].KubeProxy.Upgrade("v1.32.3")
		w.Run(5 * time.Second)
		before := len(w.Writes())
		pod.Delete()
		w.Run(4 * time.Minute)
		if len(w.Writes()) == before {
			t.Errorf("VIOLATED invariant 12: no flush has followed the drop of %s", first)
		}
	})
}

// Invariant 4: an affected kube-proxy has just replaced another one, and the agent has not read its version since.
func TestARemovalRestsOnThePresentKubeProxy(t *testing.T) {
	s := setup("v1.34.0")
	s.Order = hnstest.NewestFirst
	guarded(t, s, func(_ *WithT, w *world.World) {
		w.Run(65 * time.Second)
		_, drop := reuseFor(w, 0) // after 12 s; the agent reads the version every 15 s
		w.Nodes[0].KubeProxy.Upgrade("v1.32.3")
		w.Run(5 * time.Second)
		drop()
		w.Run(40 * time.Second)
	})
}

// If a kube-proxy replaces another one after a correct removal, the agent detects it in time to keep the address.
func TestAnAddressIsKeptForAKubeProxyThatReplacesAnother(t *testing.T) {
	for _, order := range orders() {
		s := setup("v1.34.0")
		s.Order = order
		guarded(t, s, func(g *WithT, w *world.World) {
			w.Run(65 * time.Second)
			pod, drop := reuseFor(w, 0)
			w.Run(5 * time.Second)
			g.Expect(ends(w, first)).To(Equal("L"))
			w.Nodes[0].KubeProxy.Upgrade("v1.32.3")
			w.Run(25 * time.Second)
			drop()
			w.Run(2 * time.Minute)
			g.Expect(pod.Lives()).To(BeTrue())
		})
	}
}

// Invariant 12: a kube-proxy whose metrics fail still has its stale record, whatever version the node's status has.
func TestADropWhileMetricsFailIsFlushed(t *testing.T) {
	affected := setup("v1.32.3")
	affected.NodeVersion = "v1.37.2"
	guarded(t, affected, func(_ *WithT, w *world.World) {
		pod := w.StartPod("web", lin, linux(0))
		w.Run(70 * time.Second)
		w.Nodes[0].SetMetricsDown(true)
		w.Run(2 * time.Minute)
		before := len(w.Writes())
		pod.Delete()
		w.Run(time.Minute)
		w.Nodes[0].SetMetricsDown(false)
		w.Run(4 * time.Minute)
		if len(w.Writes()) == before {
			t.Errorf("VIOLATED invariant 12: no flush has followed the drop of %s", first)
		}
	})
}

// Invariant 3: pods on the host network of another node have that node's address, although no slice lists it.
func TestPodsInTheHostsNetworkKeepTheirAddress(t *testing.T) {
	guarded(t, setup("v1.34.0"), func(_ *WithT, w *world.World) {
		host := linux()
		host.Host = true
		pod := w.StartPod("host", lin, host)
		w.Run(10 * time.Second)
		w.Nodes[0].LeaveRemote(pod.Addr)
		w.Run(20 * time.Minute)
		if ends(w, pod.Addr) != "R" {
			t.Errorf("the remote endpoint of %s is not there any more", pod.Addr)
		}
	})
}
