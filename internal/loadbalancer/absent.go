// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Frontend is what clients connect to at a load balancer: an address of a Service, and one of its ports.
type Frontend struct {
	VIP netip.Addr
	// Protocol is the IP protocol number: 6 TCP, 17 UDP.
	Protocol uint32
	Port     uint16
}

// String names the frontend as people do: "10.0.0.7:80/TCP".
func (f Frontend) String() string {
	protocol := fmt.Sprint(f.Protocol)
	switch f.Protocol {
	case 6:
		protocol = "TCP"
	case 17:
		protocol = "UDP"
	}
	return netip.AddrPortFrom(f.VIP, f.Port).String() + "/" + protocol
}

func (f Frontend) compare(other Frontend) int {
	return cmp.Or(f.VIP.Compare(other.VIP), cmp.Compare(f.Protocol, other.Protocol), cmp.Compare(f.Port, other.Port))
}

// Absence is a frontend that no load balancer has any more (invariant 4). Whether one should have it, the API server
// knows.
type Absence struct {
	Frontend
	// Since is when the first reading without it began.
	Since time.Time
}

// maxAbsences bounds what is remembered of what is not there.
const maxAbsences = 1000

// frontends remembers which frontends there were.
type frontends struct {
	// seen are those of the last reading; true if they were in the one before too.
	seen map[Frontend]bool
	// absent are those that were seen twice in a row and are gone.
	absent map[Frontend]absence
}

type absence struct {
	since time.Time
	// again is set if more than one reading was without it.
	again bool
}

// compare adds a reading, and reports whether something is absent, and whether that is new.
func (f *frontends) compare(read []hns.LoadBalancer, begun time.Time) (some, news bool) {
	now := frontendsOf(read)
	for front, a := range f.absent {
		if has(now, front) {
			delete(f.absent, front)
			continue
		}
		f.absent[front] = absence{since: a.since, again: true}
	}
	for front := range now {
		now[front] = has(f.seen, front)
	}
	for front, steady := range f.seen {
		if !has(now, front) && steady && len(f.absent) < maxAbsences {
			f.absent[front], news = absence{since: begun}, true
		}
	}
	f.seen = now
	return len(f.absent) > 0, news
}

// frontendsOf returns the frontends of a reading. A load balancer for node ports has no address, and so none.
func frontendsOf(read []hns.LoadBalancer) map[Frontend]bool {
	fronts := make(map[Frontend]bool, len(read))
	for _, lb := range read {
		for _, vip := range lb.FrontendVIPs {
			for _, p := range lb.Ports {
				fronts[Frontend{VIP: vip, Protocol: p.Protocol, Port: p.ExternalPort}] = false
			}
		}
	}
	return fronts
}

func has[K comparable](in map[K]bool, key K) bool {
	_, has := in[key]
	return has
}

// Absent returns the frontends that are absent (invariant 4), the longest absent first, and when the last successful
// reading began.
func (r *Reader) Absent() ([]Absence, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Absence
	for front, a := range r.frontends.absent {
		if a.again {
			all = append(all, Absence{Frontend: front, Since: a.since})
		}
	}
	slices.SortFunc(all, func(a, b Absence) int {
		return cmp.Or(a.Since.Compare(b.Since), a.compare(b.Frontend))
	})
	return all, r.begun
}

// Forget forgets a frontend that is absent because it should be.
func (r *Reader) Forget(front Frontend) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.frontends.absent, front)
}
