// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"net/netip"
	"slices"
	"sort"
	"unique"

	"github.com/cespare/xxhash/v2"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Slice is what hnsguard keeps of an EndpointSlice: a few bytes per address, of which a cluster may have a million. It
// does not change.
type Slice struct {
	Key types.NamespacedName
	// Service is the name of the Service in the slice's namespace; it may be empty.
	Service string
	// OtherProxy is set if the slice is labelled for another proxy than kube-proxy.
	OtherProxy bool
	// AddressType is the family of the addresses.
	AddressType discoveryv1.AddressType
	// ResourceVersion is the version of the object.
	ResourceVersion string
	// Port is the number of the first port; zero if there is none.
	Port int32

	digest uint64
	// wide is set if an address is not an IPv4 one; then all are kept as IPv6.
	wide bool
	// listed has for each listing the address and the conditions, in the order of addresses; nodes has its node.
	listed []byte
	nodes  []unique.Handle[string]
}

// The conditions of a listing.
const (
	isReady byte = 1 << iota
	isServing
	isTerminating
)

// SliceOf returns what is kept of a slice; nil for nil.
func SliceOf(slice *discoveryv1.EndpointSlice) *Slice {
	if slice == nil {
		return nil
	}
	key := keyOf(slice)
	key.Namespace = interned(key.Namespace)
	s := &Slice{
		Key: key, Service: interned(slice.Labels[discoveryv1.LabelServiceName]), ResourceVersion: slice.ResourceVersion,
		AddressType: discoveryv1.AddressType(interned(string(slice.AddressType))), digest: digestOf(slice),
	}
	_, s.OtherProxy = slice.Labels[LabelServiceProxyName]
	if len(slice.Ports) > 0 && slice.Ports[0].Port != nil {
		s.Port = *slice.Ports[0].Port
	}
	s.pack(slice)
	return s
}

// interned returns the string in memory that it shares with all that are equal to it.
func interned(s string) string { return unique.Make(s).Value() }

// digestOf is equal for two slices whose ports and endpoints are equal, as far as they are of use; in all likelihood
// for no others.
func digestOf(slice *discoveryv1.EndpointSlice) uint64 {
	d := digest{hash: xxhash.New()}
	for i := range slice.Ports {
		d.add(&slice.Ports[i])
	}
	d.add(&discoveryv1.EndpointSlice{}) // where the endpoints begin
	var used discoveryv1.Endpoint
	for i := range slice.Endpoints {
		e := &slice.Endpoints[i]
		used.Addresses, used.Conditions, used.NodeName, used.TargetRef = e.Addresses, e.Conditions, e.NodeName, e.TargetRef
		d.add(&used)
	}
	return d.hash.Sum64()
}

// digest is the hash of a sequence of messages. It encodes one at a time, always in the same memory: a slice may have
// a thousand of them.
type digest struct {
	hash   *xxhash.Digest
	buffer []byte
}

func (d *digest) add(message interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
},
) {
	const prefix = 8 // the size, without which a message could continue the one before
	size := message.Size()
	d.buffer = slices.Grow(d.buffer[:0], prefix+size)[:prefix+size]
	binary.LittleEndian.PutUint64(d.buffer, uint64(size))
	if _, err := message.MarshalToSizedBuffer(d.buffer[prefix:]); err != nil {
		panic(err) // it has no field that cannot be encoded
	}
	_, _ = d.hash.Write(d.buffer) // it never fails
}

// pack keeps the listings of a slice.
func (s *Slice) pack(slice *discoveryv1.EndpointSlice) {
	type entry struct {
		addr  netip.Addr
		node  unique.Handle[string]
		state byte
	}
	entries := make([]entry, 0, len(slice.Endpoints))
	for addr, l := range Listings(slice) {
		s.wide = s.wide || addr.Is6()
		entries = append(entries, entry{addr, unique.Make(l.Node), stateOf(l)})
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return a.addr.Compare(b.addr) })
	s.listed, s.nodes = make([]byte, 0, len(entries)*s.stride()), make([]unique.Handle[string], 0, len(entries))
	for _, e := range entries {
		s.listed = append(s.appendAddr(s.listed, e.addr), e.state)
		s.nodes = append(s.nodes, e.node)
	}
}

func stateOf(l Listing) (state byte) {
	if l.Ready {
		state |= isReady
	}
	if l.Serving {
		state |= isServing
	}
	if l.Terminating {
		state |= isTerminating
	}
	return state
}

// width is how many bytes an address takes, stride how many a listing does.
func (s *Slice) width() int {
	if s.wide {
		return 16
	}
	return 4
}

func (s *Slice) stride() int { return s.width() + 1 }

func (s *Slice) appendAddr(to []byte, addr netip.Addr) []byte {
	if s.wide {
		all := addr.As16()
		return append(to, all[:]...)
	}
	all := addr.As4()
	return append(to, all[:]...)
}

func (s *Slice) len() int { return len(s.nodes) }

