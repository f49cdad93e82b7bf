// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
)

// The limits on reviews of unknown tokens. A scraper needs one such review when its token is rotated, once an hour or
// less often, so honest clients stay far below these limits.
const (
	// UnknownRate is the number of such reviews per second, for all clients together.
	UnknownRate = 1
	// UnknownBurst is the number of such reviews that may start at once after a quiet time.
	UnknownBurst = 10

	// sourceRate and sourceBurst are the limits per source address: one host cannot use up the budget of others.
	sourceRate  = 0.2
	sourceBurst = 5
	// maxSources limits the memory for addresses. The budget forgets the least recently seen one.
	maxSources = 1024
	// sourceTTL is the time after which an idle source has its full burst again, and can be forgotten.
	sourceTTL = time.Minute
)

// source is the address of a client. In IPv6 it is the /64, because a host can use any address in it.
type source = netip.Prefix

// sourceOf parses the address of a client. All clients without an address (such as a test's pipe) are one source.
func sourceOf(remoteAddr string) source {
	client, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return source{}
	}
	addr, bits := client.Addr().Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(addr, bits).Masked()
}

// budget bounds the reviews of unknown tokens.
type budget struct {
	clock clock.PassiveClock

	mu      sync.Mutex // for get-or-create
	total   *rate.Limiter
	sources *cache.LRUExpireCache // source: *rate.Limiter
}

func newBudget(c clock.PassiveClock) *budget {
	return &budget{
		clock:   c,
		total:   rate.NewLimiter(UnknownRate, UnknownBurst),
		sources: cache.NewLRUExpireCacheWithClock(maxSources, c),
	}
}

// take claims one review for a source, and reports whether there was one. That of a client is its own: what others use
// up keeps no new token of a scraper out.
func (b *budget) take(from source, client bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	remembered, _ := b.sources.Get(from)
	limiter, is := remembered.(*rate.Limiter)
	if !is {
		limiter = rate.NewLimiter(sourceRate, sourceBurst)
	}
	b.sources.Add(from, limiter, sourceTTL)
	// The source first: what one source is refused must not be taken from the others.
	now := b.clock.Now()
	return limiter.AllowN(now, 1) && (client || b.total.AllowN(now, 1))
}
