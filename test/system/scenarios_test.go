// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/system/hnsserver"
)

// outcome is the end of a scenario, in words, and whether it is good.
type outcome struct {
	text string
	good bool
}

func good(format string, args ...any) outcome { return outcome{fmt.Sprintf(format, args...), true} }
func bad(format string, args ...any) outcome  { return outcome{fmt.Sprintf(format, args...), false} }

// scenario is an incident that is played with different versions of kube-proxy, without and with hnsguard.
type scenario struct {
	name string
	nodeOptions
	// slow scenarios take 15 minutes with hnsguard, and are only played with it for the results.
	slow bool
	// core scenarios are also played with the HNS of a Windows, which has its own order of endpoints.
	core bool
	// repeated scenarios are played HNSGUARD_RUNS times.
	repeated bool
	// fails says with which kube-proxies the scenario must end badly without hnsguard: otherwise it would not show the
	// fault. If nil, the scenario is not played without hnsguard.
	fails func(kubeproxy.Profile) bool
	// saved says with which kube-proxies the scenario must end well with hnsguard; nil means with all.
	saved func(kubeproxy.Profile) bool
	play  func(s *windowsNode) outcome
}

func (sc scenario) mustBeSaved(p kubeproxy.Profile) bool { return sc.saved == nil || sc.saved(p) }

func never(kubeproxy.Profile) bool          { return false }
func always(kubeproxy.Profile) bool         { return true }
func staleRecord(p kubeproxy.Profile) bool  { return p.StaleRecord }
func notStale(p kubeproxy.Profile) bool     { return !p.StaleRecord }
func batchLeak(p kubeproxy.Profile) bool    { return p.BatchLeak }
func duplicates(p kubeproxy.Profile) bool   { return p.Duplicates }
func noDuplicates(p kubeproxy.Profile) bool { return !p.Duplicates }

// quickOrphans is a configuration with which a scenario need not wait five minutes.
const quickOrphans = "orphan: {gracePeriod: 10s, gracePeriodWhileWaiting: 5s, maxPerPass: 500}\n"

// soonOrphans is a configuration with which orphans do not wait long for their first step, but as long as by default
// for a moment without a sync of kube-proxy.
const soonOrphans = "orphan: {gracePeriod: 10s}\n"

func scenarios() []scenario { return slices.Concat(incidents(), remaining()) }

