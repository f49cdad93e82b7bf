// SPDX-License-Identifier: Apache-2.0

package cluster

import "slices"

// places knows which slices list an address. Slices are numbers, and addresses are [short]: a million of them have to
// fit into a few megabytes.
type places struct {
	// first has one slice for each address, more has the others of the few that have several.
	first map[uint32]uint32
	more  map[uint32][]uint32
}

func newPlaces() places { return places{first: map[uint32]uint32{}, more: map[uint32][]uint32{}} }

// add records that the slice lists the address. It may be known.
func (p places) add(addr, slice uint32) {
	first, known := p.first[addr]
	switch {
	case !known:
		p.first[addr] = slice
	case first != slice && !slices.Contains(p.more[addr], slice):
		p.more[addr] = append(p.more[addr], slice)
	}
}

// remove records that the slice does not list the address any more. It may be unknown.
func (p places) remove(addr, slice uint32) {
	first, known := p.first[addr]
	if !known {
		return
	}
	more := p.more[addr]
	switch at := slices.Index(more, slice); {
	case first == slice && len(more) == 0:
		delete(p.first, addr)
		return
	case first == slice:
		p.first[addr] = more[len(more)-1]
		more = more[:len(more)-1]
	case at >= 0:
		more = slices.Delete(more, at, at+1)
	}
	if len(more) == 0 {
		delete(p.more, addr)
		return
	}
	p.more[addr] = more
}

// of calls a function with each slice that may list the address.
func (p places) of(addr uint32, each func(slice uint32)) {
	first, known := p.first[addr]
	if !known {
		return
	}
	each(first)
	for _, slice := range p.more[addr] {
		each(slice)
	}
}