// bytesAt is the address of a listing as it is kept.
func (s *Slice) bytesAt(i int) []byte { return s.listed[i*s.stride():][:s.width()] }

func (s *Slice) addrAt(i int) netip.Addr {
	addr, _ := netip.AddrFromSlice(s.bytesAt(i))
	return addr.Unmap()
}

func (s *Slice) stateAt(i int) byte { return s.listed[i*s.stride()+s.width()] }

func (s *Slice) listingAt(i int) Listing {
	state := s.stateAt(i)
	return Listing{
		Slice: s.Key, Service: s.Service, Node: s.nodes[i].Value(),
		Ready: state&isReady != 0, Serving: state&isServing != 0, Terminating: state&isTerminating != 0,
	}
}

// Listings yields every address that the slice lists, in the order of addresses. A nil slice lists nothing.
func (s *Slice) Listings() iter.Seq2[netip.Addr, Listing] {
	return func(yield func(netip.Addr, Listing) bool) {
		if s == nil {
			return
		}
		for i := range s.len() {
			if !yield(s.addrAt(i), s.listingAt(i)) {
				return
			}
		}
	}
}

// of returns which of the listings have the address: from the first to before the second.
func (s *Slice) of(addr netip.Addr) (from, to int) {
	if addr.Is6() && !s.wide {
		return 0, 0
	}
	var buffer [16]byte
	want := s.appendAddr(buffer[:0], addr)
	from = sort.Search(s.len(), func(i int) bool { return bytes.Compare(s.bytesAt(i), want) >= 0 })
	for to = from; to < s.len() && bytes.Equal(s.bytesAt(to), want); to++ {
	}
	return from, to
}

func (s *Slice) lists(addr netip.Addr) bool {
	from, to := s.of(addr)
	return from < to
}

// mayList reports whether an address of the slice is the same one in short, other than by being the same one.
func (s *Slice) mayList(addr uint32) bool {
	if s == nil || !s.wide {
		return false
	}
	for i := range s.len() {
		if short(s.addrAt(i)) == addr {
			return true
		}
	}
	return false
}

// SameEndpoints reports whether both slices have the same ports and endpoints.
func (s *Slice) SameEndpoints(other *Slice) bool { return s.digest == other.digest }

// AddressesElsewhere returns the addresses that the slice lists [Listing.Elsewhere] for the node.
func (s *Slice) AddressesElsewhere(node string) sets.Set[netip.Addr] {
	return s.addresses(func(l Listing) bool { return l.Elsewhere(node) })
}

// AddressesOnOtherNodes returns the addresses that the slice lists [Listing.OnAnotherNode].
func (s *Slice) AddressesOnOtherNodes(node string) sets.Set[netip.Addr] {
	return s.addresses(func(l Listing) bool { return l.OnAnotherNode(node) })
}

func (s *Slice) addresses(of func(Listing) bool) sets.Set[netip.Addr] {
	all := sets.New[netip.Addr]()
	for addr, listing := range s.Listings() {
		if of(listing) {
			all.Insert(addr)
		}
	}
	return all
}

// changes yields the addresses that only one of two slices lists, or that they list differently, and whether the second
// one lists them. An address may be yielded more than once.
func changes(before, after *Slice) iter.Seq2[netip.Addr, bool] {
	none := &Slice{}
	before, after = cmp.Or(before, none), cmp.Or(after, none)
	renamed := before.Key != after.Key || before.Service != after.Service
	return func(yield func(netip.Addr, bool) bool) {
		b, a := 0, 0
		for b < before.len() || a < after.len() {
			order := compareAt(before, b, after, a)
			addr := addrOf(before, b, after, a, order)
			same := order == 0 && !renamed && before.stateAt(b) == after.stateAt(a) && before.nodes[b] == after.nodes[a]
			if order <= 0 {
				b++
			}
			if order >= 0 {
				a++
			}
			if !same && !yield(addr, order >= 0 || after.lists(addr)) {
				return
			}
		}
	}
}

// compareAt compares an address of one slice with one of another. Behind the end of a slice comes nothing.
func compareAt(before *Slice, b int, after *Slice, a int) int {
	switch {
	case a == after.len():
		return -1
	case b == before.len():
		return 1
	case before.wide == after.wide:
		return bytes.Compare(before.bytesAt(b), after.bytesAt(a))
	default:
		return before.addrAt(b).Compare(after.addrAt(a))
	}
}

func addrOf(before *Slice, b int, after *Slice, a int, order int) netip.Addr {
	if order <= 0 {
		return before.addrAt(b)
	}
	return after.addrAt(a)
}

// short is an address in four bytes. Few IPv6 addresses share theirs with another one; what is found by it has to be
// compared.
func short(addr netip.Addr) uint32 {
	if addr.Is4() {
		all := addr.As4()
		return binary.BigEndian.Uint32(all[:])
	}
	all := addr.As16()
	return uint32(xxhash.Sum64(all[:]))
}
