// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/loadbalancer"
	"github.com/hnsguard/hnsguard/test/system/hnsserver"
)

// remaining returns the faults that the latest versions of kube-proxy still have.
func remaining() []scenario {
	return []scenario{
		{name: "given-up sync", nodeOptions: nodeOptions{policy: quickOrphans}, fails: givenUpLeak, play: playGivenUpSync},
		{
			name: "load balancer fails once", nodeOptions: nodeOptions{policy: quickOrphans}, fails: always,
			play: playFailedBalancer,
		},
		{
			name: "kube-proxy restarted while an address is dropped", nodeOptions: nodeOptions{policy: quickOrphans},
			fails: always, play: playRestartWhileDropped,
		},
		{
			name: "HNS hiccup, reprogramming on", nodeOptions: nodeOptions{policy: "reprogram: {mode: enforce}\n"},
			fails: losesBalancers, slow: true, play: playHiccup,
		},
	}
}

func givenUpLeak(p kubeproxy.Profile) bool    { return p.GivenUpLeak }
func losesBalancers(p kubeproxy.Profile) bool { return p.LosesLoadBalancers }

// The codes of HNS for an endpoint that does not exist and for a port that already exists, and the one for no answer.
const (
	codeNoEndpoint   = 0x803b0002
	codePortExists   = 0x803b0013
	codeNotAnswering = 0x800706be
)

// aWhile is long enough for kube-proxy to sync after a change.
const aWhile = 3 * time.Second

// dropped creates a Service with two addresses, and drops one. goesWrong runs before; it returns a function that ends
// the fault.
func (s *windowsNode) dropped(goesWrong func() (well func())) outcome {
	a, b := addr(17), addr(18)
	slice := s.expose("cart", linuxNode, a, b)
	s.awaitRemote(a, b)
	time.Sleep(aWhile)
	well := goesWrong()
	s.relist(slice, endpoints(linuxNode, true, b)...)
	time.Sleep(aWhile)
	well()
	s.expose("search", linuxNode, addr(19)) // 1.34.0 syncs by itself every hour
	s.awaitRemote(addr(19))
	return s.leftover(a, b, addr(19))
}

// leftover reports whether the remote endpoint of a dropped address is left, and whether those of valid ones exist.
func (s *windowsNode) leftover(dropped netip.Addr, valid ...netip.Addr) outcome {
	within := s.periods(3)
	if s.guarded {
		within += 4*time.Minute + s.clearance() // as for those of a batch leak
	}
	gone := becomes(s.ctx, within, func() bool { return len(s.remotes(dropped)) == 0 })
	if slices.ContainsFunc(valid, func(a netip.Addr) bool { return len(s.remotes(a)) != 1 }) {
		return bad("a valid endpoint is gone")
	}
	if !gone {
		return bad("endpoint left")
	}
	return good("none left")
}

// playGivenUpSync makes an endpoint vanish each time that kube-proxy lists endpoints, while slices drop an address.
func playGivenUpSync(s *windowsNode) outcome {
	s.startBoth()
	return s.dropped(func() func() {
		return s.server.Refuse(hnsserver.Refusal{
			Caller: "kube-proxy.exe", Operation: "query", Kind: "endpoint", Code: codeNoEndpoint,
		})
	})
}

// playFailedBalancer makes HNS refuse a load balancer.
func playFailedBalancer(s *windowsNode) outcome {
	s.startBoth()
	first := s.expose("first", linuxNode, addr(16))
	s.awaitRemote(addr(16))
	well := s.server.Refuse(hnsserver.Refusal{
		Caller: "kube-proxy.exe", Operation: "create", Kind: "loadbalancer", Code: codePortExists,
	})
	return s.dropped(func() func() {
		well()
		s.relist(first, endpoints(linuxNode, true, addr(15))...)
		eventually(s.ctx, s.t, 30*time.Second, "kube-proxy makes the load balancer", func() bool {
			return len(s.balancerIDs("cart")) > 0
		})
		return func() {}
	})
}

// playRestartWhileDropped makes slices drop an address while kube-proxy is not running.
func playRestartWhileDropped(s *windowsNode) outcome {
	s.startBoth()
	return s.dropped(func() func() {
		s.proxy.kill()
		return s.startProxy
	})
}

// playHiccup makes HNS answer nothing until kube-proxy notices.
func playHiccup(s *windowsNode) outcome {
	s.startBoth()
	there := func() bool { return len(s.balancerIDs("cart")) == 1 && len(s.balancerIDs("search")) == 1 }
	slice := s.expose("cart", linuxNode, addr(17))
	s.expose("search", linuxNode, addr(18))
	eventually(s.ctx, s.t, 30*time.Second, "kube-proxy makes two load balancers", there)
	well := s.server.Refuse(hnsserver.Refusal{Code: codeNotAnswering})
	s.relist(slice, endpoints(linuxNode, true, addr(17), addr(19))...)
	time.Sleep(s.period + aWhile)
	well()
	s.relist(slice, endpoints(linuxNode, true, addr(17))...) // one of the two Services changes
	time.Sleep(s.periods(2))
	lost := !there()
	if !s.guarded {
		if lost {
			return bad("load balancers deleted")
		}
		return good("load balancers stay")
	}
	switch {
	case !becomes(s.ctx, 12*time.Minute, there): // how long it takes to be sure: docs/how-it-works.md
		return bad("load balancers stay away")
	case lost && !slices.Contains(s.events("search"), loadbalancer.EventMissing):
		return bad("load balancers are there again; not reported")
	case lost:
		return good("load balancers are there again; reported")
	default:
		return good("load balancers stay")
	}
}