func incidents() []scenario {
	return []scenario{
		{name: "stale record", core: true, repeated: true, fails: staleRecord, play: playStaleRecord},
		{
			name: "reuse before drop, local enumerated last", core: true, fails: staleRecord, play: playReuseBeforeDrop,
		},
		{
			name:        "reuse before drop, local enumerated first",
			nodeOptions: nodeOptions{order: hnstest.NewestFirst}, fails: staleRecord, play: playReuseBeforeDrop,
		},
		{
			name:        "late drop, another change after it, local enumerated first",
			nodeOptions: slow(hnstest.NewestFirst), fails: never, play: playLateDrop,
		},
		{
			name:        "late drop, another change after it, local enumerated last",
			nodeOptions: slow(hnstest.OldestFirst), fails: staleRecord, play: playLateDrop,
		},
		{
			name:        "repacked slices, local enumerated first",
			nodeOptions: slow(hnstest.NewestFirst), fails: never, play: playRepack,
		},
		{name: "slice lag", core: true, fails: duplicates, play: playSliceLag},
		{name: "leaked duplicate", core: true, fails: duplicates, play: playLeakedDuplicate},
		{
			name: "leaked duplicate, networks of AKS", nodeOptions: nodeOptions{layout: hnstest.AKS()},
			fails: duplicates, play: playLeakedDuplicate,
		},
		{
			name: "leaked duplicate, networks of EKS", nodeOptions: nodeOptions{layout: hnstest.EKS()},
			fails: duplicates, play: playLeakedDuplicate,
		},
		{
			name: "batch leak", nodeOptions: nodeOptions{policy: quickOrphans}, fails: batchLeak, play: playBatchLeak,
		},
		{
			name:        "refused duplicate",
			nodeOptions: nodeOptions{duplicates: hnstest.RefuseDuplicates, policy: quickOrphans},
			fails:       always, play: playRefused,
		},
		{
			name:        "local backend, local enumerated first",
			nodeOptions: nodeOptions{order: hnstest.NewestFirst}, fails: duplicates, play: playLocalBackend,
		},
		{name: "local backend, local enumerated last", core: true, fails: only134, play: playLocalBackend},
		{
			name:        "local backend, hnsguard late, reprogramming on",
			nodeOptions: nodeOptions{order: hnstest.NewestFirst, policy: "reprogram: {mode: enforce}\n"},
			fails:       duplicates, play: playLocalBackendLate,
		},
		{
			name: "local backend, hnsguard late, reprogramming on, HNS updates load balancers",
			nodeOptions: nodeOptions{
				order: hnstest.NewestFirst, version: hnsserver.Updates, policy: "reprogram: {mode: enforce}\n",
			},
			fails: duplicates, play: playLocalBackendLate,
		},
		{
			// The kube-proxies with the stale record are also those that rely on such an HNS.
			name: "local backend, hnsguard late, reprogramming on, HNS ignores updates",
			nodeOptions: nodeOptions{
				order: hnstest.NewestFirst, version: hnsserver.IgnoresUpdates, policy: "reprogram: {mode: enforce}\n",
			},
			fails: duplicates, saved: notStale, play: playLocalBackendLate,
		},
		{
			name:        "load balancer deleted by another, reprogramming on",
			nodeOptions: nodeOptions{policy: "reprogram: {mode: enforce}\n"},
			fails:       always, saved: soonSyncs, slow: true, play: playDeletedBalancer,
		},
		{name: "leaked local with a valid remote", fails: noDuplicates, saved: duplicates, play: playLeakedLocal},
		{
			name: "healthy churn", core: true, nodeOptions: nodeOptions{policy: soonOrphans}, fails: never, play: playChurn,
		},
		{
			name:        "healthy churn, reprogramming on",
			nodeOptions: nodeOptions{policy: soonOrphans + "reprogram: {mode: enforce}\n"}, play: playChurnReprogramming,
		},
		{name: "hostNetwork pod", nodeOptions: nodeOptions{policy: quickOrphans}, play: playHostNetwork},
		{name: "foreign remotes", nodeOptions: nodeOptions{policy: quickOrphans}, play: playForeign},
		{
			name:        "overlay with Service VIPs and source VIP",
			nodeOptions: nodeOptions{network: hns.NetworkOverlay, policy: quickOrphans}, play: playOverlay,
		},
		{name: "dual stack", nodeOptions: nodeOptions{dualStack: true}, fails: duplicates, play: playDualStack},
		{
			name: "installed late", play: playInstalledLate,
			nodeOptions: nodeOptions{policy: "orphan: {gracePeriod: 10s}\n"},
		},
		{
			name:        "many orphans, a new Service meanwhile",
			nodeOptions: nodeOptions{policy: "orphan: {gracePeriod: 10s, maxPerPass: 1000}\n"},
			fails:       never, play: playManyOrphans,
		},
		{name: "kube-proxy restarted meanwhile", play: playProxyRestart},
		{name: "hnsguard killed meanwhile", play: playGuardKilled},
	}
}

// soonSyncs selects the kube-proxies that sync by themselves every few seconds here: 1.34 syncs every hour.
func soonSyncs(p kubeproxy.Profile) bool { return !only134(p) }

// only134 selects the kube-proxies that prefer the remote endpoint of an address, but do not remove it.
func only134(p kubeproxy.Profile) bool { return p.Duplicates && !p.StaleRecord }

// survival waits until kube-proxy has synced three times by itself, and checks whether the local endpoint still exists.
func (s *windowsNode) survival(local hns.EndpointID) outcome {
	start := time.Now()
	if remains(s.ctx, s.periods(3), func() bool { return s.there(local) }) {
		return good("survives 3 syncs")
	}
	for _, e := range s.journal() {
		if e.DeletedLocal() && e.Caller != "kube-proxy.exe" {
			return bad("local endpoint deleted by %s", e.Caller)
		}
	}
	if time.Since(start) < time.Second {
		return bad("local endpoint deleted at once")
	}
	return bad("local endpoint deleted at the next sync")
}

