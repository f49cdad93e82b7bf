// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/world"
)

// setup returns a world without faults.
func setup(version string) world.Setup {
	return world.Setup{
		KubeProxy: version, NodeVersion: version, Latency: time.Millisecond, APILatency: 5 * time.Millisecond,
		Took: 100 * time.Millisecond, Nodes: 1, Agents: 1, Services: 2, Pool: 1, OrphanGrace: time.Minute,
	}
}

// without plays a scene without agents.
func without(t *testing.T, s world.Setup, scene func(g *WithT, w *world.World)) {
	t.Helper()
	stage(t, s, world.Play{}, scene)
}

func stage(t *testing.T, s world.Setup, p world.Play, scene func(g *WithT, w *world.World)) {
	t.Helper()
	p.Trace, p.Idle = true, synctest.Wait
	synctest.Test(t, func(t *testing.T) {
		w := world.New(s, p)
		defer w.End()
		defer func() {
			if t.Failed() {
				t.Log("\n" + w.Trace())
			}
		}()
		w.Run(40 * time.Second)
		scene(NewWithT(t), w)
	})
}

// linux returns the options of a pod on a Linux node behind Services.
func linux(services ...int) world.PodOptions {
	return world.PodOptions{
		Services: services, Create: 100 * time.Millisecond, Report: 100 * time.Millisecond, Teardown: time.Second,
	}
}

// windows returns the options of a pod on a Windows node behind Services.
func windows(services ...int) world.PodOptions {
	return world.PodOptions{
		Services: services, Create: time.Second, Attach: 500 * time.Millisecond, Report: 500 * time.Millisecond,
		Teardown: time.Second,
	}
}

const (
	lin = "lin-1"
	win = "win-1"
)

var first = netip.MustParseAddr("10.240.0.10")

func affected(version string) bool { return version == "v1.31.0" || version == "v1.32.3" }

// ends returns the kinds of endpoints that are left with an address.
func ends(w *world.World, addr netip.Addr) string { return w.Nodes[0].HNS.OrderOf(addr) }

// These are the rows of the table in docs/results/kube-proxy-matrix.md, which was measured with real kube-proxies: the
// model must agree with each row.
func TestKubeProxyDoesWhatWasMeasured(t *testing.T) {
	for _, traits := range world.Versions() {
		version := traits.Version
		t.Run(version, func(t *testing.T) {
			t.Run("stale record", func(t *testing.T) { staleRecord(t, version) })
			t.Run("stale record, flushed", func(t *testing.T) { staleRecordFlushed(t, version) })
			t.Run("reuse before drop", func(t *testing.T) { reuseBeforeDrop(t, version) })
			t.Run("remote endpoint removed early", func(t *testing.T) { removedEarly(t, version) })
			t.Run("batch leak", func(t *testing.T) { batchLeak(t, version) })
			t.Run("leaked duplicate", func(t *testing.T) { duplicate(t, version) })
			t.Run("refused", func(t *testing.T) { refused(t, version) })
			t.Run("local backend", func(t *testing.T) { localBackend(t, version) })
			t.Run("leaked local", func(t *testing.T) { leakedLocal(t, version) })
		})
	}
}

func staleRecord(t *testing.T, version string) {
	without(t, setup(version), func(g *WithT, w *world.World) {
		old := w.StartPod("old", lin, linux(0))
		w.Run(5 * time.Second)
		g.Expect(ends(w, first)).To(Equal("R"))
		old.Delete()
		w.Run(3 * time.Second)
		g.Expect(ends(w, first)).To(BeEmpty(), "kube-proxy deleted it properly")
		pod := w.StartPod("web", win, windows())
		w.Run(5 * time.Second)
		g.Expect(pod.Lives()).To(BeTrue())
		w.Run(40 * time.Second)
		g.Expect(pod.Lives()).To(Equal(!affected(version)))
	})
}

func staleRecordFlushed(t *testing.T, version string) {
	without(t, setup(version), func(g *WithT, w *world.World) {
		old := w.StartPod("old", lin, linux(0))
		w.Run(5 * time.Second)
		old.Delete()
		w.Run(3 * time.Second)
		w.FlushOnce()
		pod := w.StartPod("web", win, windows())
		w.Run(3 * time.Minute)
		g.Expect(pod.Lives()).To(BeTrue())
	})
}

// reuse gives a Windows pod an address that slices still list, as terminating.
func reuse(w *world.World) (*world.Pod, func()) {
	o := linux(0)
	o.Teardown, o.Drop = time.Second, time.Hour
	old := w.StartPod("old", lin, o)
	w.Run(5 * time.Second)
	old.Delete()
	w.Run(2 * time.Second)
	pod := w.StartPod("web", win, windows())
	w.Run(5 * time.Second)
	return pod, func() { w.Drop(old) }
}

