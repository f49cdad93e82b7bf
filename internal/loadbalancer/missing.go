// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"context"
	"fmt"
	"time"

	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// suspect is a frontend that is absent, on its way to being known to be missing.
type suspect struct {
	Absence
	// due is when to look at it again.
	due time.Time
	// expected is why it should be there, as the API server has said since then.
	expected expectation
	since    time.Time
	// base is what kube-proxy counted first in that time, if it could be read.
	base    uint64
	counted bool
	// synced is when kube-proxy was known to have processed what is expected; zero before.
	synced time.Time
	// missing is set once the frontend is known to be missing, result is what was done about it last.
	missing, reported bool
	result            string
}

const (
	// A Service that is deleted is absent on all nodes at once: each waits a random time of up to spread before it asks
	// the API server, and asks about one frontend in each interval.
	spread   = 30 * time.Second
	interval = 5 * time.Second
	// again is how soon to ask again after a failure, and about a frontend that is missing.
	again = time.Minute
	// unread is how long a state has to last to count as processed by a kube-proxy whose syncs cannot be counted.
	unread = 15 * time.Minute
)

// mendMissing looks at one of the frontends that are absent, and does what is configured if it is known to be missing
// (invariant 8).
func (r *Reprogrammer) mendMissing(ctx context.Context, snapshot verdict.Snapshot) {
	absent, read := r.opts.LoadBalancers.Absent()
	due := r.suspect(absent)
	now := r.opts.Clock.Now()
	if due != nil && !now.Before(r.next) {
		r.next = now.Add(interval)
		r.examine(ctx, due, read, snapshot)
	}
	missing := 0
	for _, s := range r.suspects {
		if s.missing {
			missing++
		}
	}
	r.opts.Metrics.missing.Set(float64(missing))
}

// suspect compares what is absent now with what was, and returns what to look at first; nil if there is nothing.
func (r *Reprogrammer) suspect(absent []Absence) (first *suspect) {
	now := r.opts.Clock.Now()
	suspects := make(map[Frontend]*suspect, len(absent))
	for _, a := range absent {
		s := r.suspects[a.Frontend]
		if s == nil || s.Since != a.Since { // it was there in between
			s = &suspect{Absence: a, due: now.Add(time.Duration(r.opts.Random() * float64(spread)))}
		}
		suspects[a.Frontend] = s
		if !s.due.After(now) && (first == nil || s.due.Before(first.due)) {
			first = s
		}
	}
	r.suspects = suspects
	return first
}

// examine asks the API server whether a frontend should be there. Its Service must have been as it is now for so long
// that kube-proxy has taken it in, and a reading after that must be without it.
func (r *Reprogrammer) examine(ctx context.Context, s *suspect, read time.Time, snapshot verdict.Snapshot) {
	log := logf.FromContext(ctx).WithValues("frontend", s.String())
	now := r.opts.Clock.Now()
	s.due = now.Add(again)
	if s.expected.known() && !s.missing && !r.processed(ctx, s, read) {
		s.due = now.Add(interval)
		return
	}
	expected, err := r.expect(ctx, s.Frontend, s.expected, snapshot)
	switch {
	case err != nil:
		r.record(unknown, s.VIP, "", err)
		log.Error(err, "Cannot find out whether a load balancer is missing; will retry")
	case !expected.known():
		r.opts.LoadBalancers.Forget(s.Frontend)
		delete(r.suspects, s.Frontend)
	case expected != s.expected:
		// Of one that is known to be missing the change is news to kube-proxy: it may mend it now.
		s.expected, s.since, s.synced, s.counted = expected, now, time.Time{}, false
		if !s.missing {
			r.count(ctx, s)
			s.due = now.Add(r.opts.WatchLag)
		}
	default:
		s.missing = true
		r.mend(logf.IntoContext(ctx, log.WithValues("Service", expected.service)), s)
	}
}

// processed reports whether kube-proxy must have programmed what is expected, and a reading that began after that is
// known.
func (r *Reprogrammer) processed(ctx context.Context, s *suspect, read time.Time) bool {
	if s.synced.IsZero() && r.count(ctx, s) {
		s.synced = r.opts.Clock.Now()
	}
	return !s.synced.IsZero() && !read.Before(s.synced)
}

// count reports whether kube-proxy has finished a sync that started after what is expected was first so.
func (r *Reprogrammer) count(ctx context.Context, s *suspect) bool {
	syncs, err := r.opts.Syncs(ctx)
	if err != nil {
		s.counted = false
		return r.opts.Clock.Since(s.since) >= unread
	}
	if !s.counted || syncs < s.base { // a kube-proxy that was restarted creates all of them again
		s.base, s.counted = syncs, true
	}
	return syncs >= s.base+kubeproxy.SyncsBetween
}

// mend reports a load balancer that is missing, and makes kube-proxy program its Service again if that is asked for.
func (r *Reprogrammer) mend(ctx context.Context, s *suspect) {
	service := s.expected.object()
	result, err := r.hindrance(ctx, service)
	if result == "" && r.opts.InPlace(ctx) {
		result = inPlace
	}
	if !s.reported {
		s.reported = true
		what := fmt.Sprintf("the load balancer of this Service for %s is missing", s.Frontend)
		r.report(service, EventMissing, what, result)
	}
	if result != "" {
		if result != s.result {
			r.record(result, s.VIP, s.expected.service.String(), err)
			logf.FromContext(ctx).Info("A load balancer is missing, and kube-proxy is not made to program its Service again",
				"result", result)
		}
		s.result = result
		return
	}
	s.result = ""
	if now := r.opts.Clock.Now(); !r.backoff.IsInBackOffSinceUpdate(s.VIP.String(), now) {
		r.backoff.Next(s.VIP.String(), now)
		r.reprogram(ctx, service, s.VIP)
	}
}
