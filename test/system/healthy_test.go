// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// The scenarios of this file have no fault, or none that concerns hnsguard: everything valid must remain.

// balancers returns the backends of all load balancers, and whether all of them exist.
func (s *windowsNode) balancers() (n int, whole bool) {
	whole = true
	for _, lb := range s.service.State().LoadBalancers {
		n++
		for _, id := range lb.Endpoints {
			whole = whole && s.there(id)
		}
	}
	return n, whole
}

// untouched expects endpoints to remain for longer than any act of hnsguard takes, without having been deleted.
func (s *windowsNode) untouched(ids ...hns.EndpointID) outcome {
	for _, id := range ids {
		if !remains(s.ctx, 20*time.Second/time.Duration(len(ids)), func() bool { return s.there(id) }) {
			return bad("endpoint %s is deleted", id)
		}
	}
	for _, id := range ids {
		if !s.there(id) {
			return bad("endpoint %s is deleted", id)
		}
	}
	return good("nothing valid is deleted")
}

// churnFor is how long pods come and go.
const churnFor = 2 * time.Minute

// playChurn starts and deletes pods on Linux and Windows nodes, each with a new address.
func playChurn(s *windowsNode) outcome {
	s.startBoth()
	random := rand.New(rand.NewPCG(1, 2))
	listed := map[string]*discoveryv1.EndpointSlice{}
	for i := range 5 {
		name := fmt.Sprintf("svc-%d", i)
		listed[name] = s.expose(name, linuxNode, churnAddress(i, 0), churnAddress(i, 1))
	}
	local := s.windowsPod("billing", addr(200))
	s.expose("billing", nodeName, addr(200))
	for end, n := time.Now().Add(churnFor), 2; time.Now().Before(end); n++ {
		i := random.IntN(5)
		slice := listed[fmt.Sprintf("svc-%d", i)]
		s.relist(slice, append(slice.Endpoints[1:], endpoints(linuxNode, true, churnAddress(i, n))...)...)
		time.Sleep(time.Duration(100+random.IntN(400)) * time.Millisecond)
	}
	time.Sleep(s.periods(1))
	if !s.there(local) {
		return bad("local endpoint deleted")
	}
	if _, whole := s.balancers(); !whole {
		return bad("load balancers dangle")
	}
	for _, slice := range listed {
		for _, e := range slice.Endpoints {
			a := netip.MustParseAddr(e.Addresses[0])
			// kube-proxy gives up a sync if an endpoint vanishes meanwhile, and a sync takes up to 15 seconds on a machine with
			// many scenarios.
			if !becomes(s.ctx, s.periods(1)+time.Minute, func() bool { return len(s.remotes(a)) == 1 }) {
				return bad("%d remote endpoints of the valid address %s", len(s.remotes(a)), a)
			}
		}
	}
	return good("load balancers whole, nothing valid deleted")
}

// playChurnReprogramming is playChurn with reprogramming enabled.
func playChurnReprogramming(s *windowsNode) outcome {
	result := playChurn(s)
	if done := s.labelled(s.guardMetrics, "hnsguard_reprograms_total", "done"); result.good && s.guarded && done > 0 {
		return bad("%v Services are programmed again", done)
	}
	return result
}

func churnAddress(service, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 244, byte(10 + service), byte(1 + n%250)})
}

// playHostNetwork has a pod on the host network, and a remote endpoint with the node's own address.
func playHostNetwork(s *windowsNode) outcome {
	own := s.leak(netip.MustParseAddr(s.nodeIPs[0]))
	s.startBoth()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "agent"},
		Spec: corev1.PodSpec{
			NodeName: nodeName, OS: &corev1.PodOS{Name: corev1.Windows}, HostNetwork: true,
			Containers: []corev1.Container{{Name: "c", Image: "nowhere.invalid/c"}},
			SecurityContext: &corev1.PodSecurityContext{WindowsOptions: &corev1.WindowsSecurityContextOptions{
				HostProcess: new(true), RunAsUserName: new(`NT AUTHORITY\SYSTEM`),
			}},
		},
	}
	must(s.t, s.api.client.Create(s.ctx, pod))
	s.report(pod, true, netip.MustParseAddr(s.nodeIPs[0]))
	return s.untouched(own)
}

