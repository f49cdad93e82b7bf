// SPDX-License-Identifier: Apache-2.0

package world

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/winkernel/wire"
)

// Lookup says which of several endpoints with an address a kube-proxy uses.
type Lookup int

// The lookups, all in getAllEndpointsByNetwork of pkg/proxy/winkernel/hns.go.
const (
	// LastWins: each enumerated endpoint replaces the previous one (1.31.0, 1.32.3, 1.33.0).
	LastWins Lookup = iota
	// RemoteWins: a local endpoint does not replace a previous one, a remote one does (1.32.13, 1.33.6, 1.34.0).
	RemoteWins
	// LocalWins: the first local endpoint, or else the first remote one; remote endpoints with the address of a local one
	// are deleted at the end of the sync (1.37.2).
	LocalWins
)

// Traits are the differences between versions of kube-proxy, according to the sources of k8s.io/kubernetes.
type Traits struct {
	Version string
	// RecordPerService: endpointsMapChange in proxier.go clears terminatedEndpoints once for each Service of a batch, so
	// that only the last Service's addresses remain, and they remain until the next change. Otherwise syncProxyRules
	// clears it at the start of every sync (1.32.13, 1.33.6, 1.37.2).
	RecordPerService bool
	// DeletesLocals: the loop over terminatedEndpoints at the end of syncProxyRules does not check whether the endpoint
	// that it found is local (1.31.0, 1.32.3, 1.33.0).
	DeletesLocals bool
	Lookup        Lookup
	// PrefersRunning: of several entries with an address, that of a pod that is not being deleted wins. Otherwise a local
	// one wins, or else the first (addEndpoints of endpointslicecache.go, before 1.36).
	PrefersRunning bool
	// KeepsUnread: deleteLoadBalancer of hns.go fails if it cannot look up the load balancer, which is then deleted later
	// (1.37). While HNS is not running (0x6b5), a sync does nothing at all.
	KeepsUnread bool
	// Burst: syncs are started by the BoundedFrequencyRunner of pkg/util/async, which may run two back to back (before
	// 1.34). The one of pkg/proxy/runner waits for MinSyncPeriod after each.
	Burst bool
	// SyncPeriod is the maximum time between two syncs: 30 s, but an hour in 1.34.0, where NewProxier gives the runner
	// proxyutil.FullSyncPeriod.
	SyncPeriod time.Duration
}

// minSyncPeriod is the default of iptables.minSyncPeriod, which Windows uses too (Convert_v1alpha1_... in
// pkg/proxy/apis/config/v1alpha1/conversion.go).
const minSyncPeriod = time.Second

const defaultPeriod = 30 * time.Second

// Versions returns the kube-proxies in histories: one of each kind.
func Versions() []Traits {
	return slices.DeleteFunc(KnownVersions(), func(t Traits) bool {
		return !slices.Contains([]string{"v1.31.0", "v1.32.3", "v1.32.13", "v1.34.0", "v1.37.2"}, t.Version)
	})
}

// KnownVersions returns the kube-proxies that the world itself implements.
func KnownVersions() []Traits {
	deletesLocals := Traits{RecordPerService: true, DeletesLocals: true, Lookup: LastWins, Burst: true, SyncPeriod: defaultPeriod}
	keepsTwins := Traits{Lookup: RemoteWins, Burst: true, SyncPeriod: defaultPeriod}
	latest := Traits{Lookup: LocalWins, PrefersRunning: true, SyncPeriod: defaultPeriod}
	keeper := latest
	keeper.KeepsUnread = true
	hourly := Traits{RecordPerService: true, Lookup: RemoteWins, SyncPeriod: time.Hour}
	unbuffered := Traits{Lookup: RemoteWins, SyncPeriod: defaultPeriod}
	named := func(t Traits, version string) Traits {
		t.Version = version
		return t
	}
	return []Traits{
		named(deletesLocals, "v1.31.0"), named(deletesLocals, "v1.32.3"), named(keepsTwins, "v1.32.13"),
		named(deletesLocals, "v1.33.0"), named(keepsTwins, "v1.33.13"), named(hourly, "v1.34.0"),
		named(unbuffered, "v1.35.4"), named(latest, "v1.36.3"), named(keeper, "v1.37.2"),
	}
}

// portName identifies a port of a Service, like proxy.ServicePortName.
type portName struct {
	service types.NamespacedName
	port    string
}

