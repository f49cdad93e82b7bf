// SPDX-License-Identifier: Apache-2.0

package hnstest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Duplicates says what the simulated HNS does if a remote endpoint and another one would share an address on one
// network. Windows Server 2019 and 2022 allow it on L2Bridge; for other versions and network types this is unknown.
type Duplicates int

// The duplicate policies.
const (
	AllowDuplicates Duplicates = iota
	RefuseDuplicates
	// OneRemote allows a local endpoint and a remote one with the same address, but refuses a second remote one.
	OneRemote
	// AllowLocals also allows two local endpoints with the same address, which the others refuse.
	//
	// Source: https://github.com/Azure/AKS/issues/5653
	AllowLocals
)

// Order is the order of enumeration. HNS guarantees none.
//
// Source: https://github.com/microsoft/hcsshim/pull/2231
type Order int

// The enumeration orders.
const (
	OldestFirst Order = iota
	NewestFirst
	// ByID looks random, because IDs are.
	ByID
	// Random is a different order for every list.
	Random
)

// ErrDuplicateAddress is HNS's error 0x803b002f, "An address provided is invalid or reserved".
var ErrDuplicateAddress = errors.New("an address provided is invalid or reserved (0x803b002f)")

// ErrAlreadyAttached is HNS's error 0x803b0014.
var ErrAlreadyAttached = errors.New("the endpoint is already attached (0x803b0014)")

// Options describe one simulated HNS. The zero value allows duplicates, lists the oldest endpoints first and takes no
// time.
type Options struct {
	Duplicates Duplicates
	Order      Order
	// Quirks are other differences from the assumptions of package contract.
	Quirks Quirks
	// Version is the version of the service. The default is a version that no HNS has.
	Version string
	// Latency is the duration of one call to the service. Reading one object takes three calls (open, query, close), and a
	// list one more than for its objects.
	Latency time.Duration
	// Clock is the clock for the latency; the default is the real one.
	Clock clock.Clock
	// NewID creates the IDs, which must be unique GUIDs in lower case. Its argument is the purpose: a "network", a
	// "namespace", a "load balancer", or the first address of an endpoint and whether it is "remote" or "local". The
	// default creates random IDs, like HNS; a deterministic simulation needs its own.
	NewID func(of string) string
	// Rank returns the position of an endpoint in a list whose order is Random: the lowest comes first. It runs once for
	// each endpoint of each list. The default is random; a deterministic simulation derives it from its seed.
	Rank func(id hns.EndpointID) uint64
}

// HNS is one simulated service. Its methods are safe for concurrent use.
type HNS struct {
	opts Options

	mu            sync.Mutex
	networks      []hns.Network
	endpoints     []hns.Endpoint // in order of creation
	namespaces    map[hns.NamespaceID]bool
	loadBalancers []hns.LoadBalancer
	faults        faults
	calls         []Call
	cost          int

	// The state of quirks: ReusesIDs, ListsFail and OneAtATime.
	lastDeleted     hns.EndpointID
	balancerDeleted bool
	listing         sync.Mutex
}

var _ hns.Client = (*HNS)(nil)

// New returns a service without networks and endpoints.
func New(opts Options) *HNS {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	if opts.NewID == nil {
		opts.NewID = func(string) string { return uuid.NewString() }
	}
	if opts.Rank == nil {
		opts.Rank = func(hns.EndpointID) uint64 { return rand.Uint64() } //nolint:gosec // an order, not a secret
	}
	return &HNS{opts: opts, namespaces: map[hns.NamespaceID]bool{}, faults: newFaults()}
}

// SetDuplicates changes the duplicate policy; existing endpoints remain.
func (h *HNS) SetDuplicates(d Duplicates) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opts.Duplicates = d
}

// SetOrder changes the order of enumeration.
func (h *HNS) SetOrder(o Order) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.opts.Order = o
}

// CreateNetwork creates a network.
func (h *HNS) CreateNetwork(name string, kind hns.NetworkType, subnets ...netip.Prefix) hns.Network {
	h.mu.Lock()
	defer h.mu.Unlock()
	network := hns.Network{ID: hns.NetworkID(h.opts.NewID("network")), Name: name, Type: kind, Subnets: subnets}
	h.networks = append(h.networks, network)
	return network
}

// DeleteNetwork deletes a network and, like HNS, every endpoint on it.
func (h *HNS) DeleteNetwork(id hns.NetworkID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := slices.IndexFunc(h.networks, func(n hns.Network) bool { return n.ID == id })
	if at < 0 {
		return fmt.Errorf("deleting network %s: %w", id, hns.ErrNotFound)
	}
	h.networks = slices.Delete(h.networks, at, at+1)
	h.endpoints = slices.DeleteFunc(h.endpoints, func(e hns.Endpoint) bool { return e.Network == id })
	return nil
}

