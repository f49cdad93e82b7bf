// SPDX-License-Identifier: Apache-2.0

package hns

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// EndpointID names one endpoint: a GUID in lower case without braces. HNS never gives one ID to two endpoints.
type EndpointID string

// NetworkID names one network: a GUID in lower case without braces. A network that is made again gets another ID.
type NetworkID string

// NamespaceID names one network compartment, which is what an endpoint is attached to: a GUID in lower case without
// braces. The empty ID means none.
type NamespaceID string

// LoadBalancerID names one load balancer: a GUID in lower case without braces.
type LoadBalancerID string

// id is the set of the named GUIDs above.
type id interface {
	EndpointID | NetworkID | NamespaceID | LoadBalancerID
}

// ParseID reads a GUID in any of the spellings that HNS and its tools print: either case, with or without braces.
func ParseID[T id](s string) (T, error) {
	u, err := uuid.Parse(s)
	if err != nil {
		return "", fmt.Errorf("parsing %q as a GUID: %w", s, err)
	}
	return T(u.String()), nil
}

// ParseOptionalID is ParseID for a field in which both the empty string and the zero GUID mean "none"; for these it
// returns the empty ID.
func ParseOptionalID[T id](s string) (T, error) {
	if s == "" {
		return "", nil
	}
	parsed, err := ParseID[T](s)
	if err != nil || string(parsed) == uuid.Nil.String() {
		return "", err
	}
	return parsed, nil
}

// MAC is a 48-bit hardware address. The zero value means that none is known.
type MAC [6]byte

// ParseMAC reads a hardware address with dashes (as HNS prints it) or colons. The empty string is the zero MAC.
func ParseMAC(s string) (MAC, error) {
	if s == "" {
		return MAC{}, nil
	}
	hw, err := net.ParseMAC(s)
	if err != nil {
		return MAC{}, fmt.Errorf("parsing hardware address: %w", err)
	}
	if len(hw) != len(MAC{}) {
		return MAC{}, fmt.Errorf("parsing hardware address %q: want 6 bytes, got %d", s, len(hw))
	}
	return MAC(hw), nil
}

// String spells the address as HNS does, with dashes: "02-11-0a-f0-00-0b".
func (m MAC) String() string {
	return fmt.Sprintf("%02x-%02x-%02x-%02x-%02x-%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// MarshalText makes a MAC readable in JSON and YAML.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// ParseAddr reads an IP address and puts it into the one form that this program compares: a mapped IPv4 address becomes
// plain IPv4, and a zone is dropped.
func ParseAddr(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("parsing IP address: %w", err)
	}
	return addr.Unmap().WithZone(""), nil
}

// EndpointFlags are the bits of an HCN endpoint's Flags field. Only the bit that this program acts on is named; the
// others (2 DisableICC, 4 EnableMirroring, 8 EnableLowInterfaceMetric, 16 OverrideDNSServerOrder, 32 EnableDhcp) may be
// set on any endpoint, which is why a flag is tested by its bit and never by equality.
type EndpointFlags uint32

// FlagRemote marks an endpoint that stands for an address on another host.
const FlagRemote EndpointFlags = 1

// Endpoint is one HNS endpoint.
//
// ID, Network, Addresses, MAC and Flags are its identity and do not change during its life. Attachment does.
type Endpoint struct {
	ID EndpointID
	// Name is what its creator called it. It proves nothing: kube-proxy's endpoints have none and HNS then shows
	// "Ethernet", which endpoints of other creators bear too.
	Name    string
	Network NetworkID
	// Namespace is the compartment that the endpoint is attached to, or empty.
	Namespace NamespaceID
	// Addresses has no more than one entry per IP family in practice, but HNS does not promise it. It may be empty.
	Addresses []netip.Addr
	MAC       MAC
	Flags     EndpointFlags
	// SharedContainers counts the containers that HNS lists as users of the endpoint. Endpoints made through the older
	// V1 interface are attached to containers in this way and have no namespace.
	SharedContainers int
	// Untranslated says what HNS reports of the endpoint that could not be translated; it is empty for all but odd ones.
	// What is missing in the fields above may exist: no conclusion may be drawn from its absence.
	Untranslated string
}

// Remote reports whether the endpoint stands for an address on another host.
func (e Endpoint) Remote() bool { return e.Flags&FlagRemote != 0 }

// Attached reports whether a container uses the endpoint. A local endpoint that nothing uses is what a CNI leaves
// behind when it forgets one.
func (e Endpoint) Attached() bool { return e.Namespace != "" || e.SharedContainers > 0 }

// Has reports whether the endpoint bears the address.
func (e Endpoint) Has(addr netip.Addr) bool { return slices.Contains(e.Addresses, addr) }

// SameIdentity reports whether both values describe one and the same endpoint. Attachment and name are not compared.
func (e Endpoint) SameIdentity(other Endpoint) bool {
	return e.ID == other.ID && e.Network == other.Network && e.MAC == other.MAC && e.Flags == other.Flags &&
		slices.Equal(e.Addresses, other.Addresses)
}

// Equal reports whether both values are the same endpoint in the same state.
func (e Endpoint) Equal(other Endpoint) bool {
	return e.SameIdentity(other) && e.Name == other.Name && e.Namespace == other.Namespace &&
		e.SharedContainers == other.SharedContainers && e.Untranslated == other.Untranslated
}

// NetworkType is the kind of an HNS network, spelt as HCN does.
type NetworkType string

// The network types that this program tells apart.
const (
	NetworkL2Bridge    NetworkType = "L2Bridge"
	NetworkL2Tunnel    NetworkType = "L2Tunnel"
	NetworkOverlay     NetworkType = "Overlay"
	NetworkNAT         NetworkType = "NAT"
	NetworkTransparent NetworkType = "Transparent"
	NetworkICS         NetworkType = "ICS"
)

// ParseNetworkType reads a network type in any case: HNS answers with what the network's creator wrote, and some CNIs
// write "l2bridge". A type that is not known stays as it is.
func ParseNetworkType(s string) NetworkType {
	for _, known := range []NetworkType{
		NetworkL2Bridge, NetworkL2Tunnel, NetworkOverlay, NetworkNAT, NetworkTransparent, NetworkICS,
	} {
		if strings.EqualFold(s, string(known)) {
			return known
		}
	}
	return NetworkType(s)
}

// Network is one HNS network.
type Network struct {
	ID   NetworkID
	Name string
	Type NetworkType
	// Subnets are the address ranges of the network; it may have none.
	Subnets []netip.Prefix
}

// PortMapping is one port of a load balancer.
type PortMapping struct {
	// Protocol is the IP protocol number: 6 TCP, 17 UDP.
	Protocol     uint32
	InternalPort uint16
	ExternalPort uint16
}

// LoadBalancer is one HNS load balancer, as kube-proxy creates them for Services.
type LoadBalancer struct {
	ID LoadBalancerID
	// Endpoints are the backends. HNS keeps an ID here after the endpoint itself is gone.
	Endpoints []EndpointID
	// FrontendVIPs are the addresses that clients use; it is empty for a node port.
	FrontendVIPs []netip.Addr
	Ports        []PortMapping
}

// Refers reports whether the endpoint is a backend of the load balancer.
func (lb LoadBalancer) Refers(id EndpointID) bool { return slices.Contains(lb.Endpoints, id) }
