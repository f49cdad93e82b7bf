// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// HNS reads load balancers.
type HNS interface {
	LoadBalancers(ctx context.Context) ([]hns.LoadBalancer, error)
}

// ReaderOptions configure a reader.
type ReaderOptions struct {
	// HNS lists the load balancers. Required.
	HNS HNS
	// Syncs counts the complete syncs that kube-proxy has finished since it started. It fails if the count is unknown.
	// Required.
	Syncs func(ctx context.Context) (uint64, error)
	// Revision returns the present revision of the index of Services and EndpointSlices. Required.
	Revision func() uint64
	// WatchLag is how far kube-proxy's watch, whose progress is not visible, may be behind the API server. Required.
	WatchLag time.Duration
	// Clock is the source of time. Required.
	Clock clock.PassiveClock
}

// Reader reads load balancers. It is a [pass.Action] that requests readings, and a
// [sigs.k8s.io/controller-runtime/pkg/manager.Runnable] that performs them. It is safe for concurrent use.
type Reader struct {
	opts     ReaderOptions
	requests chan struct{}
	progress progress

	mu   sync.Mutex
	last Reading
	// next is the earliest, due the latest time of the next reading.
	next, due time.Time
}

// Reading is the result of one complete read.
type Reading struct {
	LoadBalancers []hns.LoadBalancer
	// Begun is when the reading began; it is zero before the first.
	Begun time.Time
	// Processed is the revision of the index that kube-proxy was certain to have processed by then.
	Processed uint64
}

var _ pass.Action = (*Reader)(nil)

// How often load balancers are read: every minute, because a broken one breaks a Service; more often while one is
// broken, or while a load balancer alone keeps an orphan; and as soon as possible when one first seems broken, or when
// an orphan depends on it.
const (
	every       = time.Minute
	brokenEvery = 10 * time.Second
	gap         = time.Second
	share       = 0.05
)

// NewReader returns a reader that has not read yet.
func NewReader(o ReaderOptions) *Reader {
	return &Reader{opts: o, requests: make(chan struct{}, 1), progress: progress{opts: o}}
}

// Reading returns the last successful reading.
func (r *Reader) Reading() Reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// ReadSoon brings the next reading forward: as soon as possible if a load balancer seems broken for the first time, and
// soon otherwise.
func (r *Reader) ReadSoon(first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	soon := r.next
	if !first {
		soon = soon.Add(brokenEvery)
	}
	r.due = pass.Earlier(r.due, soon)
}

// Last implements [github.com/hnsguard/hnsguard/internal/pass.LoadBalancers].
func (r *Reader) Last() ([]hns.LoadBalancer, time.Time, bool) {
	last := r.Reading()
	return last.LoadBalancers, last.Begun, !last.Begun.IsZero()
}

// ReadSince reports whether the reading that [Reader.Last] returns began at the moment or later. If not, it requests a
// new reading.
func (r *Reader) ReadSince(moment time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.Begun.IsZero() && !r.last.Begun.Before(moment) {
		return true
	}
	if !r.opts.Clock.Now().Before(r.next) {
		r.request()
	}
	return false
}

// Run implements [pass.Action]: it requests a reading if one is due, or if an orphan depends on nothing else.
func (r *Reader) Run(_ context.Context, pass pass.Pass) time.Duration {
	if wait := r.wait(pass); wait > 0 {
		return wait
	}
	r.request()
	return 0
}

func (r *Reader) request() {
	select {
	case r.requests <- struct{}{}:
	default: // one is pending
	}
}

// wait returns how long the next reading can wait.
func (r *Reader) wait(p pass.Pass) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.due
	for _, v := range p.Verdicts {
		switch {
		case v.Reason == verdict.ReasonLoadBalancersUnknown:
			at = r.next
		case v.Reason == verdict.ReasonReferenced && !p.Evidence.Now.Before(v.Due):
			at = pass.Earlier(at, r.next.Add(brokenEvery)) // only a load balancer keeps it
		}
	}
	return at.Sub(r.opts.Clock.Now())
}

// Start reads on request until the context ends.
func (r *Reader) Start(ctx context.Context) error {
	log := logf.FromContext(ctx).WithName("load-balancers")
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.requests:
			if err := r.Read(logf.IntoContext(ctx, log)); err != nil && ctx.Err() == nil {
				log.Error(err, "Cannot read load balancers; deferring orphan removal")
			}
			r.Requested() // drops requests from meanwhile: they do not know when the next reading may begin
		}
	}
}

// Requested reports whether a reading is pending, and drops the request. If [Reader.Start] does not run, the caller has
// to read.
func (r *Reader) Requested() bool {
	select {
	case <-r.requests:
		return true
	default:
		return false
	}
}

// Read reads all load balancers once.
func (r *Reader) Read(ctx context.Context) error {
	begun := r.opts.Clock.Now()
	processed := r.progress.update(ctx) // first: later syncs must not count
	read, err := r.read(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Clock.Now()
	r.next = now.Add(max(gap, time.Duration(float64(now.Sub(begun))/share)))
	r.due = now.Add(every)
	if err != nil {
		return fmt.Errorf("reading load balancers: %w", err)
	}
	r.last = Reading{LoadBalancers: read, Begun: begun, Processed: processed}
	return nil
}

// attempts is how often a list is tried if a load balancer vanishes while it is read.
const attempts = 3

func (r *Reader) read(ctx context.Context) (read []hns.LoadBalancer, err error) {
	for range attempts {
		if read, err = r.opts.HNS.LoadBalancers(ctx); !errors.Is(err, hns.ErrNotFound) {
			break
		}
	}
	return read, err
}