// EndpointSpec describes an endpoint to create. An unnamed one gets the name "Ethernet", as in HNS.
type EndpointSpec struct {
	Network   hns.NetworkID
	Name      string
	Addresses []netip.Addr
	MAC       hns.MAC
	Flags     hns.EndpointFlags
}

// CreateEndpoint creates an endpoint. It fails with ErrNotFound for an unknown network, and with ErrDuplicateAddress if
// the duplicate policy refuses it.
func (h *HNS) CreateEndpoint(spec EndpointSpec) (hns.Endpoint, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.ContainsFunc(h.networks, func(n hns.Network) bool { return n.ID == spec.Network }) {
		return hns.Endpoint{}, fmt.Errorf("creating endpoint on network %s: %w", spec.Network, hns.ErrNotFound)
	}
	if spec.Name == "" {
		spec.Name = "Ethernet"
	}
	made := hns.Endpoint{
		ID: hns.EndpointID(h.opts.NewID(describe(spec))), Name: spec.Name, Network: spec.Network,
		Addresses: slices.Clone(spec.Addresses), MAC: spec.MAC, Flags: spec.Flags,
	}
	if err := h.refusesAddress(made); err != nil {
		return hns.Endpoint{}, err
	}
	if h.has(ReusesIDs) && h.lastDeleted != "" {
		made.ID, h.lastDeleted = h.lastDeleted, ""
	}
	if h.has(OwnMACs) {
		made.MAC = hns.MAC{0x00, 0x15, 0x5d}
	}
	if h.has(MakesRemotes) {
		made.Flags |= hns.FlagRemote
	}
	for _, other := range h.endpoints {
		if h.refuses(made, other) {
			return hns.Endpoint{}, fmt.Errorf("creating endpoint %v beside %s: %w",
				spec.Addresses, other.ID, ErrDuplicateAddress)
		}
	}
	h.endpoints = append(h.endpoints, made)
	return made, nil
}

// refuses reports whether both endpoints cannot coexist.
func (h *HNS) refuses(a, b hns.Endpoint) bool {
	if a.Network != b.Network || !slices.ContainsFunc(a.Addresses, b.Has) {
		return false
	}
	switch {
	case !a.Remote() && !b.Remote():
		return h.opts.Duplicates != AllowLocals
	case h.opts.Duplicates == OneRemote:
		return a.Remote() && b.Remote()
	default:
		return h.opts.Duplicates == RefuseDuplicates
	}
}

// describe describes an endpoint to create, for [Options.NewID].
func describe(spec EndpointSpec) string {
	kind := "local"
	if spec.Flags&hns.FlagRemote != 0 {
		kind = "remote"
	}
	if len(spec.Addresses) == 0 {
		return kind
	}
	return spec.Addresses[0].String() + " " + kind
}

// CreateNamespace creates a network compartment, as the container runtime does for a pod.
func (h *HNS) CreateNamespace() hns.NamespaceID {
	id := hns.NamespaceID(h.opts.NewID("namespace"))
	h.AddNamespace(id)
	return id
}

// AddNamespace creates a network compartment with an ID that its creator has chosen.
func (h *HNS) AddNamespace(id hns.NamespaceID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.namespaces[id] = true
}

// DeleteNamespace deletes a compartment. Its endpoints remain unattached: this is how a CNI leaks one.
func (h *HNS) DeleteNamespace(id hns.NamespaceID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.namespaces[id] {
		return fmt.Errorf("deleting namespace %s: %w", id, hns.ErrNotFound)
	}
	delete(h.namespaces, id)
	for i := range h.endpoints {
		if h.endpoints[i].Namespace == id && !h.has(KeepsNamespaces) {
			h.endpoints[i].Namespace = ""
		}
	}
	return nil
}

// Attach attaches an endpoint to a compartment.
func (h *HNS) Attach(endpoint hns.EndpointID, namespace hns.NamespaceID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.indexOf(endpoint)
	if at < 0 || !h.namespaces[namespace] {
		return fmt.Errorf("attaching endpoint %s to namespace %s: %w", endpoint, namespace, hns.ErrNotFound)
	}
	if h.endpoints[at].Namespace != "" {
		return fmt.Errorf("attaching endpoint %s to namespace %s: %w", endpoint, namespace, ErrAlreadyAttached)
	}
	h.endpoints[at].Namespace = namespace
	return nil
}

// CreateLoadBalancer creates a load balancer with a new ID. It fails with ErrNotFound for an unknown backend.
func (h *HNS) CreateLoadBalancer(spec hns.LoadBalancer) (hns.LoadBalancer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, backend := range spec.Endpoints {
		if h.indexOf(backend) < 0 {
			return hns.LoadBalancer{}, fmt.Errorf("creating load balancer on endpoint %s: %w", backend, hns.ErrNotFound)
		}
	}
	if h.has(RefusesFrontendTwice) && h.hasFrontend(spec) {
		return hns.LoadBalancer{}, fmt.Errorf("creating load balancer for %v: %w", spec.FrontendVIPs, ErrPortExists)
	}
	if h.has(ForgetsFrontends) {
		spec.FrontendVIPs = nil
	}
	h.balancerDeleted = false
	spec.ID = hns.LoadBalancerID(h.opts.NewID("load balancer"))
	h.loadBalancers = append(h.loadBalancers, cloneLoadBalancer(spec))
	return spec, nil
}

