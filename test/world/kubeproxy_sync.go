// SPDX-License-Identifier: Apache-2.0

package world

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// runner starts syncs: BoundedFrequencyRunner of pkg/util/async before 1.34 and of pkg/proxy/runner since.
type runner struct {
	k         *KubeProxy
	timer     *event
	requested bool
	// starting is set while a sync is about to begin: more requests make no difference.
	starting bool
	// tokens and filled are the bucket of the older runner.
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

// request asks for a sync.
func (r *runner) request() {
	switch {
	case r.k.sync != nil:
		r.requested = true
	case !r.starting:
		r.try()
	}
}

// try starts a sync, or makes sure that one starts as soon as it may.
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

// accept takes a token if there is one.
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
	r.k.sync = &syncing{k: r.k}
	r.k.sync.begin()
}

// finished is called when a sync has ended, well or not.
func (r *runner) finished() {
	r.k.sync = nil
	r.k.stats.Finished++
	r.ended = r.k.world.Now()
	if r.requested {
		r.requested = false
		r.try()
		return
	}
	r.arm(r.k.SyncPeriod, r.try)
}

// syncing is one run of syncProxyRules in proxier.go. Other actors act between its stages.
type syncing struct {
	k     *KubeProxy
	stage *event
	// queried is what was enumerated, once, with what has been made since.
	queried map[netip.Addr]found
	byID    map[hns.EndpointID]found
	twins   []hns.EndpointID
	// enumerated is when that was.
	enumerated time.Time
	balanced   map[string]hns.LoadBalancerID
	work       []portName
	// each is how long it takes to program one Service.
	each time.Duration
}

func (s *syncing) abort() { s.stage.cancel() }

// then goes on with the next stage after some time.
func (s *syncing) then(after time.Duration, do func()) {
	s.stage = s.k.world.After(after, ActorKubeProxy, func() {
		if frozen := s.k.node.frozenFor(); frozen > 0 {
			s.then(frozen, do)
			return
		}
		do()
	})
}

// begin takes the pending changes, unless HNS does not answer.
func (s *syncing) begin() {
	k := s.k
	if k.node.service.down {
		k.world.tell(ActorKubeProxy, "%s: sync fails: HNS is down", k.node.Name)
		s.forgetPolicies()
		k.runner.finished()
		return
	}
	k.takeChanges()
	if len(k.record) > 0 {
		k.world.tell(ActorKubeProxy, "%s: syncs; its record of terminated addresses has %v", k.node.Name, sortedAddrs(k.record))
	}
	s.then(s.share(0), s.list)
}

// forgetPolicies is what a sync does when it does not find its network: cleanupAllPolicies of Proxier. Nothing can be
// deleted while HNS is down, but the references are given up all the same. 1.37 leaves everything as it is
// (IsHnsNotRunningError).
func (s *syncing) forgetPolicies() {
	if s.k.Lookup == LocalWins {
		return
	}
	for key, service := range s.k.services {
		service.lb, service.applied = "", false // deleteLoadBalancer says nothing about what it does not find
		for _, b := range s.k.backends[key] {
			s.k.cleanup(b)
		}
	}
}

// share is how long a stage of the sync takes: that before the list a hundredth of the whole.
func (s *syncing) share(programmed int) time.Duration {
	const beforeTheList = 100
	if programmed == 0 {
		return s.k.Took / beforeTheList
	}
	return (s.k.Took - s.k.Took/beforeTheList) / time.Duration(programmed)
}

// list is getAllEndpointsByNetwork of hns.go, with getAllLoadBalancers.
func (s *syncing) list() {
	k := s.k
	if k.node.service.fails(hns.OpListEndpointIDs) || k.node.service.fails(hns.OpEndpoint) {
		k.world.tell(ActorKubeProxy, "%s: sync fails: HNS cannot be listed", k.node.Name)
		k.runner.finished()
		return
	}
	s.queried, s.byID, s.enumerated = map[netip.Addr]found{}, map[hns.EndpointID]found{}, k.world.Now()
	state := k.node.HNS.State()
	for _, e := range state.Endpoints {
		if e.Network == k.node.network.ID && len(e.Addresses) > 0 {
			s.enumerate(found{id: e.ID, local: !e.Remote()}, e.Addresses[0])
		}
	}
	s.balanced = map[string]hns.LoadBalancerID{}
	for _, lb := range state.LoadBalancers {
		s.balanced[balancerKey(lb)] = lb.ID
	}
	for key, service := range k.services {
		if !service.applied {
			s.work = append(s.work, key)
		}
	}
	slices.SortFunc(s.work, func(a, b portName) int { return strings.Compare(a.service.Name, b.service.Name) })
	s.each = s.share(len(s.work) + 1)
	s.then(s.each, s.program)
}

