// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"context"
	"net/netip"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Service is an HNS that can be written to, as a CNI and kube-proxy do on a node. Errors of HNS have its code as text,
// such as "(0x803b002f)".
type Service interface {
	hns.Client
	CreateNetwork(ctx context.Context, name string, kind hns.NetworkType, subnet netip.Prefix) (hns.Network, error)
	DeleteNetwork(ctx context.Context, id hns.NetworkID) error
	// CreateEndpoint makes an endpoint; HNS chooses its ID, and the hardware address if none is given.
	CreateEndpoint(ctx context.Context, on hns.Network, spec EndpointSpec) (hns.EndpointID, error)
	// CreateNamespace asks for a namespace with the ID, and returns the one that HNS has made.
	CreateNamespace(ctx context.Context, id hns.NamespaceID) (hns.NamespaceID, error)
	Namespaces(ctx context.Context) ([]hns.NamespaceID, error)
	DeleteNamespace(ctx context.Context, id hns.NamespaceID) error
	// Attach puts an endpoint into a namespace.
	Attach(ctx context.Context, endpoint hns.EndpointID, namespace hns.NamespaceID) error
	// CreateLoadBalancer makes a load balancer; HNS chooses its ID.
	CreateLoadBalancer(ctx context.Context, spec hns.LoadBalancer) (hns.LoadBalancerID, error)
	UpdateLoadBalancer(ctx context.Context, spec hns.LoadBalancer) error
	DeleteLoadBalancer(ctx context.Context, id hns.LoadBalancerID) error
}

// EndpointSpec says what endpoint to make.
type EndpointSpec struct {
	Name    string
	Address netip.Addr
	MAC     hns.MAC
	Remote  bool
}
