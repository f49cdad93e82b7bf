// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// BalancerKind is the closed set of verdicts on load balancers.
type BalancerKind string

// The kinds.
const (
	// BalancerDangling: it names an endpoint that is gone.
	BalancerDangling BalancerKind = "dangling"
	// BalancerMissing: kube-proxy has to program a frontend of a Service, and no load balancer has it.
	BalancerMissing BalancerKind = "missing"
	// BalancerStale: kube-proxy no longer uses one of its backends for the Service, or uses an endpoint that is not one.
	BalancerStale BalancerKind = "stale"
	// BalancerOnLeakedLocal: a backend is a local endpoint that was left behind, and another node has its address.
	BalancerOnLeakedLocal BalancerKind = "on_leaked_local"
	// BalancerUnknown: the evidence does not suffice, or kube-proxy may not have processed the Service's last change.
	BalancerUnknown BalancerKind = "unknown"
	// BalancerForeign: no Service that kube-proxy programs has its frontend.
	BalancerForeign BalancerKind = "foreign"
	// BalancerRight: its backends are those that kube-proxy has to program.
	BalancerRight BalancerKind = "right"
)

// BalancerKinds lists every kind, the most urgent first.
func BalancerKinds() []BalancerKind {
	return []BalancerKind{
		BalancerDangling, BalancerMissing, BalancerStale, BalancerOnLeakedLocal, BalancerUnknown, BalancerForeign,
		BalancerRight,
	}
}

// Broken reports whether some or all connections to the load balancer are lost.
func (k BalancerKind) Broken() bool {
	return k == BalancerDangling || k == BalancerMissing || k == BalancerStale || k == BalancerOnLeakedLocal
}

// The IP protocols of load balancers.
const (
	ProtocolTCP = 6
	ProtocolUDP = 17
)

// Frontend is the address and port of a Service that clients connect to.
type Frontend struct {
	// VIP is the unspecified address of a family for a node port.
	VIP netip.Addr
	// Protocol is the IP protocol number.
	Protocol uint32
	Port     uint16
}

// String formats the frontend for users: "10.0.0.7:80/TCP".
func (f Frontend) String() string {
	protocol := fmt.Sprint(f.Protocol)
	switch f.Protocol {
	case ProtocolTCP:
		protocol = "TCP"
	case ProtocolUDP:
		protocol = "UDP"
	}
	switch {
	case !f.VIP.IsValid():
		return "-"
	case f.VIP.IsUnspecified():
		return fmt.Sprintf("node port %d/%s", f.Port, protocol)
	default:
		return netip.AddrPortFrom(f.VIP, f.Port).String() + "/" + protocol
	}
}

func (f Frontend) compare(other Frontend) int {
	return cmp.Or(f.VIP.Compare(other.VIP), cmp.Compare(f.Protocol, other.Protocol), cmp.Compare(f.Port, other.Port))
}

// Balancer is the verdict on one load balancer, or on a frontend that lacks one.
type Balancer struct {
	Kind BalancerKind
	// ID is empty if the load balancer is missing.
	ID       hns.LoadBalancerID
	Frontend Frontend
	// Service has the frontend. It is zero if no known Service has it.
	Service types.NamespacedName
	// Gone are the backends that are no longer in HNS.
	Gone []hns.EndpointID
	// Dead are the addresses of backends that kube-proxy does not use. Lacking are those that it uses and that are no
	// backends: for a missing load balancer, all of them.
	Dead, Lacking []netip.Addr
	// BesideLeak is set if a local endpoint that was left behind has an address of the Service.
	BesideLeak bool
}

// SameAs reports whether both are the same finding: a finding counts when two consecutive readings have it.
func (b Balancer) SameAs(other Balancer) bool {
	return b.Kind == other.Kind && b.ID == other.ID && b.Frontend == other.Frontend && b.Service == other.Service &&
		slices.Equal(b.Gone, other.Gone) && slices.Equal(b.Dead, other.Dead) && slices.Equal(b.Lacking, other.Lacking)
}

// Compare orders kinds: the most urgent come first.
func (k BalancerKind) Compare(other BalancerKind) int {
	return cmp.Compare(slices.Index(BalancerKinds(), k), slices.Index(BalancerKinds(), other))
}

// Compare orders verdicts: the most urgent come first.
func (b Balancer) Compare(other Balancer) int {
	return cmp.Or(b.Kind.Compare(other.Kind),
		strings.Compare(b.Service.Namespace, other.Service.Namespace), strings.Compare(b.Service.Name, other.Service.Name),
		b.Frontend.compare(other.Frontend), cmp.Compare(b.ID, other.ID))
}
