// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

// BalancerEvidence is everything that the verdicts on load balancers rest on.
type BalancerEvidence struct {
	// Node is the name of this node.
	Node string
	// Snapshot has the load balancers, and all endpoints.
	Snapshot Snapshot
	// Leaked are the local endpoints with [ReasonLocalLeaked], and Obscured those whose addresses are not all known.
	Leaked, Obscured sets.Set[hns.EndpointID]
	// Backings are all Services with their slices, if ServicesKnown.
	Backings      []cluster.Backing
	ServicesKnown bool
	// KubeProxy is set if kube-proxy is known to run here.
	KubeProxy bool
	// Processed is the revision of the index that kube-proxy is certain to have processed before the load balancers were
	// read.
	Processed uint64
}

// JudgeBalancers returns a verdict for every load balancer, in their order, and then one for each that is missing.
//
// What kube-proxy programs was read in syncProxyRules of pkg/proxy/winkernel/proxier.go, 1.31 to 1.38. Where it depends
// on something unknown here, such as the version of Windows, both possibilities count as right.
func JudgeBalancers(e BalancerEvidence) []Balancer {
	j := newBalancerJudge(e)
	if !e.ServicesKnown {
		return j.found
	}
	for i := range e.Backings {
		if s := e.Backings[i].Service; s != nil && s.Proxied {
			j.judgeService(&e.Backings[i])
		}
	}
	missing := slices.DeleteFunc(j.missing, func(m absent) bool { return !j.shows[m.class] })
	slices.SortFunc(missing, func(a, b absent) int { return a.Compare(b.Balancer) })
	for _, m := range missing {
		j.found = append(j.found, m.Balancer)
	}
	return j.found
}

// nodePort is the class of the frontends without an address.
const nodePort = cluster.OtherIngress + 1

// absent is a frontend without a load balancer.
type absent struct {
	Balancer
	class cluster.AddressClass
}

type balancerJudge struct {
	BalancerEvidence
	endpoints map[hns.EndpointID]*Endpoint
	// locals and remotes are the addresses of the pod network's endpoints.
	locals, remotes map[netip.Addr]bool
	leaked          map[netip.Addr]bool
	// first is one load balancer with the frontend; next is, for each, another one with the same frontend, or -1.
	first map[Frontend]int
	next  []int
	// ambiguous are the node ports, which have no address, of load balancers whose family is unknown.
	ambiguous map[Frontend]bool
	found     []Balancer
	// backends are the backends of each load balancer, as parts of members.
	backends [][]*Endpoint
	members  []*Endpoint
	// claimed is set for the load balancers that were judged by a Service.
	claimed []bool
	missing []absent
	// serves is set for the families that kube-proxy serves here, IPv4 and IPv6. shows is set for the classes that
	// kube-proxy is known to program here: by default it programs all, but one may be switched off.
	serves [2]bool
	shows  [nodePort + 1]bool

	// candidates belong to the port that is being judged.
	candidates []candidate
}

// candidate is an address that slices list for a port of a Service.
type candidate struct {
	addr netip.Addr
	// local is set if the slice names this node.
	local bool
	// may is set if kube-proxy may use the address, must if it has to, and mustLocal if also where only local ones count.
	may, must, mustLocal bool
	// usedBy is the last load balancer that has the address as a backend, counted from one.
	usedBy int
	// steady is set if the endpoint is ready and not terminating: then kube-proxy does not look for others.
	steady bool
}

func family(addr netip.Addr) int {
	if addr.Is6() {
		return 1
	}
	return 0
}