// enumerate adds one endpoint of the enumeration.
func (s *syncing) enumerate(e found, addr netip.Addr) {
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

// program deals with one Service of those whose policy is not applied.
func (s *syncing) program() {
	if len(s.work) == 0 {
		s.finish()
		return
	}
	key := s.work[0]
	s.work = s.work[1:]
	if service := s.k.services[key]; service != nil {
		s.programService(key, service)
	}
	s.then(s.each, s.program)
}

func (s *syncing) programService(key portName, service *balancedService) {
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
		if service.lb != "" {
			s.deleteBalancer(service.lb)
			service.lb = ""
		}
		return
	}
	service.applied = s.balance(service, ids)
}

// endpointFor finds the HNS endpoint of a backend, or makes a remote one.
func (s *syncing) endpointFor(b *backend) (found, bool) {
	if e, known := s.byID[b.id]; known && b.id != "" {
		return e, true
	}
	if e, known := s.queried[b.addr]; known {
		return e, true
	}
	if b.local {
		return found{}, false
	}
	made, err := s.k.node.createRemote(b.addr, ActorKubeProxy)
	if err != nil {
		s.k.world.tell(ActorKubeProxy, "%s: making a remote endpoint for %s: %v", s.k.node.Name, b.addr, err)
		return found{}, false
	}
	e := found{id: made.ID}
	s.queried[b.addr], s.byID[made.ID] = e, e
	return e, true
}

// balance is getLoadBalancer or updateLoadBalancer of hns.go. It fails if a backend has gone since it was enumerated.
func (s *syncing) balance(service *balancedService, ids []hns.EndpointID) bool {
	node := s.k.node
	if node.service.down {
		return false
	}
	spec := hns.LoadBalancer{
		ID: service.lb, Endpoints: ids, FrontendVIPs: []netip.Addr{service.vip},
		Ports: []hns.PortMapping{{Protocol: 6, InternalPort: 80, ExternalPort: 80}},
	}
	if id, there := s.balanced[balancerKey(spec)]; there {
		service.lb = id
		return true
	}
	if service.lb != "" {
		return node.HNS.UpdateLoadBalancer(spec) == nil
	}
	made, err := node.HNS.CreateLoadBalancer(spec)
	service.lb = made.ID
	return err == nil
}

func (s *syncing) deleteBalancer(id hns.LoadBalancerID) {
	if s.k.node.service.down || s.k.node.HNS.DeleteLoadBalancer(id) != nil {
		s.k.staleLBs[id] = true
	}
}

// finish is the end of syncProxyRules: the time stamp first, then the record, looked up in what was enumerated at the
// start.
func (s *syncing) finish() {
	k := s.k
	k.stats.Succeeded = k.world.Now()
	for _, addr := range sortedAddrs(k.record) {
		s.lookUp(addr)
	}
	for id := range k.staleLBs {
		if !k.node.service.down && k.node.HNS.DeleteLoadBalancer(id) == nil {
			delete(k.staleLBs, id)
		}
	}
	for _, id := range s.twins {
		k.world.tell(ActorKubeProxy, "%s: deletes remote endpoint %s, whose address a local one has", k.node.Name, id)
		k.delete(id)
	}
	k.runner.finished()
}

// lookUp is the part of syncProxyRules about one address of the record.
func (s *syncing) lookUp(addr netip.Addr) {
	k := s.k
	defer func() { k.node.looked[addr] = s.enumerated }()
	e, known := s.queried[addr]
	if !known || e.local && !k.DeletesLocals || *k.refCount(e.id) != 0 {
		return
	}
	k.world.tell(ActorKubeProxy, "%s: looks %s of its record up, and deletes endpoint %s", k.node.Name, addr, e.id)
	if e.local {
		k.node.missed(addr, e.id, s.enumerated)
	}
	k.delete(e.id)
}

// balancerKey is loadBalancerIdentifier of proxier.go: equal keys mean the same load balancer.
func balancerKey(lb hns.LoadBalancer) string {
	ids := make([]string, 0, len(lb.Endpoints))
	for _, id := range lb.Endpoints {
		ids = append(ids, string(id))
	}
	slices.Sort(ids)
	vip := ""
	if len(lb.FrontendVIPs) > 0 {
		vip = lb.FrontendVIPs[0].String()
	}
	return vip + "|" + strings.Join(ids, ",")
}

func sortedAddrs(set map[netip.Addr]bool) []netip.Addr {
	return slices.SortedFunc(maps.Keys(set), netip.Addr.Compare)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