// playForeign has remote endpoints of other creators, and one that another proxy uses.
func playForeign(s *windowsNode) outcome {
	var ids []hns.EndpointID
	for i, spec := range []hnstest.EndpointSpec{
		{Name: "Calico_ep", MAC: hns.MAC{0x00, 0x15, 0x5d, 9, 9, 9}},
		{Name: "Calico_ep", MAC: hns.MAC{0x00, 0x15, 0x5d, 9, 9, 8}},
		{Name: "remote_10.244.9.3", MAC: hns.MAC{0x0e, 0x2a, 10, 244, 9, 3}},
		{Name: "Ethernet", MAC: hns.MAC{0x02, 0x11, 0xab, 0xaa, 0xaa, 0xaa}}, // Microsoft's health probe
	} {
		spec.Network, spec.Flags = s.network.ID, hns.FlagRemote
		spec.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 244, 9, byte(1 + i)})}
		made, err := s.service.CreateEndpoint(spec)
		must(s.t, err)
		ids = append(ids, made.ID)
	}
	s.startBoth()
	return s.untouched(ids...)
}

// movesWithFlushes returns whether kube-proxy deletes the endpoint of an address when the flush slice moves on: that of
// the slice's own address and, on an overlay network, that of the Service, which it creates again.
func (s *windowsNode) movesWithFlushes() func(netip.Addr) bool {
	s.t.Helper()
	var services corev1.ServiceList
	must(s.t, s.api.client.List(s.ctx, &services))
	return func(a netip.Addr) bool {
		return netip.MustParsePrefix("198.51.100.0/24").Contains(a) ||
			slices.ContainsFunc(services.Items, func(svc corev1.Service) bool {
				return svc.Name == stalerecord.Service && slices.Contains(svc.Spec.ClusterIPs, a.String())
			})
	}
}

// playOverlay makes kube-proxy create remote endpoints for Services' own addresses, and a local one for its source
// address.
func playOverlay(s *windowsNode) outcome {
	s.server.SetDocument(string(s.network.ID), `{"Policies": [{"Type": "RemoteSubnetRoute", "Settings": {
		"DestinationPrefix": "10.244.2.0/24", "IsolationId": 4096, "ProviderAddress": "192.168.0.9",
		"DistributedRouterMacAddress": "00-11-22-33-44-55"}}]}`)
	s.startBoth()
	backend := netip.MustParseAddr("10.244.2.7")
	s.expose("cart", linuxNode, backend)
	s.awaitRemote(backend)
	s.windowsPod("billing", addr(17))
	time.Sleep(s.period)
	var ids []hns.EndpointID
	vips := 0
	moves := s.movesWithFlushes()
	for _, e := range s.service.State().Endpoints {
		if moves(e.Addresses[0]) {
			continue
		}
		ids = append(ids, e.ID)
		if e.Remote() && netip.MustParsePrefix("10.0.0.0/16").Contains(e.Addresses[0]) {
			vips++
		}
	}
	if vips == 0 || len(s.locals(netip.MustParseAddr(s.sourceVIP))) != 1 {
		return bad("kube-proxy made no endpoints of Services or of its source address")
	}
	return s.untouched(ids...)
}

// playDualStack gives a pod the addresses of two leaked remote endpoints, one of each family.
func playDualStack(s *windowsNode) outcome {
	v4, v6 := addr(17), netip.MustParseAddr("fd00:244::17")
	s.leak(v4)
	s.leak(v6)
	s.startBoth()
	local, ready := s.windowsPodUntilEndpoint("billing", v4, v6)
	if result := s.removal(v4, local, ready); !result.good {
		return result
	}
	if !becomes(s.ctx, time.Second+s.clearance(), func() bool { return len(s.remotes(v6)) == 0 }) {
		return bad("duplicate of the other family stays")
	}
	return s.survival(local)
}

