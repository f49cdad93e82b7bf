// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"context"
	"time"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

// progress knows what kube-proxy has processed for certain (invariant 8).
type progress struct {
	opts ReaderOptions
	// noted is a revision of the index, which had it at notedAt.
	noted   uint64
	notedAt time.Time
	// base is what kube-proxy had counted when its watch must have had all of that.
	base    uint64
	counted bool
	// last is what kube-proxy counted last, and processed the last revision of which everything is processed.
	last, processed uint64
}

// look reads what kube-proxy counts, and returns the revision of the index up to which kube-proxy has processed
// everything. It is zero where that is not known: then kube-proxy may have been restarted, and be busy making all load
// balancers.
func (p *progress) look(ctx context.Context) uint64 {
	syncs, err := p.opts.Syncs(ctx)
	if err != nil {
		return 0
	}
	now := p.opts.Clock.Now()
	if p.notedAt.IsZero() || syncs < p.last { // of a kube-proxy that was restarted nothing is known yet
		p.processed = 0
		p.note(now)
	}
	p.last = syncs
	switch {
	case !p.counted && now.Sub(p.notedAt) >= p.opts.WatchLag:
		p.base, p.counted = syncs, true
	case p.counted && syncs >= p.base+kubeproxy.SyncsBetween:
		p.processed = p.noted
		p.note(now)
	}
	return p.processed
}

func (p *progress) note(now time.Time) {
	p.noted, p.notedAt, p.counted = p.opts.Revision(), now, false
}
