// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"net/netip"
	"slices"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// sharing records since when several local endpoints of the pod network have had the same address.
type sharing struct {
	since    time.Time
	reported bool
}

// duplicated reports addresses that several local endpoints have: hnsguard removes none of these endpoints. The Event
// comes later, since a pod may get the address of another one while the old endpoint is still being deleted.
func (r *recorder) duplicated(ctx context.Context, node string, verdicts []verdict.Verdict, now time.Time) {
	holders := map[netip.Addr][]hns.EndpointID{}
	for i := range verdicts {
		if v := &verdicts[i]; !v.Endpoint.Remote() && v.Reason != verdict.ReasonOtherNetwork {
			for _, addr := range v.Endpoint.Addresses {
				if !slices.Contains(holders[addr], v.Endpoint.ID) { // an endpoint may list an address twice
					holders[addr] = append(holders[addr], v.Endpoint.ID)
				}
			}
		}
	}
	shared := map[netip.Addr]sharing{}
	for addr, endpoints := range holders {
		if len(endpoints) < 2 {
			continue
		}
		s, known := r.shared[addr]
		if !known {
			s.since = now
			logf.FromContext(ctx).Info("Several local endpoints have the same address",
				"ip", addr.String(), "endpointIDs", endpoints)
		}
		if !s.reported && now.Sub(s.since) >= leakedAfter {
			s.reported = true
			r.eventOnNode(node, EventDuplicate, r.words.Shared(addr, endpoints))
		}
		shared[addr] = s
	}
	r.shared = shared
}
