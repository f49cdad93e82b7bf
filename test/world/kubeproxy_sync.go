// SPDX-License-Identifier: Apache-2.0

package world

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// runner starts syncs: BoundedFrequencyRunner of pkg/util/async before 1.34, and of pkg/proxy/runner since.
type runner struct {
	k         *KubeProxy
	timer     *event
	requested bool
	// starting is set while a sync is about to start: further requests have no effect.
	starting bool
	// tokens and filled are the token bucket of the older runner.
	tokens float64
	filled time.Time
	// ended is when the last sync ended.
	ended time.Time
}

// burst is burstSyncs in NewProxier.
const burst = 2

func newRunner(k *KubeProxy) runner {
	return runner{k: k, tokens: burst, filled: k.world.Now(), ended: k.world.Now()}
}

// begin is OnEndpointSlicesSynced, which syncs without the runner, and then its loop.
func (r *runner) begin() {
	r.requested = false
	r.arm(0, r.run)
}

func (r *runner) stop() { r.timer.cancel() }

func (r *runner) arm(after time.Duration, do func()) {
	r.timer.cancel()
	r.timer = r.k.world.After(after, ActorKubeProxy, func() {
		if frozen := r.k.node.frozenFor(); frozen > 0 {
			r.arm(frozen, do)
			return
		}
		do()
	})
}

// request requests a sync.
func (r *runner) request() {
	switch {
	case r.k.sync != nil:
		r.requested = true
	case !r.starting:
		r.try()
	}
}

// try starts a sync, or schedules one for the earliest permitted time.
func (r *runner) try() {
	if !r.k.Burst {
		r.arm(max(0, minSyncPeriod-r.k.world.clock.Since(r.ended)), r.run)
		return
	}
	if r.accept() {
		r.starting = true
		r.arm(0, r.run)
		return
	}
	possible := minSyncPeriod - r.k.world.clock.Since(r.ended)
	token := time.Duration((1 - r.tokens) * float64(minSyncPeriod))
	r.arm(max(possible, token), r.try)
}

// accept takes a token, if available.
func (r *runner) accept() bool {
	now := r.k.world.Now()
	r.tokens = min(burst, r.tokens+now.Sub(r.filled).Seconds()/minSyncPeriod.Seconds())
	r.filled = now
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}

func (r *runner) run() {
	r.requested, r.starting = false, false
	if r.k.program != nil {
		r.k.sync = &served{k: r.k}
	} else {
		r.k.sync = &ownSync{k: r.k}
	}
	r.k.sync.begin()
}

// finished is called when a sync has succeeded or failed.
func (r *runner) finished() {
	r.k.sync = nil
	r.k.stats.Finished++
	r.k.world.Syncs++
	r.ended = r.k.world.Now()
	if r.requested {
		r.requested = false
		r.try()
		return
	}
	r.arm(r.k.SyncPeriod, r.try)
}

// stages are the stages of a sync. Other events happen between them.
type stages struct {
	k     *KubeProxy
	began time.Time
	next  *event
}

func (s *stages) abort() { s.next.cancel() }

// at schedules the next stage after a fraction of the sync's duration.
func (s *stages) at(part, of time.Duration, do func()) {
	due := s.began.Add(s.k.Took * part / of)
	s.next = s.k.world.After(due.Sub(s.k.world.Now()), ActorKubeProxy, func() {
		if frozen := s.k.node.frozenFor(); frozen > 0 {
			s.next = s.k.world.After(frozen, ActorKubeProxy, func() { s.at(part, of, do) })
			return
		}
		do()
	})
}

// toList, toProgram and toFinish schedule the stages: kube-proxy lists after a hundredth of the duration, programs
// Services after half of it, and processes its record at the end.
func (s *stages) toList(do func())    { s.at(1, 100, do) }
func (s *stages) toProgram(do func()) { s.at(1, 2, do) }
func (s *stages) toFinish(do func())  { s.at(1, 1, do) }

// ownSync is one run of syncProxyRules in proxier.go.
type ownSync struct {
	stages
	k *KubeProxy
	// queried are the endpoints that were enumerated, once, and those that were created since.
	queried  map[netip.Addr]found
	byID     map[hns.EndpointID]found
	twins    []hns.EndpointID
	balanced map[string]hns.LoadBalancerID
}

// begin takes the pending changes, if the network exists and is still the same.
func (s *ownSync) begin() {
	k := s.k
	s.stages = stages{k: k, began: k.world.Now()}
	if err := k.hns.fault(hns.OpNetworks); err != nil {
		k.world.tell(ActorKubeProxy, "%s: sync fails: no network: %v", k.node.Name, err)
		s.forgetPolicies(err)
		k.runner.finished()
		return
	}
	if seen := k.network; seen != k.node.network.ID {
		k.world.tell(ActorKubeProxy, "%s: sync ends: the network is another one", k.node.Name)
		k.network = k.node.network.ID
		s.forgetPolicies(nil)
		k.runner.finished()
		return
	}
	k.takeChanges()
	if len(k.record) > 0 {
		k.world.tell(ActorKubeProxy, "%s: syncs; its record of terminated addresses has %v", k.node.Name, sortedAddrs(k.record))
	}
	if k.hns.fault(hns.OpNetworks) != nil { // getAllEndpointsByNetwork looks it up again
		s.unlisted()
		return
	}
	s.toList(s.list)
}