func newBalancerJudge(e BalancerEvidence) *balancerJudge {
	j := &balancerJudge{
		BalancerEvidence: e, endpoints: make(map[hns.EndpointID]*Endpoint, len(e.Snapshot.Endpoints)),
		locals: map[netip.Addr]bool{}, remotes: make(map[netip.Addr]bool, len(e.Snapshot.Endpoints)),
		leaked: map[netip.Addr]bool{}, first: make(map[Frontend]int, len(e.Snapshot.LoadBalancers)),
		next: make([]int, len(e.Snapshot.LoadBalancers)), found: make([]Balancer, len(e.Snapshot.LoadBalancers)),
		claimed: make([]bool, len(e.Snapshot.LoadBalancers)), ambiguous: map[Frontend]bool{},
		backends: make([][]*Endpoint, len(e.Snapshot.LoadBalancers)),
	}
	j.shows[cluster.ClusterIP], j.shows[cluster.IngressIP] = true, true
	var local [2]bool
	for i := range e.Snapshot.Endpoints {
		ep := &e.Snapshot.Endpoints[i]
		j.endpoints[ep.ID] = ep
		if ep.Network != e.Snapshot.Network.ID {
			continue
		}
		for _, addr := range ep.Addresses {
			switch {
			case !ep.Remote():
				j.locals[addr], local[family(addr)] = true, true
			default:
				j.remotes[addr] = true
				j.serves[family(addr)] = j.serves[family(addr)] || kubeproxy.Owns(ep.Endpoint)
			}
			if e.Leaked.Has(ep.ID) {
				j.leaked[addr] = true
			}
		}
	}
	for i := range e.Snapshot.LoadBalancers {
		j.add(i)
	}
	if e.KubeProxy && local[0] != local[1] { // pods have one family, and kube-proxy serves it
		j.serves[0], j.serves[1] = j.serves[0] || local[0], j.serves[1] || local[1]
	}
	return j
}

// add judges a load balancer as far as that is possible without its Service.
func (j *balancerJudge) add(at int) {
	lb, b := &j.Snapshot.LoadBalancers[at], &j.found[at]
	b.ID, b.Kind = lb.ID, BalancerForeign
	if !j.ServicesKnown {
		b.Kind = BalancerUnknown
	}
	var one netip.Addr
	for _, id := range lb.Endpoints {
		ep := j.endpoints[id]
		if ep == nil {
			b.Gone = append(b.Gone, id)
			b.Kind = BalancerDangling
			continue
		}
		j.members = append(j.members, ep)
		if len(ep.Addresses) == 1 { // of two addresses, either may be meant
			one = ep.Addresses[0]
		}
	}
	j.backends[at] = j.members[len(j.members)-len(lb.Endpoints)+len(b.Gone):]
	j.next[at] = -1
	for _, p := range lb.Ports {
		f := Frontend{Protocol: p.Protocol, Port: p.ExternalPort}
		for _, f.VIP = range lb.FrontendVIPs {
			j.serves[family(f.VIP)] = true
			j.addFrontend(at, f)
		}
		switch {
		case len(lb.FrontendVIPs) > 0:
		case one.IsValid():
			f.VIP, j.shows[nodePort], j.serves[family(one)] = unspecified(family(one)), true, true
			j.addFrontend(at, f)
		default: // only its backends would show its family
			j.ambiguous[f] = true
			f.VIP = netip.IPv4Unspecified()
			b.Frontend = f
		}
	}
}

func unspecified(family int) netip.Addr {
	return [2]netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}[family]
}

// addFrontend indexes a load balancer by its first frontend: kube-proxy creates none with two.
func (j *balancerJudge) addFrontend(at int, f Frontend) {
	if j.found[at].Frontend.VIP.IsValid() {
		return
	}
	j.found[at].Frontend = f
	if other, has := j.first[f]; has {
		j.next[at] = other
	}
	j.first[f] = at
}

// judgeService judges the load balancers of one Service.
func (j *balancerJudge) judgeService(b *cluster.Backing) {
	var has, ingress [2]bool
	for addr, class := range b.Service.Addresses() {
		has[family(addr)] = has[family(addr)] || class == cluster.ClusterIP
		ingress[family(addr)] = ingress[family(addr)] || class >= cluster.IngressIP
	}
	for family := range has {
		if !has[family] {
			continue
		}
		for _, port := range b.Service.Ports {
			j.judgePort(b, port, family, ingress[family])
		}
	}
}

