// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"context"
	"net/netip"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Service is an HNS that can be written to, like a CNI and kube-proxy do on a node. Its errors have HNS's code as text,
// such as "(0x803b002f)".
type Service interface {
	hns.Client
	CreateNetwork(ctx context.Context, name string, kind hns.NetworkType, subnet netip.Prefix) (hns.Network, error)
	DeleteNetwork(ctx context.Context, id hns.NetworkID) error
	// CreateEndpoint creates an endpoint; HNS chooses its ID, and the hardware address if none is given.
	CreateEndpoint(ctx context.Context, on hns.Network, spec EndpointSpec) (hns.EndpointID, error)
	// CreateNamespace requests a namespace with the ID, and returns the ID of the one that HNS has created.
	CreateNamespace(ctx context.Context, id hns.NamespaceID) (hns.NamespaceID, error)
	Namespaces(ctx context.Context) ([]hns.NamespaceID, error)
	DeleteNamespace(ctx context.Context, id hns.NamespaceID) error
	// Attach attaches an endpoint to a namespace.
	Attach(ctx context.Context, endpoint hns.EndpointID, namespace hns.NamespaceID) error
	// CreateLoadBalancer creates a load balancer; HNS chooses its ID.
	CreateLoadBalancer(ctx context.Context, spec hns.LoadBalancer) (hns.LoadBalancerID, error)
	UpdateLoadBalancer(ctx context.Context, spec hns.LoadBalancer) error
	DeleteLoadBalancer(ctx context.Context, id hns.LoadBalancerID) error
}

// EndpointSpec describes an endpoint to create.
type EndpointSpec struct {
	Name    string
	Address netip.Addr
	MAC     hns.MAC
	Remote  bool
}