// backend is one endpoint of a Service in kube-proxy: endpointInfo in proxier.go.
type backend struct {
	addr                        netip.Addr
	local                       bool
	ready, serving, terminating bool
	id                          hns.EndpointID
	// refs is shared by all backends with the same HNS endpoint; nil after a cleanup.
	refs *uint16
}

// balancedService is a port of a Service in kube-proxy: serviceInfo in proxier.go.
type balancedService struct {
	vip     netip.Addr
	port    uint16
	applied bool
	lb      hns.LoadBalancerID
}

// tracker holds the slices of one Service: endpointSliceTracker in pkg/proxy/endpointslicecache.go.
type tracker struct{ applied, pending slots }

// slots are slices by name, in the iteration order of a small Go map without its random start.
type slots []slot

type slot struct {
	name  string
	slice *discoveryv1.EndpointSlice
}

func (m slots) at(name string) int {
	return slices.IndexFunc(m, func(s slot) bool { return s.name == name })
}

func (m *slots) set(name string, slice *discoveryv1.EndpointSlice) {
	at := m.at(name)
	if at < 0 {
		at = m.at("") // a deletion leaves an empty slot
	}
	if at < 0 {
		*m = append(*m, slot{})
		at = len(*m) - 1
	}
	(*m)[at] = slot{name, slice}
}

func (m slots) remove(name string) {
	if at := m.at(name); at >= 0 {
		m[at] = slot{}
	}
}

// found is an entry in the result of getAllEndpointsByNetwork.
type found struct {
	id    hns.EndpointID
	local bool
}

// KubeProxy is the proxier of one IP family on one node. It schedules syncs; the sync itself is implemented by the
// world, or by a [Program].
type KubeProxy struct {
	Traits
	// Took is the duration of a sync, without that of HNS calls.
	Took time.Duration

	node  *Node
	world *World
	hns   proxyHNS
	feed  *Feed
	// program runs the released code, or is nil.
	program Program
	// first is set until the first sync.
	first bool
	// network is the pod network as last seen.
	network hns.NetworkID

	trackers map[types.NamespacedName]*tracker
	services map[portName]*balancedService
	backends map[portName][]*backend
	refs     map[hns.EndpointID]*uint16
	// record is terminatedEndpoints.
	record   map[netip.Addr]bool
	staleLBs map[hns.LoadBalancerID]bool

	runner runner
	sync   syncing
	// enumerated is when endpoints were last listed.
	enumerated time.Time
	stats      Stats
	down       bool
	// worse is when it replaced a kube-proxy that does not delete local endpoints.
	worse time.Time
	// processed counts how often each Service was processed, to vary the order of batches.
	processed map[types.NamespacedName]int
}

// syncing is a running sync.
type syncing interface {
	begin()
	abort()
}

// Stats are the values of kube-proxy's metrics.
type Stats struct {
	// Finished is the count of kubeproxy_sync_proxy_rules_duration_seconds, which also counts failed syncs.
	Finished int
	// Succeeded is kubeproxy_sync_proxy_rules_last_timestamp_seconds, which is set before the record is processed.
	Succeeded time.Time
	// Queued is kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds.
	Queued time.Time
	// Changes and Pending are kubeproxy_sync_proxy_rules_endpoint_changes_total and _pending.
	Changes, Pending int
}

func newKubeProxy(n *Node, traits Traits, took time.Duration) *KubeProxy {
	k := &KubeProxy{Traits: traits, Took: took, node: n, world: n.world, hns: proxyHNS{n}}
	k.start()
	return k
}

// start starts the process: it has no memory, deletes all load balancers if it can, waits for its network (NewProxier),
// and syncs after it has listed everything.
func (k *KubeProxy) start() {
	k.trackers = map[types.NamespacedName]*tracker{}
	k.services = map[portName]*balancedService{}
	k.backends = map[portName][]*backend{}
	k.refs = map[hns.EndpointID]*uint16{}
	k.record = map[netip.Addr]bool{}
	k.staleLBs = map[hns.LoadBalancerID]bool{}
	k.processed = map[types.NamespacedName]int{}
	k.stats = Stats{}
	k.sync, k.first, k.program = nil, true, k.world.programOf(k)
	k.runner = newRunner(k)
	leftovers, _ := k.hns.listLoadBalancers() // those that cannot be listed stay
	for _, lb := range leftovers {
		_ = k.hns.deleteLoadBalancer(lb.ID) // those that cannot be deleted stay too
	}
	k.awaitNetwork()
}

