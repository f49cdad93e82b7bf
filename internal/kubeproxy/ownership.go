// SPDX-License-Identifier: Apache-2.0

package kubeproxy

import (
	"net/netip"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// RemoteMAC returns the hardware address that kube-proxy gives the remote endpoint of an IP: 02-11 and the four bytes
// of an IPv4 address, or the last four of an IPv6 address in reverse order. It identifies kube-proxy's endpoints. The
// one other known user was the Windows backend of kpng, an archived port of kube-proxy, whose endpoints had the same
// meaning.
//
// Source: conjureMac in pkg/proxy/winkernel/proxier.go, which is the same in Kubernetes 1.31, 1.34 and 1.37.
func RemoteMAC(addr netip.Addr) hns.MAC {
	if addr.Is4() {
		b := addr.As4()
		return hns.MAC{0x02, 0x11, b[0], b[1], b[2], b[3]}
	}
	b := addr.As16()
	return hns.MAC{0x02, 0x11, b[15], b[14], b[13], b[12]}
}

// Owns reports whether kube-proxy created the endpoint: it is remote, has exactly one address as kube-proxy's endpoints
// do, and has kube-proxy's hardware address for it.
func Owns(e hns.Endpoint) bool {
	return e.Remote() && len(e.Addresses) == 1 && e.MAC == RemoteMAC(e.Addresses[0])
}