func (j *balancerJudge) judgePort(b *cluster.Backing, port cluster.ServicePort, fam int, ingress bool) {
	s, plain := b.Service, j.collect(b, port, fam, ingress)
	f := Frontend{Protocol: ProtocolTCP, Port: port.Port}
	if port.UDP {
		f.Protocol = ProtocolUDP
	}
	for addr, class := range s.Addresses() {
		if family(addr) != fam {
			continue
		}
		f.VIP = addr
		switch class {
		case cluster.ClusterIP:
			j.judgeFrontend(b, f, class, s.InternalLocal, true)
		case cluster.ExternalIP:
			j.judgeFrontend(b, f, class, s.ExternalLocal, plain)
		case cluster.IngressIP, cluster.OtherIngress:
			j.judgeFrontend(b, f, class, s.ExternalLocal || s.Preserve, true)
		}
	}
	if port.NodePort > 0 {
		f.VIP, f.Port = unspecified(fam), port.NodePort
		j.judgeFrontend(b, f, nodePort, s.ExternalLocal || s.Preserve, plain)
	}
}

// collect finds the addresses that slices list for a port, in their order. Where a Service has ingress addresses and no
// ready endpoint, kube-proxy also uses terminating endpoints, or all of them, and leaves load balancers of other
// frontends as they are: then every address may be a backend, and collect returns false.
func (j *balancerJudge) collect(b *cluster.Backing, port cluster.ServicePort, fam int, ingress bool) (plain bool) {
	j.candidates = j.candidates[:0]
	for _, s := range b.Slices {
		if !s.Backs(port) {
			continue
		}
		for addr, l := range s.Backends() {
			if !l.Spare && family(addr) == fam {
				j.candidates = append(j.candidates, j.candidate(addr, l, b.Service))
			}
		}
	}
	j.merge()
	plain = !ingress || slices.ContainsFunc(j.candidates, func(c candidate) bool { return c.steady })
	j.compareWithHNS(plain)
	return plain
}

// compareWithHNS completes the candidates. kube-proxy leaves out an endpoint on this node that is not in HNS: one in
// the host network, or a victim.
func (j *balancerJudge) compareWithHNS(plain bool) {
	for i := range j.candidates {
		c := &j.candidates[i]
		c.may = c.may || !plain
		c.must = c.must && (!c.local || j.locals[c.addr])
		c.mustLocal = c.must && c.local && !j.remotes[c.addr]
	}
}

// candidate returns what a slice says about an address of a Service.
func (j *balancerJudge) candidate(addr netip.Addr, l cluster.Backend, s *cluster.Service) candidate {
	local, used := !l.Elsewhere(j.Node), l.Ready && l.Serving
	return candidate{
		addr: addr, local: local, may: used, must: used && (local || !s.InternalLocal || !s.ExternalLocal),
		steady: used && !l.Terminating && (local || !s.ExternalLocal),
	}
}

// merge merges candidates with the same address. If they differ, which of them kube-proxy uses is chance.
func (j *balancerJudge) merge() {
	byAddress := func(a, b candidate) int { return a.addr.Compare(b.addr) }
	if !slices.IsSortedFunc(j.candidates, byAddress) {
		slices.SortFunc(j.candidates, byAddress)
	}
	merged := j.candidates[:0]
	for _, c := range j.candidates {
		last := len(merged) - 1
		if last < 0 || merged[last].addr != c.addr {
			merged = append(merged, c)
			continue
		}
		m := &merged[last]
		m.may, m.must, m.steady = m.may || c.may, m.must && c.must && m.local == c.local, m.steady && c.steady
		m.local = m.local && c.local
	}
	j.candidates = merged
}

