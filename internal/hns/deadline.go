// SPDX-License-Identifier: Apache-2.0

package hns

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// DeadlineOptions bounds HNS calls. All fields are required.
type DeadlineOptions struct {
	// Call bounds reading or deleting one object, and listing IDs.
	Call time.Duration
	// List bounds a call that reads many objects. With thousands of load balancers on a slow node it takes tens of
	// seconds.
	List time.Duration
	// MaxHung is the number of abandoned calls that may hang before further calls are refused. Each one holds a thread.
	MaxHung int
	Clock   clock.Clock
}

// Deadline is a [Client] that gives up waiting. HNS calls take no context and can hang forever; an abandoned call
// continues in its own goroutine until HNS returns, and its late result is dropped.
type Deadline struct {
	next Client
	opts DeadlineOptions
	hung atomic.Int64
	// full is when hung reached MaxHung, in nanoseconds of the Unix epoch; 0 while it is lower.
	full atomic.Int64
}

var _ Client = (*Deadline)(nil)

// WithDeadline wraps a client so that its calls return within their bounds.
func WithDeadline(next Client, opts DeadlineOptions) *Deadline {
	return &Deadline{next: next, opts: opts}
}

// Hung returns the number of abandoned calls that have not returned yet.
func (d *Deadline) Hung() int { return int(d.hung.Load()) }

// Saturated returns how long MaxHung abandoned calls have been hanging; 0 while fewer do.
func (d *Deadline) Saturated() time.Duration {
	since := d.full.Load()
	if since == 0 {
		return 0
	}
	return d.opts.Clock.Since(time.Unix(0, since))
}

// abandoned counts a call that was abandoned, and returned an abandoned call that returned after all.
func (d *Deadline) abandoned() {
	if int(d.hung.Add(1)) >= d.opts.MaxHung {
		d.full.CompareAndSwap(0, d.opts.Clock.Now().UnixNano())
	}
}

func (d *Deadline) returned() {
	if int(d.hung.Add(-1)) < d.opts.MaxHung {
		d.full.Store(0)
	}
}

// Networks implements [Client].
func (d *Deadline) Networks(ctx context.Context) ([]Network, error) {
	return await(ctx, d, OpNetworks, d.opts.List, d.next.Networks)
}

// ListEndpointIDs implements [Client].
func (d *Deadline) ListEndpointIDs(ctx context.Context) ([]EndpointID, error) {
	return await(ctx, d, OpListEndpointIDs, d.opts.Call, d.next.ListEndpointIDs)
}

// Endpoint implements [Client].
func (d *Deadline) Endpoint(ctx context.Context, id EndpointID) (Endpoint, error) {
	return await(ctx, d, OpEndpoint, d.opts.Call, func(ctx context.Context) (Endpoint, error) {
		return d.next.Endpoint(ctx, id)
	})
}

// LoadBalancers implements [Client].
func (d *Deadline) LoadBalancers(ctx context.Context) ([]LoadBalancer, error) {
	return await(ctx, d, OpLoadBalancers, d.opts.List, d.next.LoadBalancers)
}

// DeleteEndpoint implements [Client].
func (d *Deadline) DeleteEndpoint(ctx context.Context, id EndpointID) error {
	_, err := await(ctx, d, OpDeleteEndpoint, d.opts.Call, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, d.next.DeleteEndpoint(ctx, id)
	})
	return err
}

// Version implements [Client].
func (d *Deadline) Version(ctx context.Context) (string, error) {
	return await(ctx, d, "get_version", d.opts.Call, d.next.Version)
}

// await runs one call, and waits for it no longer than the timeout or the context. The result channel is buffered, so
// that the goroutine of an abandoned call ends when HNS returns.
func await[T any](ctx context.Context, d *Deadline, op Operation, timeout time.Duration,
	call func(context.Context) (T, error),
) (T, error) {
	var zero T
	if hung := d.Hung(); hung >= d.opts.MaxHung {
		return zero, fmt.Errorf("%s: %d calls have not returned; HNS may be deadlocked: %w", op, hung, ErrSaturated)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	// settled is set by the answer or by the end of waiting, whichever comes first, so that each call is counted once.
	var settled atomic.Bool
	go func() {
		value, err := call(context.WithoutCancel(ctx))
		done <- result{value, err}
		if !settled.CompareAndSwap(false, true) {
			d.returned()
		}
	}()
	timer := d.opts.Clock.NewTimer(timeout)
	defer timer.Stop()
	abandoned := fmt.Errorf("%s: no answer within %s: %w", op, timeout, ErrTimeout)
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C():
	case <-ctx.Done():
		abandoned = fmt.Errorf("%s: no longer waiting for the answer: %w", op, ctx.Err())
	}
	if settled.CompareAndSwap(false, true) {
		d.abandoned()
		return zero, abandoned
	}
	r := <-done
	return r.value, r.err
}
