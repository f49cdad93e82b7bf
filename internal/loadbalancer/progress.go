// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"context"
	"time"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

// progress knows what kube-proxy has processed for certain (invariant 8). Each look begins the proof for what the index
// has then: a change is proved after the same time, whatever was under way when it came.
type progress struct {
	opts ReaderOptions
	// pending are the proofs under way, the oldest first.
	pending []proof
	// last is what kube-proxy counted last, and processed the last revision of which everything is processed.
	last, processed uint64
}

// proof is one that kube-proxy has processed a revision of the index.
type proof struct {
	revision uint64
	begun    time.Time
	// base is what kube-proxy had counted when its watch must have had the revision, if that is counted.
	base    uint64
	counted bool
}

// update reads what kube-proxy counts, and returns the revision of the index up to which kube-proxy has processed
// everything. It is zero where that is not known: then kube-proxy may have been restarted, and be busy making all load
// balancers.
func (p *progress) update(ctx context.Context) uint64 {
	syncs, err := p.opts.Syncs(ctx)
	if err != nil {
		return 0
	}
	if syncs < p.last { // of a kube-proxy that was restarted nothing is known yet
		p.processed, p.pending = 0, nil
	}
	p.last = syncs
	now := p.opts.Clock.Now()
	p.begin(now)
	done := 0
	for i := range p.pending {
		proof := &p.pending[i]
		if !proof.counted && now.Sub(proof.begun) >= p.opts.WatchLag {
			proof.base, proof.counted = syncs, true
		}
		if proof.counted && syncs >= proof.base+kubeproxy.SyncsBetween {
			p.processed, done = proof.revision, i+1
		}
	}
	p.pending = p.pending[done:]
	return p.processed
}

// begin begins a proof if the index has what none is under way for.
func (p *progress) begin(now time.Time) {
	revision, known := p.opts.Revision(), p.processed
	if n := len(p.pending); n > 0 {
		known = p.pending[n-1].revision
	}
	if revision != known {
		p.pending = append(p.pending, proof{revision: revision, begun: now})
	}
}
