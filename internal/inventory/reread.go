// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"context"
	"hash/fnv"
	"math"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// remoteRest is the longest time after which a remote endpoint that is not new is read again. With 5,000 of them, that
// is about one read per minute.
const remoteRest = 7 * 24 * time.Hour

// soonAttached is the time after which a new local endpoint that is not attached yet is read again.
const soonAttached = time.Second

// entry is an endpoint as last read.
type entry struct {
	verdict.Endpoint
	// due is when it must be read again.
	due time.Time
}

// remember stores an endpoint that was read, and schedules its next read.
//
// No property of a remote endpoint that decisions need changes during its life, and it is read again before it is
// deleted. Other reads only detect an endpoint that was read half created, or an HNS that differs from this inventory.
// So a remote endpoint that has appeared since the first snapshot is read again soon, and every other one rarely. The
// attachment of a local endpoint does change, so it is read again often. The interval for an unattached one grows with
// its age, because a CNI attaches an endpoint within seconds.
func (i *Inventory) remember(before verdict.Endpoint, read hns.Endpoint, now time.Time) {
	e, rest := entry{Endpoint: before}, i.opts.RereadEvery
	if !read.Remote() && !read.Attached() {
		rest = min(rest, max(now.Sub(before.Seen), soonAttached))
	}
	complete := !i.started && before.ID == "" || read.Equal(before.Endpoint)
	if complete && read.Remote() {
		rest = max(remoteRest, i.opts.RereadEvery)
	}
	e.Endpoint.Endpoint = read
	e.due = now.Add(e.wait(rest))
	i.known[read.ID] = e
}

// wait returns the time until an endpoint is read again: for a remote one, between half and all of the rest. Its ID
// decides where in between, so that endpoints that were first read together are spread out afterwards.
func (e *entry) wait(rest time.Duration) time.Duration {
	if !e.Remote() {
		return rest
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(e.ID)) // it never fails
	return rest/2 + time.Duration(float64(rest/2)*float64(sum.Sum32())/math.MaxUint32)
}

// rereadSoon schedules all endpoints to be read again within RereadEvery, because HNS has failed or has changed.
func (i *Inventory) rereadSoon(now time.Time) {
	for id, e := range i.known {
		if latest := now.Add(e.wait(i.opts.RereadEvery)); e.due.After(latest) {
			e.due = latest
			i.known[id] = e
		}
	}
}

// minReread is the minimum number of due endpoints that are read again with each snapshot.
const minReread = 10

// refreshOldest reads some of the due endpoints again, in proportion to the time since the last snapshot: all of them
// within RereadEvery. So no waiting pod has to wait for thousands of reads.
func (i *Inventory) refreshOldest(ctx context.Context, now time.Time) error {
	budget := minReread
	if i.last != nil {
		share := float64(now.Sub(i.last.Taken)) / float64(i.opts.RereadEvery)
		budget = max(minReread, int(share*float64(len(i.known))))
	}
	for id, e := range i.known {
		if now.Before(e.due) {
			continue
		}
		if budget == 0 {
			return nil
		}
		if err := i.read(ctx, id, e.Endpoint, now); err != nil {
			return err
		}
		budget--
	}
	return nil
}