// awaitNetwork is getNetworkInfo of NewProxier, and what follows it.
func (k *KubeProxy) awaitNetwork() {
	if k.hns.fault(hns.OpNetworks) != nil {
		k.runner.arm(time.Second, k.awaitNetwork)
		return
	}
	k.down, k.network = false, k.node.network.ID
	if k.program != nil {
		k.startProgram()
	}
	for _, obj := range k.world.API.All(KindService) {
		k.serviceThere(obj)
	}
	k.feed = k.world.API.watch(&Feed{
		name: k.node.Name + "/kube-proxy", kind: KindSlice, lag: k.world.Setup.KubeProxyLag,
		wants: proxied, handle: k.sliceChanged,
	})
	k.runner.begin()
}

func (k *KubeProxy) serviceThere(obj client.Object) {
	if k.program != nil {
		k.tellProgram(wire.Service, obj, false)
		return
	}
	port := obj.(*corev1.Service).Spec.Ports[0]
	k.services[portName{client.ObjectKeyFromObject(obj), port.Name}] = &balancedService{
		vip: vipOf(obj), port: uint16(port.Port),
	}
}

// Restart ends the process, and starts it again after some time.
func (k *KubeProxy) Restart(after time.Duration) {
	if k.down {
		return
	}
	k.world.tell(ActorKubeProxy, "%s: stops for %s", k.node.Name, after)
	k.down = true
	k.feed.close()
	k.runner.stop()
	if k.sync != nil {
		k.sync.abort()
	}
	k.world.After(after, ActorKubeProxy, func() { k.start() })
}

// sliceChanged notifies kube-proxy of a change, which may make it request a sync.
func (k *KubeProxy) sliceChanged(before, after client.Object) {
	one := after
	if one == nil {
		one = before
	}
	slice := one.(*discoveryv1.EndpointSlice)
	service := types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
	if slice.AddressType != discoveryv1.AddressTypeIPv4 || service.Name == "" {
		return
	}
	k.stats.Changes++
	var pending bool
	if k.program != nil {
		pending = k.tellProgram(wire.Slice, slice, after == nil)
	} else {
		pending = k.track(service, slice, after == nil)
	}
	if pending {
		k.stats.Pending++
		k.stats.Queued = k.world.Now()
		k.runner.request()
	}
}

// track is EndpointSliceUpdate of pkg/proxy/endpointschangetracker.go with updatePending and esDataChanged of
// endpointslicecache.go: every new resource version counts, whether or not the Service exists.
func (k *KubeProxy) track(service types.NamespacedName, slice *discoveryv1.EndpointSlice, gone bool) bool {
	t := k.trackers[service]
	if t == nil {
		t = &tracker{}
		k.trackers[service] = t
	}
	now := slice // nil for a deletion
	if gone {
		now = nil
	}
	known, at := t.pending, t.pending.at(slice.Name)
	if at < 0 {
		known, at = t.applied, t.applied.at(slice.Name)
	}
	if at < 0 && gone || at >= 0 && known[at].slice == now {
		return false
	}
	t.pending.set(slice.Name, now)
	return true
}

// takeChanges is EndpointsMap.Update of pkg/proxy/endpointschangetracker.go: it takes the pending changes, Service by
// Service, in the random order of a Go map.
func (k *KubeProxy) takeChanges() {
	k.stats.Pending = 0
	if !k.RecordPerService {
		clear(k.record)
	}
	for _, service := range k.batch() {
		t := k.trackers[service]
		old := k.backendsOf(service, t.applied)
		for _, p := range t.pending {
			switch {
			case p.name == "":
			case p.slice == nil:
				t.applied.remove(p.name)
			default:
				t.applied.set(p.name, p.slice)
			}
		}
		t.pending = nil
		k.changed(old, k.backendsOf(service, t.applied))
		k.processed[service]++
	}
}

// batch returns the Services with pending changes in the order of this batch.
func (k *KubeProxy) batch() []types.NamespacedName {
	var all []types.NamespacedName
	for service, t := range k.trackers {
		if len(t.pending) > 0 {
			all = append(all, service)
		}
	}
	const many = 1 << 30
	chance := func(s types.NamespacedName) int {
		return k.world.roll(many, "batch", k.node.Name, s.Name, string(rune('a'+k.processed[s]%26)))
	}
	slices.SortFunc(all, func(a, b types.NamespacedName) int {
		if c := chance(a) - chance(b); c != 0 {
			return c
		}
		return compareKeys(a, b)
	})
	return inOrder(all, k.world.play.Batches[Batch{k.node.Name, k.world.Elapsed()}])
}

