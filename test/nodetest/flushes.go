// SPDX-License-Identifier: Apache-2.0

package nodetest

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// Follower does what kube-proxy does when a flush slice moves: it creates the remote endpoint of the new address, and
// deletes that of the old one. Without it a hold never ends, because nothing shows that it may.
type Follower struct {
	Server client.Reader
	// Namespace is the namespace of the flush slices.
	Namespace string
	HNS       *hnstest.HNS
	Network   hns.NetworkID
}

// Run follows the slices, once for each tick, until the context ends.
func (f Follower) Run(ctx context.Context, ticks <-chan time.Time) error {
	made := map[discoveryv1.AddressType]hns.Endpoint{}
	for ctx.Err() == nil {
		<-ticks
		for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
			addr, former := f.address(ctx, family), made[family]
			if !addr.IsValid() || former.Has(addr) {
				continue
			}
			now, err := f.HNS.CreateEndpoint(hnstest.EndpointSpec{
				Network: f.Network, Addresses: []netip.Addr{addr}, MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote,
			})
			if err == nil && former.ID != "" {
				err = f.HNS.DeleteEndpoint(context.WithoutCancel(ctx), former.ID)
			}
			if err != nil {
				return fmt.Errorf("following the flush slice to %s: %w", addr, err)
			}
			made[family] = now
		}
	}
	return nil
}

// address returns the address of a slice; the zero address if there is none, or no slice yet.
func (f Follower) address(ctx context.Context, family discoveryv1.AddressType) netip.Addr {
	var s discoveryv1.EndpointSlice
	key := client.ObjectKey{Namespace: f.Namespace, Name: stalerecord.SliceName(family)}
	if f.Server.Get(ctx, key, &s) != nil || len(s.Endpoints) == 0 {
		return netip.Addr{}
	}
	addr, _ := netip.ParseAddr(s.Endpoints[0].Addresses[0])
	return addr
}