// playStaleRecord is the incident that users report: everything is cleaned up properly, and the pod still loses its
// endpoint.
func playStaleRecord(s *windowsNode) outcome {
	s.startBoth()
	a := addr(17)
	slice := s.expose("cart", linuxNode, a)
	s.awaitRemote(a)
	time.Sleep(s.period / 2) // kube-proxy forgets an endpoint that goes in the sync in which it came
	s.relist(slice)
	eventually(s.ctx, s.t, 30*time.Second, "kube-proxy deletes the remote endpoint", func() bool {
		return len(s.remotes(a)) == 0
	})
	local := s.windowsPod("billing", a)
	result := s.survival(local)
	if !result.good {
		eventually(s.ctx, s.t, 30*time.Second, "kube-proxy's log, as it is read, names the deletion of the pod's endpoint",
			func() bool { return s.logNames(local, a) })
	}
	return result
}

// logNames reports whether kube-proxy's log, as explain reads it, has the deletion of an endpoint.
func (s *windowsNode) logNames(id hns.EndpointID, a netip.Addr) bool {
	log, err := recording.ReadProxyLog(recording.File{Name: "kube-proxy", Data: []byte(s.proxy.log.String())}, time.Now())
	must(s.t, err)
	return slices.ContainsFunc(log.Entries, func(e history.Entry) bool {
		return e.Result == recording.ProxyDeleted && e.Endpoint == id && e.Address == a
	})
}

// playReuseBeforeDrop reuses an address while its old pod is still listed as terminating.
func playReuseBeforeDrop(s *windowsNode) outcome {
	s.startBoth()
	a := addr(17)
	slice := s.expose("cart", linuxNode, a)
	s.awaitRemote(a)
	s.relist(slice, endpoints(linuxNode, false, a)...)
	local := s.windowsPod("billing", a)
	time.Sleep(time.Second)
	s.relist(slice)
	result := s.survival(local)
	if !result.good {
		return result
	}
	if _, whole := s.balancers(); !whole {
		return bad("survives, but a load balancer dangles")
	}
	return result
}

// slow returns the options of a node whose kube-proxy syncs slowly, as with thousands of endpoints.
func slow(order hnstest.Order) nodeOptions {
	return nodeOptions{order: order, period: 30 * time.Second, minPeriod: 10 * time.Second}
}

// playLateDrop drops an address that a pod on the node has got, makes kube-proxy process the drop late, and then
// changes another Service. If kube-proxy finds the remote endpoint first, the pod lives without hnsguard, so it must
// live with it.
func playLateDrop(s *windowsNode) outcome {
	s.startBoth()
	a := addr(17)
	slice := s.expose("cart", linuxNode, a)
	other := s.expose("search", linuxNode, addr(30))
	s.awaitRemote(a, addr(30))
	s.relist(slice, endpoints(linuxNode, false, a)...)
	eventually(s.ctx, s.t, time.Minute, "kube-proxy processes that the address terminates", func() bool {
		backends, _ := s.balancersOf("cart")
		return len(backends) == 0
	})
	time.Sleep(s.minPeriod + 2*time.Second) // it syncs at once at the next change, and then not again for a while
	s.relist(other, endpoints(linuxNode, true, addr(31))...)
	s.awaitRemote(addr(31))
	local := s.windowsPod("billing", a)
	s.relist(slice)
	becomes(s.ctx, s.periods(2), func() bool { return len(s.remotes(a)) == 0 || !s.there(local) })
	s.relist(other, endpoints(linuxNode, true, addr(30))...)
	return s.survival(local)
}

// playRepack moves a terminating address of a Service from one slice to another, in the wrong order, and back: the
// address is never free, but for a moment no slice lists it.
func playRepack(s *windowsNode) outcome {
	s.startBoth()
	a := addr(17)
	first := s.expose("cart", linuxNode, a)
	second := s.expose("search", linuxNode, addr(30))
	s.awaitRemote(a, addr(30))
	local := s.windowsPod("billing", a)
	for range 3 {
		s.relist(first)
		time.Sleep(200 * time.Millisecond)
		s.relist(second, endpoints(linuxNode, false, a, addr(30))...)
		time.Sleep(3 * time.Second)
		s.relist(second, endpoints(linuxNode, true, addr(30))...)
		time.Sleep(200 * time.Millisecond)
		s.relist(first, endpoints(linuxNode, false, a)...)
		time.Sleep(3 * time.Second)
	}
	if !s.there(local) {
		return bad("local endpoint deleted")
	}
	return good("pod keeps its endpoint")
}

