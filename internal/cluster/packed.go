// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"net/netip"
	"slices"
)

// packed stores addresses compactly: 4 bytes each if all are IPv4 addresses, otherwise 16.
type packed struct {
	bytes string
	width int
}

func pack(addrs []netip.Addr) packed {
	p := packed{width: 4}
	if slices.ContainsFunc(addrs, netip.Addr.Is6) {
		p.width = 16
	}
	bytes := make([]byte, 0, len(addrs)*p.width)
	for _, addr := range addrs {
		all := addr.As16() // an IPv4 address is in the last four
		bytes = append(bytes, all[16-p.width:]...)
	}
	p.bytes = string(bytes)
	return p
}

func (p packed) len() int { return len(p.bytes) / max(p.width, 1) }

func (p packed) at(n int) netip.Addr {
	if p.width == 4 {
		return netip.AddrFrom4([4]byte([]byte(p.bytes[n*4:][:4])))
	}
	return netip.AddrFrom16([16]byte([]byte(p.bytes[n*16:][:16]))).Unmap()
}
