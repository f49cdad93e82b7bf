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

// remoteRest is how long a remote endpoint that is not new is left alone at most. With 5,000 of them, one is read again
// in a minute.
const remoteRest = 7 * 24 * time.Hour

// soonAttached is after what time a local endpoint that was just made and not attached yet is read again.
const soonAttached = time.Second

// entry is an endpoint as it was last read.
type entry struct {
	verdict.Endpoint
	// due is when it has to be read again.
	due time.Time
}

// remember stores what was read of an endpoint, and decides when it is read again.
//
// Nothing that decisions need of a remote endpoint changes during its life, and it is read again before it is deleted.
// To read it again is to find out that it was read half made, or that HNS is not as this package believes. So one that
// has come since the first snapshot is read again soon, and all of them seldom. The attachment of a local endpoint does
// change, and so one is never left alone for long; one that is not attached is read again after as long as it has been
// there, because a CNI attaches within seconds what it makes.
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

// wait is after how much of a rest an endpoint is read again: between half and all of it for a remote one. Its ID says
// where in between, so that endpoints that were first read together are not read together each time.
func (e *entry) wait(rest time.Duration) time.Duration {
	if !e.Remote() {
		return rest
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(e.ID)) // it never fails
	return rest/2 + time.Duration(float64(rest/2)*float64(sum.Sum32())/math.MaxUint32)
}

// rereadSoon lets all endpoints be read again within RereadEvery: HNS has failed, or is not what it was.
func (i *Inventory) rereadSoon(now time.Time) {
	for id, e := range i.known {
		if latest := now.Add(e.wait(i.opts.RereadEvery)); e.due.After(latest) {
			e.due = latest
			i.known[id] = e
		}
	}
}

// minReread is how many endpoints are read afresh with each snapshot at least, if so many are due.
const minReread = 10

// refreshOldest reads some of the endpoints again whose time has come: as many as the share of RereadEvery that has
// passed since the last snapshot, so that thousands of them are not read at once, while a pod waits.
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