// inOrder sorts Services by a program's order, which lacks those without endpoints.
func inOrder(all, known []types.NamespacedName) []types.NamespacedName {
	if len(known) != len(all) {
		return all
	}
	rest := slices.DeleteFunc(slices.Clone(all), func(s types.NamespacedName) bool { return slices.Contains(known, s) })
	ordered := slices.Clone(known)
	for at, s := range ordered {
		if s.Name == "" && len(rest) > 0 {
			ordered[at], rest = rest[0], rest[1:]
		}
	}
	if len(rest) > 0 {
		return all
	}
	return ordered
}

// backendsOf is getEndpointsMap of endpointslicecache.go.
func (k *KubeProxy) backendsOf(service types.NamespacedName, applied slots) map[portName][]*backend {
	all := map[portName][]*backend{}
	for _, s := range applied {
		if s.name == "" {
			continue
		}
		for _, port := range s.slice.Ports {
			key := portName{service, ptrOr(port.Name, "")}
			for _, e := range s.slice.Endpoints {
				b := k.backendOf(e)
				at := slices.IndexFunc(all[key], func(o *backend) bool { return o.addr == b.addr })
				switch {
				case at < 0:
					all[key] = append(all[key], b)
				case b.local && !k.PrefersRunning, k.PrefersRunning && !b.terminating:
					all[key][at] = b
				}
			}
		}
	}
	return all
}

func (k *KubeProxy) backendOf(e discoveryv1.Endpoint) *backend {
	return &backend{
		addr: netip.MustParseAddr(e.Addresses[0]), local: ptrOr(e.NodeName, "") == k.node.Name,
		ready: ptrOr(e.Conditions.Ready, true), serving: ptrOr(e.Conditions.Serving, true),
		terminating: ptrOr(e.Conditions.Terminating, false), refs: new(uint16),
	}
}

// changed is endpointsMapChange of proxier.go, and the merge that follows it.
func (k *KubeProxy) changed(old, now map[portName][]*backend) {
	if k.RecordPerService {
		clear(k.record)
	}
	for key, backends := range old {
		for _, b := range backends {
			if !b.local {
				k.record[b.addr] = true
			}
		}
		k.released(key)
	}
	for key, backends := range now {
		for _, b := range backends {
			if !b.local {
				delete(k.record, b.addr)
			}
		}
		if _, twice := old[key]; !twice {
			k.released(key)
		}
	}
	for key := range old {
		delete(k.backends, key)
	}
	for key, backends := range now {
		k.backends[key] = backends
	}
}

// released is onEndpointsMapChange of proxier.go. With winProxyOptimization, the default, it drops the references but
// does not delete anything yet.
func (k *KubeProxy) released(key portName) {
	service, exists := k.services[key]
	if !exists {
		for _, b := range k.backends[key] {
			k.cleanup(b)
		}
		return
	}
	for _, b := range k.backends[key] {
		if !b.local && b.refs != nil && *b.refs > 0 {
			*b.refs--
		}
	}
	service.applied = false
}

// cleanup is endpointInfo.Cleanup of proxier.go. The count is unsigned there too.
func (k *KubeProxy) cleanup(b *backend) {
	if b.local || b.refs == nil {
		return
	}
	*b.refs--
	if *b.refs == 0 && k.deleteEndpoint(b.id) {
		b.id = ""
	}
	b.refs = nil
}

// deleteEndpoint is that of hns.go: it looks up the endpoint and deletes it, whatever it is. It reports whether it
// succeeded.
func (k *KubeProxy) deleteEndpoint(id hns.EndpointID) bool {
	there, err := k.hns.endpoint(id)
	return err == nil && len(there) > 0 && k.hns.deleteEndpoint(id) == nil
}

func (k *KubeProxy) refCount(id hns.EndpointID) *uint16 {
	if k.refs[id] == nil {
		k.refs[id] = new(uint16)
	}
	return k.refs[id]
}

// proxied is the selector of kube-proxy's informers: Run in cmd/kube-proxy/app/server.go.
func proxied(obj client.Object) bool {
	labels := obj.GetLabels()
	_, headless := labels["service.kubernetes.io/headless"]
	_, other := labels["service.kubernetes.io/service-proxy-name"]
	return !headless && !other
}
