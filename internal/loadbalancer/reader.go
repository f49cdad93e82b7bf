// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/metrics"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// HNS is the part of HNS that is read.
type HNS interface {
	LoadBalancers(ctx context.Context) ([]hns.LoadBalancer, error)
	ListEndpointIDs(ctx context.Context) ([]hns.EndpointID, error)
}

// ReaderOptions configure a reader.
type ReaderOptions struct {
	// HNS is read. Required.
	HNS HNS
	// Registerer gets the metric. Required.
	Registerer prometheus.Registerer
	// Clock is the source of time. Required.
	Clock clock.PassiveClock
}

// Reader reads load balancers. It is an [pass.Action] that requests readings, and a
// [sigs.k8s.io/controller-runtime/pkg/manager.Runnable] that makes them. It is safe for concurrent use.
type Reader struct {
	opts     ReaderOptions
	requests chan struct{}
	gauge    prometheus.Gauge

	mu    sync.Mutex
	known bool
	last  []hns.LoadBalancer
	// begun is when the last successful reading began.
	begun time.Time
	// next is the earliest time of the next reading, due the latest.
	next, due time.Time
	// dangling are those that named an endpoint which was gone in the last reading; true if in the one before too.
	dangling  map[hns.LoadBalancerID]bool
	frontends frontends
}

var _ pass.Action = (*Reader)(nil)

// How often load balancers are read: every minute, because one that dangles or is absent breaks a Service; more often
// while one does, or while only one keeps an orphan, and as soon as possible when one seems to dangle or to be absent,
// or when an orphan needs to know.
const (
	every         = time.Minute
	danglingEvery = 10 * time.Second
	gap           = time.Second
	share         = 0.05
)

// NewReader returns a reader that has not read yet.
func NewReader(o ReaderOptions) *Reader {
	r := &Reader{
		opts: o, requests: make(chan struct{}, 1), dangling: map[hns.LoadBalancerID]bool{},
		frontends: frontends{absent: map[Frontend]absence{}},
		gauge: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: metrics.Namespace, Name: "dangling_load_balancers",
			Help: "Load balancers that named an endpoint which was gone, the last two times that they were read.",
		}),
	}
	o.Registerer.MustRegister(r.gauge)
	return r
}

// Last implements [github.com/hnsguard/hnsguard/internal/pass.LoadBalancers].
func (r *Reader) Last() ([]hns.LoadBalancer, time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.begun, r.known
}

// ReadSince reports whether the reading that [Reader.Last] returns began at a moment or later. If not, it requests
// another one.
func (r *Reader) ReadSince(moment time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known && !r.begun.Before(moment) {
		return true
	}
	if !r.opts.Clock.Now().Before(r.next) {
		r.request()
	}
	return false
}

// Dangling returns the load balancers that dangle (invariant 2).
func (r *Reader) Dangling() []hns.LoadBalancer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.last), func(lb hns.LoadBalancer) bool { return !r.dangling[lb.ID] })
}

// Run implements [pass.Action]: it requests a reading if it is time, or if an orphan lacks nothing else.
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
func (r *Reader) wait(pass pass.Pass) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.due
	for _, v := range pass.Verdicts {
		switch {
		case v.Reason == verdict.ReasonLoadBalancersUnknown:
			at = r.next
		case v.Reason == verdict.ReasonReferenced && !pass.Evidence.Now.Before(v.Due):
			at = earlier(at, r.next.Add(danglingEvery)) // a load balancer is all that keeps it
		}
	}
	return at.Sub(r.opts.Clock.Now())
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Start makes the readings until the context ends.
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
			r.Requested() // drops what passes requested meanwhile, not knowing when the next reading may begin
		}
	}
}

// Requested reports whether a reading is pending, and drops the request. Where [Reader.Start] does not run, the caller
// reads.
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
	read, err := r.read(ctx)
	present := []hns.EndpointID(nil)
	if err == nil {
		// After the load balancers: an endpoint that was made meanwhile does not make one dangle.
		present, err = r.opts.HNS.ListEndpointIDs(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Clock.Now()
	r.next = now.Add(max(gap, time.Duration(float64(now.Sub(begun))/share)))
	r.due = now.Add(every)
	if err != nil {
		return fmt.Errorf("reading load balancers: %w", err)
	}
	news := r.findDangling(read, sets.New(present...))
	r.findAbsent(read, begun)
	r.last, r.begun, r.known = read, begun, true
	for _, lb := range news {
		logf.FromContext(ctx).Info("A load balancer names an endpoint that is gone",
			"loadBalancerID", lb.ID, "vips", lb.FrontendVIPs, "ports", lb.Ports)
	}
	return nil
}

// attempts is how often a list is tried in which a load balancer vanishes while it is read.
const attempts = 3

func (r *Reader) read(ctx context.Context) (read []hns.LoadBalancer, err error) {
	for range attempts {
		if read, err = r.opts.HNS.LoadBalancers(ctx); !errors.Is(err, hns.ErrNotFound) {
			break
		}
	}
	return read, err
}

// findDangling compares a reading with the one before, and returns what is now known to dangle and was not before.
func (r *Reader) findDangling(read []hns.LoadBalancer, present sets.Set[hns.EndpointID]) (news []hns.LoadBalancer) {
	dangling, confirmed := map[hns.LoadBalancerID]bool{}, 0
	for _, lb := range read {
		if present.HasAll(lb.Endpoints...) {
			continue
		}
		before, again := r.dangling[lb.ID]
		dangling[lb.ID] = again
		switch {
		case !again:
			r.due = r.next
		case !before:
			news = append(news, lb)
		}
		if again {
			confirmed++
		}
		r.due = earlier(r.due, r.next.Add(danglingEvery))
	}
	r.dangling = dangling
	r.gauge.Set(float64(confirmed))
	return news
}

// findAbsent compares the frontends of a reading with those before.
func (r *Reader) findAbsent(read []hns.LoadBalancer, begun time.Time) {
	some, news := r.frontends.compare(read, begun)
	if news {
		r.due = r.next
	}
	if some {
		r.due = earlier(r.due, r.next.Add(danglingEvery))
	}
}
