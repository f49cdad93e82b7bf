// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"net/netip"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/verdict"
)

// duplicates are the addresses that several endpoints had in the last pass. The zero value is of a pass that saw none.
type duplicates struct {
	// endpoints are those that were looked at: a snapshot that shares them has the same duplicates.
	endpoints []verdict.Endpoint
	seen      map[netip.Addr]sighting
}

// sighting is since when an address has been a duplicate.
type sighting struct {
	verdict.Duplicate
	since    time.Time
	reported bool
}

// update compares a snapshot with the one before, and returns the duplicates that are new.
func (d *duplicates) update(s verdict.Snapshot, now time.Time) (news []verdict.Duplicate) {
	if len(s.Endpoints) == len(d.endpoints) && (len(s.Endpoints) == 0 || &s.Endpoints[0] == &d.endpoints[0]) {
		return nil
	}
	next := map[netip.Addr]sighting{}
	for _, found := range s.Duplicates() {
		before, known := d.seen[found.Address]
		if !known || before.Kind() != found.Kind() {
			before = sighting{since: now}
			news = append(news, found)
		}
		before.Duplicate = found
		next[found.Address] = before
	}
	d.endpoints, d.seen = s.Endpoints, next
	return news
}

// lasting returns the local endpoints that have shared an address for a while, each pair once. A pod that replaces
// another one may have its address while the old endpoint is being deleted.
func (d *duplicates) lasting(now time.Time) (all []verdict.Duplicate) {
	for addr, s := range d.seen {
		if s.Kind() == verdict.LocalAndLocal && !s.reported && now.Sub(s.since) >= leakedAfter {
			s.reported = true
			d.seen[addr] = s
			all = append(all, s.Duplicate)
		}
	}
	return all
}

// duplicated reports the addresses that several endpoints have. The ones that are removed are known by their verdicts;
// of two local endpoints, hnsguard removes neither.
func (r *recorder) duplicated(ctx context.Context, s verdict.Snapshot, node string, now time.Time) {
	for _, d := range r.duplicates.update(s, now) {
		logf.FromContext(ctx).Info("Several endpoints have the same address",
			"ip", d.Address.String(), "kind", d.Kind(), "localEndpointIDs", d.Locals, "remoteEndpointIDs", d.Remotes)
	}
	count := map[verdict.DuplicateKind]int{}
	for _, s := range r.duplicates.seen {
		count[s.Kind()]++
	}
	for _, kind := range verdict.DuplicateKinds() {
		r.metrics.duplicates.WithLabelValues(string(kind)).Set(float64(count[kind]))
	}
	for _, d := range r.duplicates.lasting(now) {
		r.eventOnNode(node, EventDuplicate, r.words.Duplicate(d))
	}
}