// unlisted ends a sync that could not list endpoints.
func (s *ownSync) unlisted() {
	s.k.world.tell(ActorKubeProxy, "%s: sync fails: HNS cannot be listed", s.k.node.Name)
	s.k.runner.finished()
}

// forgetPolicies does what a sync does without its network: cleanupAllPolicies of Proxier. 1.37 leaves everything
// unchanged while HNS is not running (IsHnsNotRunningError).
func (s *ownSync) forgetPolicies(why error) {
	if s.k.KeepsUnread && errors.Is(why, refused{codeUnknown}) {
		return
	}
	for _, key := range s.k.ports() {
		service := s.k.services[key]
		s.cleanBalancer(service)
		service.applied = false
		for _, b := range s.k.backends[key] {
			s.k.cleanup(b)
		}
	}
}

// list is getAllEndpointsByNetwork of hns.go, with getAllLoadBalancers.
func (s *ownSync) list() {
	k := s.k
	endpoints, err := k.hns.listEndpoints()
	if err != nil {
		s.unlisted()
		return
	}
	s.queried, s.byID, k.enumerated = map[netip.Addr]found{}, map[hns.EndpointID]found{}, k.world.Now()
	for _, e := range endpoints {
		if len(e.Addresses) > 0 {
			s.enumerate(found{id: e.ID, local: !e.Remote()}, e.Addresses[0])
		}
	}
	balancers, err := k.hns.listLoadBalancers()
	if err != nil {
		s.deleteTwins()
		k.runner.finished()
		return
	}
	s.balanced = map[string]hns.LoadBalancerID{}
	for _, lb := range balancers {
		s.balanced[balancerKey(lb)] = lb.ID
	}
	s.toProgram(s.program)
}

// program processes the Services whose policy is not applied.
func (s *ownSync) program() {
	for _, key := range s.k.ports() {
		if service := s.k.services[key]; !service.applied {
			s.programService(key, service)
		}
	}
	s.toFinish(s.finish)
}

// ports returns the ports of Services, in order.
func (k *KubeProxy) ports() []portName {
	return slices.SortedFunc(maps.Keys(k.services), func(a, b portName) int { return compareKeys(a.service, b.service) })
}

// enumerate adds one endpoint of the enumeration.
func (s *ownSync) enumerate(e found, addr netip.Addr) {
	before, twice := s.queried[addr]
	switch {
	case !twice, s.k.Lookup == LastWins, s.k.Lookup == RemoteWins && !e.local:
	case s.k.Lookup == LocalWins && e.local && !before.local:
		s.twins = append(s.twins, before.id)
		delete(s.byID, before.id)
	case s.k.Lookup == LocalWins && !e.local && before.local:
		s.twins = append(s.twins, e.id)
		return
	default:
		return
	}
	s.queried[addr], s.byID[e.id] = e, e
}

func (s *ownSync) programService(key portName, service *balancedService) {
	var ids []hns.EndpointID
	for _, b := range s.k.backends[key] {
		if !b.ready || !b.serving {
			continue
		}
		endpoint, ok := s.endpointFor(b)
		if !ok {
			continue
		}
		ids = append(ids, endpoint.id)
		if !endpoint.local {
			b.refs = s.k.refCount(endpoint.id)
			*b.refs++
		}
		b.id = endpoint.id
	}
	if len(ids) == 0 {
		s.cleanBalancer(service)
		return
	}
	service.applied = s.balance(service, ids)
}

// endpointFor finds the HNS endpoint of a backend, or creates a remote one.
func (s *ownSync) endpointFor(b *backend) (found, bool) {
	if e, known := s.byID[b.id]; known && b.id != "" {
		return e, true
	}
	if e, known := s.queried[b.addr]; known {
		return e, true
	}
	if b.local {
		return found{}, false
	}
	made, err := s.k.hns.createEndpoint(b.addr)
	if err != nil {
		s.k.world.tell(ActorKubeProxy, "%s: making a remote endpoint for %s: %v", s.k.node.Name, b.addr, err)
		return found{}, false
	}
	e := found{id: made.ID}
	s.queried[b.addr], s.byID[made.ID] = e, e
	return e, true
}

// balance is getLoadBalancer or updateLoadBalancer of hns.go. It fails if a backend is gone since it was enumerated.
func (s *ownSync) balance(service *balancedService, ids []hns.EndpointID) bool {
	spec := hns.LoadBalancer{
		ID: service.lb, Endpoints: ids, FrontendVIPs: []netip.Addr{service.vip},
		Ports: []hns.PortMapping{{Protocol: 6, InternalPort: service.port, ExternalPort: service.port}},
	}
	key := balancerKey(spec)
	if id, there := s.balanced[key]; there {
		service.lb = id
		return true
	}
	if s.k.world.Setup.Remakes {
		s.deleteBalancer(service)
		spec.ID = ""
	}
	made, err := s.k.hns.setLoadBalancer(spec)
	if s.k.KeepsUnread && spec.ID == "" && errors.Is(err, refused{codePortExists}) {
		made, err = s.replaceBalancer(spec, err)
	}
	if err != nil {
		return false
	}
	service.lb, s.balanced[key] = made.ID, made.ID
	return true
}

