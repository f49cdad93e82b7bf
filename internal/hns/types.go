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

// EndpointID identifies one endpoint: a GUID in lower case without braces. HNS never reuses the ID of an endpoint.
type EndpointID string

// NetworkID identifies one network: a GUID in lower case without braces. A recreated network has another ID.
type NetworkID string

// NamespaceID identifies one network compartment, to which endpoints are attached: a GUID in lower case without braces.
// The empty ID means none.
type NamespaceID string

// LoadBalancerID identifies one load balancer: a GUID in lower case without braces.
type LoadBalancerID string

// id is the constraint of all IDs.
type id interface {
	EndpointID | NetworkID | NamespaceID | LoadBalancerID
}

// ParseID parses a GUID in any of the spellings that HNS and its tools print: either case, with or without braces.
func ParseID[T id](s string) (T, error) {
	u, err := uuid.Parse(s)
	if err != nil {
		return "", fmt.Errorf("parsing %q as a GUID: %w", s, err)
	}
	return T(u.String()), nil
}

// ParseOptionalID is ParseID for a field in which the empty string and the zero GUID mean "none"; for these it returns
// the empty ID.
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

// MAC is a 48-bit hardware address. The zero value means that it is unknown.
type MAC [6]byte

// ParseMAC parses a hardware address with dashes (as HNS prints it) or colons. The empty string is the zero MAC.
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

// String formats the address as HNS does, with dashes: "02-11-0a-f0-00-0b".
func (m MAC) String() string {
	return fmt.Sprintf("%02x-%02x-%02x-%02x-%02x-%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// MarshalText makes a MAC readable in JSON and YAML.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// ParseAddr parses an IP address and normalizes it for comparison: it unmaps an IPv4-mapped address and drops a zone.
func ParseAddr(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("parsing IP address: %w", err)
	}
	return addr.Unmap().WithZone(""), nil
}

// EndpointFlags are the bits of an HCN endpoint's Flags field. Only the bit that this program uses is named. The others
// (2 DisableICC, 4 EnableMirroring, 8 EnableLowInterfaceMetric, 16 OverrideDNSServerOrder, 32 EnableDhcp) may be set on
// any endpoint, so a flag must be tested by its bit, never by equality.
type EndpointFlags uint32

// FlagRemote marks an endpoint that represents an address on another host.
const FlagRemote EndpointFlags = 1

// Endpoint is one HNS endpoint.
//
// ID, Network, Addresses, MAC and Flags are its identity and never change. Attachment does.
type Endpoint struct {
	ID EndpointID
	// Name is the name that its creator chose. It proves nothing: kube-proxy's endpoints have none, and HNS then shows
	// "Ethernet", which endpoints of other creators have too.
	Name    string
	Network NetworkID
	// Namespace is the compartment that the endpoint is attached to, or empty.
	Namespace NamespaceID
	// Addresses has at most one entry per IP family in practice, but HNS does not guarantee this. It may be empty.
	Addresses []netip.Addr
	MAC       MAC
	Flags     EndpointFlags
	// SharedContainers is the number of containers that HNS lists as users of the endpoint. Endpoints created through the
	// older V1 interface are attached to containers in this way and have no namespace.
	SharedContainers int
	// Untranslated says which properties of the endpoint could not be translated; it is usually empty. Values that the
	// fields above lack may exist: nothing may be concluded from their absence.
	Untranslated string
}

// Remote reports whether the endpoint represents an address on another host.
func (e Endpoint) Remote() bool { return e.Flags&FlagRemote != 0 }

// Attached reports whether a container uses the endpoint. A CNI that forgets to delete a local endpoint leaves it
// behind unattached.
func (e Endpoint) Attached() bool { return e.Namespace != "" || e.SharedContainers > 0 }

// Has reports whether the endpoint has the address.
func (e Endpoint) Has(addr netip.Addr) bool { return slices.Contains(e.Addresses, addr) }

// SameIdentity reports whether both values describe the same endpoint. It ignores attachment and name.
func (e Endpoint) SameIdentity(other Endpoint) bool {
	return e.ID == other.ID && e.Network == other.Network && e.MAC == other.MAC && e.Flags == other.Flags &&
		slices.Equal(e.Addresses, other.Addresses)
}

// Equal reports whether both values describe the same endpoint in the same state.
func (e Endpoint) Equal(other Endpoint) bool {
	return e.SameIdentity(other) && e.Name == other.Name && e.Namespace == other.Namespace &&
		e.SharedContainers == other.SharedContainers && e.Untranslated == other.Untranslated
}

// NetworkType is the kind of an HNS network, spelt as HCN does.
type NetworkType string

// The network types that hnsguard knows.
const (
	NetworkL2Bridge    NetworkType = "L2Bridge"
	NetworkL2Tunnel    NetworkType = "L2Tunnel"
	NetworkOverlay     NetworkType = "Overlay"
	NetworkNAT         NetworkType = "NAT"
	NetworkTransparent NetworkType = "Transparent"
	NetworkICS         NetworkType = "ICS"
)

// ParseNetworkType parses a network type, ignoring case: HNS returns what the network's creator wrote, and some CNIs
// write "l2bridge". It returns an unknown type unchanged.
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

// LoadBalancer is one HNS load balancer, such as kube-proxy creates for Services.
type LoadBalancer struct {
	ID LoadBalancerID
	// Endpoints are the backends. HNS keeps an ID here after its endpoint is gone.
	Endpoints []EndpointID
	// FrontendVIPs are the addresses that clients use; it is empty for a node port.
	FrontendVIPs []netip.Addr
	Ports        []PortMapping
}

// Refers reports whether the endpoint is a backend of the load balancer.
func (lb LoadBalancer) Refers(id EndpointID) bool { return slices.Contains(lb.Endpoints, id) }