func reuseBeforeDrop(t *testing.T, version string) {
	for order, after := range map[hnstest.Order]time.Duration{
		hnstest.OldestFirst: 2 * time.Second, hnstest.NewestFirst: 40 * time.Second,
	} {
		s := setup(version)
		s.Order = order
		without(t, s, func(g *WithT, w *world.World) {
			pod, drop := reuse(w)
			g.Expect(ends(w, first)).To(Or(Equal("RL"), Equal("LR"), Equal("L")))
			drop()
			w.Run(after)
			g.Expect(pod.Lives()).To(Equal(!affected(version)))
		})
	}
}

func removedEarly(t *testing.T, version string) {
	for _, order := range []hnstest.Order{hnstest.OldestFirst, hnstest.NewestFirst} {
		s := setup(version)
		s.Order = order
		without(t, s, func(g *WithT, w *world.World) {
			pod, drop := reuse(w)
			for _, e := range w.Nodes[0].HNS.State().Endpoints {
				if e.Remote() {
					g.Expect(w.Nodes[0].HNS.DeleteEndpoint(t.Context(), e.ID)).To(Succeed())
				}
			}
			drop()
			w.Run(2 * time.Second)
			g.Expect(pod.Lives()).To(Equal(!affected(version)))
		})
	}
}

// 8 Services with 10 endpoints each, emptied at once: 60 of 80 remote endpoints were left, or none. The measured
// Services had one slice; here they have two, and the first one to be emptied has its own sync.
func batchLeak(t *testing.T, version string) {
	s := setup(version)
	s.Services, s.Pool = 8, 80
	without(t, s, func(g *WithT, w *world.World) {
		for at := range s.Pool {
			w.StartPod(string(rune('a'+at%8))+string(rune('a'+at/8)), lin, linux(at%8))
		}
		w.Run(10 * time.Second)
		g.Expect(w.Nodes[0].Remotes()).To(HaveLen(80))
		w.Empty()
		w.Run(5 * time.Minute)
		left := len(w.Nodes[0].Remotes())
		if affected(version) || version == "v1.34.0" {
			g.Expect(left).To(And(BeNumerically(">=", 60), BeNumerically("<", 70)))
		} else {
			g.Expect(left).To(BeZero())
		}
	})
}

// leak makes kube-proxy forget a remote endpoint: it restarts while the address is dropped.
func leak(w *world.World) {
	old := w.StartPod("old", lin, linux(0))
	w.Run(5 * time.Second)
	w.Nodes[0].KubeProxy.Restart(10 * time.Second)
	old.Delete()
	w.Run(15 * time.Second)
}

func duplicate(t *testing.T, version string) {
	without(t, setup(version), func(g *WithT, w *world.World) {
		leak(w)
		g.Expect(ends(w, first)).To(Equal("R"))
		pod := w.StartPod("web", win, windows())
		w.Run(5 * time.Minute)
		g.Expect(pod.Lives()).To(BeTrue())
		if version == "v1.37.2" {
			g.Expect(ends(w, first)).To(Equal("L"))
		} else {
			g.Expect(ends(w, first)).To(Equal("RL"))
		}
	})
}

func refused(t *testing.T, version string) {
	s := setup(version)
	s.Duplicates = hnstest.RefuseDuplicates
	without(t, s, func(g *WithT, w *world.World) {
		leak(w)
		pod := w.StartPod("web", win, windows())
		w.Run(5 * time.Minute)
		g.Expect(pod.Lives()).To(BeFalse())
		g.Expect(ends(w, first)).To(Equal("R"))
	})
}

func localBackend(t *testing.T, version string) {
	without(t, setup(version), func(g *WithT, w *world.World) {
		o := linux(0)
		o.Drop = 3 * time.Second
		old := w.StartPod("old", lin, o)
		w.Run(5 * time.Second)
		old.Delete()
		w.Run(2 * time.Second)
		remote := w.Nodes[0].Remotes()[0].ID
		pod := w.StartPod("web", win, windows(0))
		w.Run(2 * time.Minute)
		switch balancer := w.Nodes[0].HNS.State().LoadBalancers; {
		case affected(version):
			g.Expect(pod.Lives()).To(BeFalse())
		case version == "v1.37.2":
			g.Expect(pod.Lives()).To(BeTrue())
			g.Expect(balancer[0].Refers(remote)).To(BeFalse())
		default:
			g.Expect(pod.Lives()).To(BeTrue())
		}
	})
}

func leakedLocal(t *testing.T, version string) {
	without(t, setup(version), func(g *WithT, w *world.World) {
		w.StartPod("old", lin, linux(0))
		w.Run(5 * time.Second)
		node := w.Nodes[0]
		_, err := node.HNS.CreateEndpoint(hnstest.EndpointSpec{
			Network: node.HNS.State().Networks[0].ID, Name: "forgotten", Addresses: []netip.Addr{first},
			MAC: hns.MAC{0, 0x15, 0x5d, 1, 2, 3},
		})
		g.Expect(err).NotTo(HaveOccurred())
		w.Run(time.Minute)
		if version == "v1.37.2" {
			g.Expect(ends(w, first)).To(Equal("L"), "it deletes the valid one")
		} else {
			g.Expect(ends(w, first)).To(Equal("RL"))
		}
	})
}