// removal waits until a pod with its endpoint is ready, and reports the time from the local endpoint's creation to the
// removal of the remote one.
func (s *windowsNode) removal(a netip.Addr, local hns.EndpointID, ready func()) outcome {
	came := time.Now()
	var pod sync.WaitGroup
	pod.Go(ready)
	defer pod.Wait()
	if !becomes(s.ctx, s.periods(3)+s.clearance(), func() bool { return len(s.remotes(a)) == 0 }) {
		return bad("duplicate stays")
	}
	took := time.Since(came)
	switch {
	case !s.there(local):
		return bad("local endpoint deleted")
	case took <= 1200*time.Millisecond:
		return good("duplicate gone within 1s of the local endpoint")
	case s.clearance() > 0:
		return good("duplicate gone when kube-proxy has forgotten the address, within %s", s.clearance())
	case s.guarded && s.guardDeleted():
		// A machine on which many programs start at once is slow. Only the order counts.
		return good("duplicate gone before kube-proxy's next sync")
	default:
		return bad("duplicate goes at the next sync")
	}
}

// playSliceLag makes the slice list the old pod as ready all the time.
func playSliceLag(s *windowsNode) outcome {
	s.startBoth()
	s.settle()
	a := addr(17)
	s.expose("cart", linuxNode, a)
	s.awaitRemote(a)
	local, ready := s.windowsPodUntilEndpoint("billing", a)
	if result := s.removal(a, local, ready); !result.good {
		return result
	}
	if result := s.survival(local); !result.good {
		return result
	}
	return good("duplicate gone while the slice lists the address, and the pod keeps its endpoint")
}

// playLeakedDuplicate gives a pod the address of a leaked remote endpoint.
func playLeakedDuplicate(s *windowsNode) outcome {
	a := addr(17)
	s.leak(a)
	s.startBoth()
	local, ready := s.windowsPodUntilEndpoint("billing", a)
	return s.removal(a, local, ready)
}

// playBatchLeak empties several Services at once.
func playBatchLeak(s *windowsNode) outcome {
	s.startBoth()
	const services, backends = 8, 10
	var all []*discoveryv1.EndpointSlice
	var addrs []netip.Addr
	for i := range byte(services) {
		var own []netip.Addr
		for j := range byte(backends) {
			own = append(own, netip.AddrFrom4([4]byte{10, 244, 2 + i, 1 + j}))
		}
		addrs = append(addrs, own...)
		all = append(all, s.expose(fmt.Sprintf("svc-%d", i), linuxNode, own...))
	}
	s.awaitRemote(addrs...)
	time.Sleep(s.period) // let kube-proxy come to rest, so that the changes meet in one sync
	for _, slice := range all {
		s.relist(slice)
	}
	left := func() int {
		n := 0
		for _, a := range addrs {
			n += len(s.remotes(a))
		}
		return n
	}
	within := s.periods(3)
	if s.guarded {
		// The grace period, the minute until the watch of a cluster without changes is proved current, and the pauses between
		// steps.
		within += 4*time.Minute + s.clearance()
	}
	if becomes(s.ctx, within, func() bool { return left() == 0 }) {
		return good("none left")
	}
	return bad("%d of %d left", left(), len(addrs))
}

// playRefused has an HNS that refuses duplicates, and so keeps a pod from getting its endpoint.
func playRefused(s *windowsNode) outcome {
	a := addr(17)
	s.startBoth()
	s.leak(a)
	pod := s.pod("billing")
	time.Sleep(toEndpoint)
	start := time.Now()
	within := 10 * time.Second
	if s.clearance() > 0 {
		within = 30 * time.Second
	}
	for time.Since(start) < within+10*time.Second {
		if _, err := s.cni(a); err == nil {
			s.report(pod, true, a)
			if took := time.Since(start); took > within {
				return bad("created %s after the first refusal", took.Round(time.Second))
			}
			return good("created within %s of the first refusal", within)
		}
		time.Sleep(time.Second) // the kubelet tries again
	}
	return bad("never created")
}

// playLocalBackend makes the pod a backend of its own Service.
func playLocalBackend(s *windowsNode) outcome {
	a := addr(17)
	s.leak(a)
	s.startBoth()
	s.settle()
	local := s.windowsPod("billing", a)
	s.expose("billing", nodeName, a)
	return s.backends("billing", local)
}