// judgeFrontend judges the load balancers with a frontend, or finds that one is missing. Local is set if only local
// endpoints have to be backends, and kept if kube-proxy keeps the load balancer up to date.
func (j *balancerJudge) judgeFrontend(
	b *cluster.Backing, f Frontend, class cluster.AddressClass, local, kept bool,
) {
	processed := kept && b.Revision <= j.Processed
	at, has := j.first[f]
	if !has {
		if processed && j.mayBeMissing(f, class) {
			j.miss(Balancer{Kind: BalancerMissing, Frontend: f, Service: b.Key, BesideLeak: j.besideLeak()}, class, local)
		}
		return
	}
	j.shows[class] = true
	for ; at >= 0; at = j.next[at] {
		j.claim(at, b, local, processed)
	}
}

// miss adds a missing load balancer if it has to have backends.
func (j *balancerJudge) miss(b Balancer, class cluster.AddressClass, local bool) {
	for _, c := range j.candidates {
		if c.needed(local) {
			b.Lacking = append(b.Lacking, c.addr)
		}
	}
	if len(b.Lacking) > 0 {
		j.missing = append(j.missing, absent{b, class})
	}
}

// mayBeMissing reports whether kube-proxy programs such frontends here, and all of them that HNS has are known.
func (j *balancerJudge) mayBeMissing(f Frontend, class cluster.AddressClass) bool {
	return j.serves[family(f.VIP)] && class != cluster.OtherIngress &&
		(class != nodePort || !j.ambiguous[Frontend{Protocol: f.Protocol, Port: f.Port}])
}

func (c candidate) needed(local bool) bool { return c.mustLocal || c.must && !local }

func (j *balancerJudge) besideLeak() bool {
	return len(j.leaked) > 0 && slices.ContainsFunc(j.candidates, func(c candidate) bool { return j.leaked[c.addr] })
}

// claim judges a load balancer by a Service. If two have its frontend, it is right if it is right for one of them.
func (j *balancerJudge) claim(at int, b *cluster.Backing, local, processed bool) {
	v := Balancer{Kind: BalancerUnknown, ID: j.found[at].ID, Frontend: j.found[at].Frontend, Service: b.Key}
	v.BesideLeak = j.besideLeak()
	switch {
	case j.found[at].Kind == BalancerDangling:
		v.Kind, v.Gone = BalancerDangling, j.found[at].Gone
	case processed:
		j.compare(&v, at, local)
	}
	if !j.claimed[at] || v.Kind == BalancerRight {
		j.found[at], j.claimed[at] = v, true
	}
}

// compare compares the backends of a load balancer with those that it has to have.
func (j *balancerJudge) compare(v *Balancer, at int, local bool) {
	v.Kind = BalancerRight
	for _, ep := range j.backends[at] {
		if len(ep.Addresses) == 0 || ep.Untranslated != "" || j.Obscured.Has(ep.ID) {
			v.Kind, v.Dead = BalancerUnknown, nil
			return
		}
		if j.Leaked.Has(ep.ID) {
			v.Kind = BalancerOnLeakedLocal
		}
		if !j.use(ep, at+1) {
			v.Dead = append(v.Dead, ep.Addresses[0])
		}
	}
	for i := range j.candidates {
		if c := &j.candidates[i]; c.needed(local) && c.usedBy != at+1 {
			v.Lacking = append(v.Lacking, c.addr)
		}
	}
	if len(v.Dead)+len(v.Lacking) > 0 {
		v.Kind = BalancerStale
	}
}

// use notes that a load balancer has an endpoint as a backend, and reports whether kube-proxy may use one of its
// addresses for the port.
func (j *balancerJudge) use(ep *Endpoint, by int) (may bool) {
	for _, addr := range ep.Addresses {
		at, listed := slices.BinarySearchFunc(j.candidates, addr, func(c candidate, addr netip.Addr) int {
			return c.addr.Compare(addr)
		})
		if listed {
			j.candidates[at].usedBy = by
			may = may || j.candidates[at].may
		}
	}
	return may
}
