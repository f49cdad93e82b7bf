// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// NetworkName is the name of the network that a run creates, and the prefix of its endpoints' names.
const NetworkName = "hnsguard-verify"

// Subnet returns the subnet of the network that a run creates: a range for benchmarks, which no node should use (RFC
// 2544).
func Subnet() netip.Prefix { return netip.MustParsePrefix("198.18.0.0/16") }

// frontends returns the range of all frontends, which is for documentation (RFC 5737). Flushes use another one.
func frontends() netip.Prefix { return netip.MustParsePrefix("203.0.113.0/24") }

// namespaceMark is the prefix of the IDs of namespaces: "hnsguard" in ASCII.
const namespaceMark = "686e7367-7561-7264-"

func newNamespaceID() hns.NamespaceID {
	return hns.NamespaceID(namespaceMark + uuid.NewString()[len(namespaceMark):])
}

// macMark returns the prefix of the hardware addresses of remote endpoints: locally administered, then "hns".
func macMark() []byte { return []byte{0x02, 'h', 'n', 's'} }

func markedMAC(n uint16) hns.MAC {
	return hns.MAC(append(macMark(), byte(n>>8), byte(n)))
}

func markedEndpoint(e hns.Endpoint) bool {
	return strings.HasPrefix(e.Name, NetworkName) || slices.Equal(e.MAC[:len(macMark())], macMark())
}

func markedBalancer(lb hns.LoadBalancer) bool {
	return len(lb.FrontendVIPs) > 0 && !slices.ContainsFunc(lb.FrontendVIPs, func(vip netip.Addr) bool {
		return !frontends().Contains(vip)
	})
}

// Clean deletes everything that is marked, including that of earlier runs, and returns what it deleted (invariant 2).
// The error has what could not be deleted.
func Clean(ctx context.Context, s Service) (deleted []string, err error) {
	var errs []error
	remove := func(what string, err error) {
		if err == nil {
			deleted = append(deleted, what)
		} else if !errors.Is(err, hns.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	// Objects are deleted in the order of their references.
	balancers, err := s.LoadBalancers(ctx)
	errs = append(errs, err)
	for _, lb := range balancers {
		if markedBalancer(lb) {
			remove("load balancer "+string(lb.ID), s.DeleteLoadBalancer(ctx, lb.ID))
		}
	}
	endpoints, err := hns.ReadEndpoints(ctx, s)
	errs = append(errs, err)
	for _, e := range endpoints {
		if markedEndpoint(e) {
			remove("endpoint "+string(e.ID), s.DeleteEndpoint(ctx, e.ID))
		}
	}
	namespaces, err := s.Namespaces(ctx)
	errs = append(errs, err)
	for _, id := range namespaces {
		if strings.HasPrefix(string(id), namespaceMark) {
			remove("namespace "+string(id), s.DeleteNamespace(ctx, id))
		}
	}
	networks, err := s.Networks(ctx)
	errs = append(errs, err)
	for _, n := range networks {
		if n.Name == NetworkName {
			remove("network "+string(n.ID), s.DeleteNetwork(ctx, n.ID))
		}
	}
	return deleted, errors.Join(errs...)
}

// Unused returns an error if the network has objects that no run has created.
func Unused(ctx context.Context, s hns.Client, n hns.Network) error {
	endpoints, err := hns.ReadEndpoints(ctx, s)
	if err != nil {
		return err
	}
	endpoints = slices.DeleteFunc(endpoints, func(e hns.Endpoint) bool { return e.Network != n.ID || markedEndpoint(e) })
	if len(endpoints) > 0 {
		return fmt.Errorf("network %q is in use: it has %d endpoints, such as %s %v; name a spare one",
			n.Name, len(endpoints), endpoints[0].ID, endpoints[0].Addresses)
	}
	return nil
}