// playLocalBackendLate starts hnsguard after kube-proxy has programmed the pod's Service.
func playLocalBackendLate(s *windowsNode) outcome {
	a := addr(17)
	s.leak(a)
	s.startProxy()
	local := s.windowsPod("billing", a)
	s.expose("billing", nodeName, a)
	eventually(s.ctx, s.t, 30*time.Second, "kube-proxy makes a load balancer", func() bool {
		backends, _ := s.balancersOf("billing")
		return len(backends) > 0
	})
	s.startGuard()
	if s.guarded {
		becomes(s.ctx, 2*time.Minute+s.clearance(), func() bool {
			backends, whole := s.balancersOf("billing")
			return whole && len(backends) > 0 && !slices.ContainsFunc(backends, func(ids []hns.EndpointID) bool {
				return !slices.Contains(ids, local)
			})
		})
		time.Sleep(10 * time.Second) // and for the slice that it took to be gone
	}
	return s.backends("billing", local)
}

// playDeletedBalancer deletes the load balancer of a Service, as another program might. Nothing else changes.
func playDeletedBalancer(s *windowsNode) outcome {
	s.startBoth()
	a := addr(17)
	s.expose("cart", linuxNode, a)
	s.awaitRemote(a)
	there := func() bool { return len(s.balancerIDs("cart")) > 0 }
	eventually(s.ctx, s.t, 30*time.Second, "kube-proxy makes a load balancer", there)
	if s.guarded {
		// hnsguard needs two readings, a minute apart, to find it missing.
		time.Sleep(2*time.Minute + 10*time.Second)
	}
	for _, id := range s.balancerIDs("cart") {
		must(s.t, s.simulated.DeleteLoadBalancer(id))
	}
	within := s.periods(3)
	if s.guarded {
		within = 12 * time.Minute // how long it takes to be sure that it is missing: docs/how-it-works.md
	}
	if !becomes(s.ctx, within, there) {
		return bad("load balancer stays away")
	}
	if s.guarded && !slices.Contains(s.events("cart"), loadbalancer.EventMissing) {
		return bad("load balancer is there again; not reported")
	}
	time.Sleep(10 * time.Second) // for the slice that it took to be gone
	backends, whole := s.balancersOf("cart")
	switch {
	case !whole:
		return bad("load balancer dangles")
	case len(backends) != 1 || !slices.Equal(backends[0], s.remotes(a)):
		return bad("load balancer does not name the backend")
	default:
		return good("load balancer is there again; reported")
	}
}

// backends checks whether every load balancer of a Service has the local endpoint as its backend.
func (s *windowsNode) backends(service string, local hns.EndpointID) outcome {
	var backends [][]hns.EndpointID
	eventually(s.ctx, s.t, 30*time.Second, "kube-proxy makes a load balancer", func() bool {
		backends, _ = s.balancersOf(service)
		return len(backends) > 0
	})
	time.Sleep(s.periods(2))
	if !s.there(local) {
		return bad("local endpoint deleted")
	}
	backends, whole := s.balancersOf(service)
	switch {
	case !whole:
		return bad("load balancer dangles")
	case slices.ContainsFunc(backends, func(ids []hns.EndpointID) bool { return !slices.Equal(ids, []hns.EndpointID{local}) }):
		return bad("load balancer names the stale remote")
	default:
		return good("load balancer names the local endpoint")
	}
}

// playLeakedLocal has a local endpoint that its CNI left behind, and a healthy pod on another node with its address.
func playLeakedLocal(s *windowsNode) outcome {
	s.startBoth()
	a := addr(17)
	_, err := s.service.CreateEndpoint(hnstest.EndpointSpec{
		Network: s.network.ID, Name: "0123456789_eth0", Addresses: []netip.Addr{a}, MAC: hns.MAC{0, 0x15, 0x5d, 1, 2, 3},
	})
	must(s.t, err)
	s.expose("cart", otherNode, a)
	// kube-proxy uses the local endpoint as the backend if it finds it first; the remote one is older.
	valid := s.leak(a)
	if !remains(s.ctx, s.periods(3), func() bool { return s.there(valid) }) {
		if s.guardDeleted() {
			return bad("hnsguard deletes the valid remote")
		}
		return bad("kube-proxy deletes the valid remote")
	}
	return good("valid remote stays")
}
