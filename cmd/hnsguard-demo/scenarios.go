// SPDX-License-Identifier: Apache-2.0

package main

import (
	"time"

	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/world"
)

// scenario is one incident.
type scenario struct {
	name, title string
	// kubeProxy is the version on the node, and order the order in which its HNS lists endpoints.
	kubeProxy string
	order     hnstest.Order
	scene     func(s *stage)
	// outcome describes the end with hnsguard, and loss the end without it. A scenario without loss always ends well.
	outcome, loss string
}

const (
	windowsNode = "win-1"
	linuxNode   = "lin-1"
	// syncPeriod is the sync interval of a kube-proxy whose usual interval is 30 seconds.
	syncPeriod = 10 * time.Second
	// grace is the orphan grace period of the demo, instead of the default of five minutes.
	grace = 3 * time.Second
)

// Names returns the names of the scenarios, in the order in which "all" plays them.
func Names() []string {
	names := make([]string, 0, len(scenarios()))
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	return names
}

// scenarios are incidents that were measured with real kube-proxies: see docs/results/kube-proxy-matrix.md.
func scenarios() []scenario {
	const twoEndpoints = "The address has two endpoints on " + windowsNode +
		": connections to pod billing-0 may be sent to the pod that is gone."
	return []scenario{
		{
			name: "incident", title: "a Windows pod gets the address of a Linux pod, whose remote endpoint was left behind",
			kubeProxy: "v1.34.0", scene: incident,
			outcome: "The stale endpoint is gone; all others are untouched.", loss: twoEndpoints,
		},
		{
			name:      "stale-record",
			title:     "everything is cleaned up, and still kube-proxy would delete the new pod's own endpoint",
			kubeProxy: "v1.32.3", scene: staleRecord,
			outcome: "hnsguard flushed kube-proxy's record in time; pod billing-0 still has its endpoint.",
			loss:    "Pod billing-0 runs without any network.",
		},
		{
			name: "held",
			title: "the address is reused while a slice still lists it; this kube-proxy would delete the pod's " +
				"own endpoint when the slice drops the address (HNS lists the pod's endpoint last)",
			kubeProxy: "v1.32.3", order: hnstest.OldestFirst, scene: held,
			outcome: "hnsguard kept the address listed by a slice of its own, so that kube-proxy never recorded the " +
				"drop, and removed the stale endpoint; pod billing-0 still has its endpoint.",
			loss: "Pod billing-0 runs without any network.",
		},
		{
			name: "orphan", title: "a remote endpoint that is no longer in use is removed after the grace period (here 3s)",
			kubeProxy: "v1.34.0", scene: orphan,
			outcome: "The stale endpoint is gone; all others are untouched.",
			loss:    "The endpoint stays on " + windowsNode + ", in the way of the next pod that gets its address.",
		},
		{
			name:      "leaked-local",
			title:     "a CNI left a local endpoint behind; the remote endpoint of that address is valid and stays",
			kubeProxy: "v1.34.0", scene: leakedLocal,
			outcome: "Nothing was removed.",
		},
	}
}

// The Services, by number.
const (
	search = iota
	cart
)

func serviceNames() []string { return []string{"search", "cart"} }

// opening starts an unrelated pod on another node, whose endpoint must stay, and then the pod of the scene. Slices list
// the latter for a while after it is gone.
func (s *stage) opening(drop time.Duration) *world.Pod {
	s.start("search-0", linuxNode, world.PodOptions{Services: []int{search}})
	s.run(time.Second)
	pod := s.start("cart-0", linuxNode, world.PodOptions{Services: []int{cart}, Drop: drop})
	s.until(func() bool { return s.hasRemote(pod) })
	s.run(time.Second)
	return pod
}

// start starts a pod, which takes 1 second, or 1.5 seconds on Windows.
func (s *stage) start(name, node string, o world.PodOptions) *world.Pod {
	const step = 500 * time.Millisecond
	o.Create, o.Attach, o.Report, o.Teardown = step, step, step, step
	return s.world.StartPod(name, node, o)
}

// reuse starts a Windows pod, which gets the most recently freed address.
func (s *stage) reuse() {
	pod := s.start("billing-0", windowsNode, world.PodOptions{})
	s.until(func() bool { return pod.Attached })
	s.run(time.Second)
}

// end deletes a pod and waits until its address is free.
func (s *stage) end(pod *world.Pod) {
	pod.Delete()
	s.until(func() bool { return !pod.Holds })
}

// later is a delay of slices that outlasts every scene: the scene itself drops the pod.
const later = time.Hour

// leave makes kube-proxy leave the endpoint of a pod behind: it restarts while slices drop the pod.
func (s *stage) leave() {
	pod := s.opening(later)
	s.end(pod)
	s.node().KubeProxy.Restart(time.Second)
	s.world.Drop(pod)
	s.until(func() bool { return len(s.node().Stale()) > 0 })
	s.run(time.Second)
}

// incident is the case that hnsguard was written for.
func incident(s *stage) {
	s.leave()
	s.reuse()
}

// staleRecord is the bug that users report. No stale endpoint exists that could be removed.
func staleRecord(s *stage) {
	pod := s.opening(0)
	s.end(pod)
	s.until(func() bool { return !s.hasRemote(pod) })
	s.reuse()
	s.wait(syncPeriod + 2*time.Second)
}

// held is a conflict with a kube-proxy that would delete the pod's endpoint if the remote one were removed too early.
func held(s *stage) {
	pod := s.opening(later)
	s.end(pod)
	s.reuse()
	s.run(3 * time.Second) // slices lag
	s.world.Drop(pod)
	s.wait(syncPeriod + 2*time.Second)
}

// orphan is a remote endpoint that is no longer in use.
func orphan(s *stage) {
	s.leave()
	s.run(grace)
}

// leakedLocal is the case in which a naive cleanup deletes the wrong endpoint.
func leakedLocal(s *stage) {
	pod := s.opening(0)
	if s.ctx.Err() == nil {
		s.node().LeaveLocal(pod.Addr, false)
	}
	s.run(grace + 2*time.Second)
}