// replaceBalancer is createOrReplaceLoadbalancer of hns.go, for the case that HNS already has a load balancer with the
// frontend. It looks for it in the list from the start of the sync, and in those created since.
func (s *ownSync) replaceBalancer(spec hns.LoadBalancer, err error) (hns.LoadBalancer, error) {
	var same []hns.LoadBalancerID
	for key, id := range s.balanced {
		if strings.HasPrefix(key, balancerFrontend(spec)) {
			same = append(same, id)
		}
	}
	if len(same) != 1 || !s.deletedBalancer(same[0]) {
		return spec, err
	}
	return s.k.hns.setLoadBalancer(spec)
}

// cleanBalancer is deleteLoadBalancerPolicy of proxier.go: it keeps the ID of a load balancer that it could not delete.
// Before 1.37 it also looks up load balancers that do not exist: those of a Service without one, and of the node port.
func (s *ownSync) cleanBalancer(service *balancedService) {
	before := service.lb
	if before == "" && !s.k.KeepsUnread {
		_ = s.k.hns.fault(hns.OpLoadBalancers)
	}
	if s.deleteBalancer(service); s.k.staleLBs[before] {
		service.lb = before
	}
	if !s.k.KeepsUnread {
		_ = s.k.hns.fault(hns.OpLoadBalancers)
	}
}

// deleteBalancer is deleteLoadBalancer of proxier.go: it deletes the load balancer of a Service, now or at the end of
// this or a later sync.
func (s *ownSync) deleteBalancer(service *balancedService) {
	if service.lb != "" && !s.deletedBalancer(service.lb) {
		s.k.staleLBs[service.lb] = true
	}
	service.lb = ""
}

// deletedBalancer is deleteLoadBalancer of hns.go. Before 1.37 it ignores load balancers that it cannot look up.
func (s *ownSync) deletedBalancer(id hns.LoadBalancerID) bool {
	there, err := s.k.hns.loadBalancer(id)
	switch {
	case err != nil:
		return !s.k.KeepsUnread || errors.Is(err, refused{codeNotFound})
	case len(there) == 0:
		return true
	default:
		if err = s.k.hns.deleteLoadBalancer(id); err != nil {
			err = s.k.hns.deleteLoadBalancer(id) // it tries twice
		}
		return err == nil
	}
}

// finish is the end of syncProxyRules: the timestamp first, then the record, which is looked up in the enumeration from
// the start of the sync.
func (s *ownSync) finish() {
	k := s.k
	k.stats.Succeeded = k.world.Now()
	for _, addr := range sortedAddrs(k.record) {
		s.lookUp(addr)
	}
	for id := range k.staleLBs {
		if s.deletedBalancer(id) {
			delete(k.staleLBs, id)
		}
	}
	s.deleteTwins()
	k.runner.finished()
}

// deleteTwins is deleteAllRemoteEndpointsWithDupIP of hns.go.
func (s *ownSync) deleteTwins() {
	for _, id := range s.twins {
		s.k.world.tell(ActorKubeProxy, "%s: deletes remote endpoint %s, whose address a local one has", s.k.node.Name, id)
		s.k.deleteEndpoint(id)
	}
}

// lookUp is the part of syncProxyRules for one address of the record.
func (s *ownSync) lookUp(addr netip.Addr) {
	k := s.k
	defer func() { k.node.looked[addr] = k.enumerated }()
	e, known := s.queried[addr]
	if !known || e.local && !k.DeletesLocals || *k.refCount(e.id) != 0 {
		return
	}
	k.world.tell(ActorKubeProxy, "%s: looks %s of its record up, and deletes endpoint %s", k.node.Name, addr, e.id)
	k.deleteEndpoint(e.id)
}

// balancerKey is loadBalancerIdentifier of proxier.go: equal keys mean the same load balancer.
func balancerKey(lb hns.LoadBalancer) string {
	ids := make([]string, 0, len(lb.Endpoints))
	for _, id := range lb.Endpoints {
		ids = append(ids, string(id))
	}
	slices.Sort(ids)
	return balancerFrontend(lb) + strings.Join(ids, ",")
}

// balancerFrontend returns the beginning of the key.
func balancerFrontend(lb hns.LoadBalancer) string {
	vip := ""
	if len(lb.FrontendVIPs) > 0 {
		vip = lb.FrontendVIPs[0].String()
	}
	return vip + "|"
}

func sortedAddrs(set map[netip.Addr]bool) []netip.Addr {
	return slices.SortedFunc(maps.Keys(set), netip.Addr.Compare)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
