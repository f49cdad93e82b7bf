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

// The bounds on reviews for tokens that have not been accepted before. A scraper needs one such review when its token
// is rotated, which is once an hour or less often, so that these bounds are far above honest use.
const (
	// UnknownRate is how many such reviews are made per second, for all clients together.
	UnknownRate = 1
	// UnknownBurst is how many may be made at once after a quiet time.
	UnknownBurst = 10
	// UnknownConcurrency is how many may be in flight.
	UnknownConcurrency = 4

	// sourceRate and sourceBurst are the same per source address: one host cannot use up what is there for all.
	sourceRate  = 0.2
	sourceBurst = 5
	// maxSources bounds the memory that is spent on addresses; the least recently seen is forgotten.
	maxSources = 1024
	// sourceTTL is when an idle source has its whole burst again, and need not be remembered.
	sourceTTL = time.Minute
)

// source is where a request comes from. In IPv6 it is the /64, because a host can use any address in it.
type source = netip.Prefix

// sourceOf reads the address of a client. What is no address (a test's pipe) is one source for all.
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

// budget bounds the reviews for unknown tokens.
type budget struct {
	clock clock.PassiveClock
	total *rate.Limiter
	slots chan struct{}

	mu      sync.Mutex // for get-or-create
	sources *cache.LRUExpireCache
}

func newBudget(c clock.PassiveClock) *budget {
	return &budget{
		clock:   c,
		total:   rate.NewLimiter(UnknownRate, UnknownBurst),
		slots:   make(chan struct{}, UnknownConcurrency),
		sources: cache.NewLRUExpireCacheWithClock(maxSources, c),
	}
}

// take claims one review for a source. If there is none to be had, it reports false and claims nothing.
func (b *budget) take(from source) (release func(), ok bool) {
	select {
	case b.slots <- struct{}{}:
	default:
		return nil, false
	}
	// The source first: what one source is refused must not be taken from the others.
	now := b.clock.Now()
	if !b.limiter(from).AllowN(now, 1) || !b.total.AllowN(now, 1) {
		<-b.slots
		return nil, false
	}
	return func() { <-b.slots }, true
}

func (b *budget) limiter(from source) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	limiter, known := b.sources.Get(from)
	if !known {
		limiter = rate.NewLimiter(sourceRate, sourceBurst)
	}
	b.sources.Add(from, limiter, sourceTTL)
	return limiter.(*rate.Limiter) //nolint:forcetypeassert // nothing else is added
}
