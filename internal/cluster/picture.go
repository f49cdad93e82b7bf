// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"maps"
	"net/netip"

	"k8s.io/apimachinery/pkg/util/sets"
)

// picture is where some addresses are listed, at one moment. Its maps are never changed: views share them, and what has
// changed since gets a picture of its own that shares the rest.
type picture struct {
	// rest is older than changed, which has only what is different; without a listing it has nil.
	rest, changed map[netip.Addr][]Listing
}

func (p picture) of(addr netip.Addr) []Listing {
	if listings, is := p.changed[addr]; is {
		return listings
	}
	return p.rest[addr]
}

// manyChanges is which part of a picture may be different from the rest before both become one: then a lookup stays
// quick, and a change costs a small part of the picture.
const manyChanges = 16

// with returns the picture with other listings of some addresses.
func (p picture) with(addrs sets.Set[netip.Addr], listings func(netip.Addr) []Listing) picture {
	if (len(p.changed)+len(addrs))*manyChanges > len(p.rest) {
		rest := make(map[netip.Addr][]Listing, len(p.rest)+len(addrs))
		maps.Copy(rest, p.rest)
		maps.Copy(rest, p.changed)
		for addr := range addrs {
			rest[addr] = listings(addr)
		}
		return picture{rest: rest}
	}
	changed := make(map[netip.Addr][]Listing, len(p.changed)+len(addrs))
	maps.Copy(changed, p.changed)
	for addr := range addrs {
		changed[addr] = listings(addr)
	}
	return picture{rest: p.rest, changed: changed}
}

// album has the latest picture, and knows what has become old in it.
type album struct {
	picture picture
	// asked are the addresses that are in the picture, old those of which it has to be taken anew.
	asked, old sets.Set[netip.Addr]
}

func newAlbum() album { return album{asked: sets.New[netip.Addr](), old: sets.New[netip.Addr]()} }

// changed records that the listings of an address have changed.
func (a *album) changed(addr netip.Addr) {
	if a.asked.Has(addr) {
		a.old.Insert(addr)
	}
}

// take returns the picture of the addresses as they are now. It may have more addresses.
func (a *album) take(addresses []netip.Addr, listings func(netip.Addr) []Listing) picture {
	if len(addresses) == 0 {
		return picture{}
	}
	for _, addr := range addresses {
		if !a.asked.Has(addr) {
			a.asked.Insert(addr)
			a.old.Insert(addr)
		}
	}
	if len(a.asked) > 2*len(addresses) { // most of them have gone from the node
		*a = newAlbum()
		return a.take(addresses, listings)
	}
	if len(a.old) > 0 {
		a.picture = a.picture.with(a.old, listings)
		a.old = sets.New[netip.Addr]()
	}
	return a.picture
}
