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

// sharing is since when several local endpoints of the pod network have had an address.
type sharing struct {
	since    time.Time
	reported bool
}

// duplicated reports the addresses that several local endpoints have: hnsguard removes none of them. A pod that
// replaces another one may have its address while the old endpoint is being deleted, so that the Event comes later.
func (r *recorder) duplicated(ctx context.Context, node string, verdicts []verdict.Verdict, now time.Time) {
	holders := map[netip.Addr][]hns.EndpointID{}
	for i := range verdicts {
		if v := &verdicts[i]; !v.Endpoint.Remote() && v.Reason != verdict.ReasonOtherNetwork {
			for _, addr := range v.Endpoint.Addresses {
				if !slices.Contains(holders[addr], v.Endpoint.ID) { // one may list its address twice
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