// UpdateLoadBalancer replaces the settings of a load balancer. It fails with ErrNotFound for an unknown load balancer
// or backend.
func (h *HNS) UpdateLoadBalancer(spec hns.LoadBalancer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := slices.IndexFunc(h.loadBalancers, func(lb hns.LoadBalancer) bool { return lb.ID == spec.ID })
	if at < 0 {
		return fmt.Errorf("updating load balancer %s: %w", spec.ID, hns.ErrNotFound)
	}
	for _, backend := range spec.Endpoints {
		if h.indexOf(backend) < 0 {
			return fmt.Errorf("updating load balancer %s: endpoint %s: %w", spec.ID, backend, hns.ErrNotFound)
		}
	}
	if !h.has(IgnoresUpdates) {
		h.loadBalancers[at] = cloneLoadBalancer(spec)
	}
	return nil
}

// DeleteLoadBalancer deletes a load balancer.
func (h *HNS) DeleteLoadBalancer(id hns.LoadBalancerID) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := len(h.loadBalancers)
	h.loadBalancers = slices.DeleteFunc(h.loadBalancers, func(lb hns.LoadBalancer) bool { return lb.ID == id })
	if len(h.loadBalancers) == before {
		return fmt.Errorf("deleting load balancer %s: %w", id, hns.ErrNotFound)
	}
	h.balancerDeleted = true
	return nil
}

// Restart restarts the service and purges its state: endpoints and load balancers are gone, and every network gets
// another ID. (Newer builds restore some of it; to simulate this, delete and create single objects.)
func (h *HNS) Restart() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endpoints, h.loadBalancers = nil, nil
	for i := range h.networks {
		h.networks[i].ID = hns.NetworkID(h.opts.NewID("network"))
	}
}

// State is the whole state of the service.
type State struct {
	Networks      []hns.Network
	Endpoints     []hns.Endpoint
	Namespaces    []hns.NamespaceID
	LoadBalancers []hns.LoadBalancer
}

// State copies the current state, without a call, latency or fault, for tests and the demo.
func (h *HNS) State() State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return State{
		Networks: slices.Clone(h.networks), Endpoints: h.listed(), LoadBalancers: h.listedLoadBalancers(),
		Namespaces: slices.Sorted(maps.Keys(h.namespaces)),
	}
}

// OrderOf returns the endpoints with an address in the order of enumeration: L for a local one, R for a remote one.
func (h *HNS) OrderOf(addr netip.Addr) (order string) {
	for _, e := range h.State().Endpoints {
		switch {
		case !e.Has(addr):
		case e.Remote():
			order += "R"
		default:
			order += "L"
		}
	}
	return order
}

func (h *HNS) indexOf(id hns.EndpointID) int {
	return slices.IndexFunc(h.endpoints, func(e hns.Endpoint) bool { return e.ID == id })
}

// listed copies the endpoints in the order of enumeration.
func (h *HNS) listed() []hns.Endpoint {
	list := make([]hns.Endpoint, 0, len(h.endpoints))
	for _, e := range h.endpoints {
		e.Addresses = slices.Clone(e.Addresses)
		list = append(list, e)
	}
	switch h.opts.Order {
	case NewestFirst:
		slices.Reverse(list)
	case ByID:
		slices.SortFunc(list, func(a, b hns.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	case Random:
		h.shuffle(list)
	case OldestFirst:
	}
	return list
}

func (h *HNS) shuffle(list []hns.Endpoint) {
	ranks := make(map[hns.EndpointID]uint64, len(list))
	for _, e := range list {
		ranks[e.ID] = h.opts.Rank(e.ID)
	}
	slices.SortFunc(list, func(a, b hns.Endpoint) int { return cmp.Compare(ranks[a.ID], ranks[b.ID]) })
}

func (h *HNS) listedLoadBalancers() []hns.LoadBalancer {
	list := make([]hns.LoadBalancer, 0, len(h.loadBalancers))
	for _, lb := range h.loadBalancers {
		list = append(list, cloneLoadBalancer(lb))
	}
	return list
}

// loadBalancer copies a load balancer, if it exists.
func (h *HNS) loadBalancer(id hns.LoadBalancerID) (hns.LoadBalancer, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, lb := range h.loadBalancers {
		if lb.ID == id {
			return cloneLoadBalancer(lb), true
		}
	}
	return hns.LoadBalancer{}, false
}

func cloneLoadBalancer(lb hns.LoadBalancer) hns.LoadBalancer {
	lb.Endpoints = slices.Clone(lb.Endpoints)
	lb.FrontendVIPs = slices.Clone(lb.FrontendVIPs)
	lb.Ports = slices.Clone(lb.Ports)
	return lb
}