// playInstalledLate starts hnsguard on a node that already has many faults.
func playInstalledLate(s *windowsNode) outcome {
	const reused, orphans = 50, 80
	var locals []hns.EndpointID
	for i := range byte(reused) {
		s.leak(addr(1 + i))
		local, err := s.cni(addr(1 + i))
		must(s.t, err)
		locals = append(locals, local)
		s.report(s.pod(fmt.Sprintf("pod-%d", i)), true, addr(1+i))
	}
	for i := range byte(orphans) {
		s.leak(netip.AddrFrom4([4]byte{10, 244, 7, 1 + i}))
	}
	s.startProxy()
	backend := netip.MustParseAddr("10.244.2.7")
	s.expose("cart", linuxNode, backend)
	s.awaitRemote(backend)
	valid := s.remotes(backend)
	s.startGuard()
	if !becomes(s.ctx, 8*time.Minute+s.clearance(), func() bool {
		left := 0
		for _, e := range s.service.State().Endpoints {
			if e.Remote() && !slices.Contains(valid, e.ID) && e.Addresses[0].As4()[0] == 10 {
				left++
			}
		}
		return left == 0
	}) {
		return bad("not all duplicates and orphans are gone")
	}
	if result := s.untouched(append(locals, valid...)...); !result.good {
		return result
	}
	return good("50 duplicates and 80 orphans gone, nothing valid deleted")
}

// playManyOrphans creates a Service while hnsguard removes orphans. kube-proxy gives up a sync if an endpoint vanishes
// while it lists them; it takes a second to list this many.
func playManyOrphans(s *windowsNode) outcome {
	const orphans = 300
	for i := range orphans {
		s.leak(netip.AddrFrom4([4]byte{10, 244, byte(6 + i/250), byte(1 + i%250)}))
	}
	s.startBoth()
	began, before := time.Now(), netip.MustParseAddr("10.244.2.6")
	s.expose("before", linuxNode, before)
	s.awaitRemote(before)
	took := time.Since(began) // to list so many endpoints on this machine
	if s.guarded {
		eventually(s.ctx, s.t, 3*time.Minute+s.clearance(), "hnsguard removes orphans", func() bool {
			return s.guardDeleted()
		})
	}
	backend := netip.MustParseAddr("10.244.2.7")
	s.expose("cart", linuxNode, backend)
	if !becomes(s.ctx, s.periods(2)+took, func() bool { return len(s.remotes(backend)) == 1 }) {
		return bad("kube-proxy makes no endpoint for a new Service in 2 syncs")
	}
	return good("kube-proxy makes the endpoint of a new Service within 2 syncs")
}

// playProxyRestart restarts kube-proxy during an incident.
func playProxyRestart(s *windowsNode) outcome {
	s.startBoth()
	a, b := addr(17), addr(18)
	slice := s.expose("cart", linuxNode, a, b)
	s.awaitRemote(a, b)
	s.proxy.kill()
	s.relist(slice, endpoints(linuxNode, true, b)...) // now nothing takes a's endpoint away
	local, ready := s.windowsPodUntilEndpoint("billing", a)
	s.startProxy()
	ready()
	if result := s.survival(local); !result.good {
		return result
	}
	gone := becomes(s.ctx, s.clearance()+time.Second, func() bool { return len(s.remotes(a)) == 0 })
	if !gone || len(s.remotes(b)) != 1 {
		return bad("%d remote endpoints of the reused address, %d of the valid one", len(s.remotes(a)), len(s.remotes(b)))
	}
	return good("pod unharmed, valid remote stays")
}

// playGuardKilled kills hnsguard during an incident, and starts it again.
func playGuardKilled(s *windowsNode) outcome {
	a := addr(17)
	s.leak(a)
	s.startBoth()
	s.guard.kill()
	local := s.windowsPod("billing", a)
	s.startGuard()
	if !becomes(s.ctx, 10*time.Second+s.clearance(), func() bool { return len(s.remotes(a)) == 0 }) {
		return bad("duplicate stays")
	}
	return s.survival(local)
}
