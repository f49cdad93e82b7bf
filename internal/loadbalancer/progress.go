// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"context"
	"time"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

// progress determines what kube-proxy is certain to have processed (invariant 8). Each update begins a proof for the
// present index: so every change is proved after the same time, whichever proofs were pending when it came.
type progress struct {
	opts ReaderOptions
	// pending are the unfinished proofs, the oldest first.
	pending []proof
	// last is kube-proxy's last count, and processed the last revision that it is certain to have processed.
	last, processed uint64
}

// proof is the proof that kube-proxy has processed a revision of the index.
type proof struct {
	revision uint64
	begun    time.Time
	// base is kube-proxy's count when its watch must have had the revision, if counted is set.
	base    uint64
	counted bool
}

// update reads kube-proxy's count, and returns the revision of the index that kube-proxy is certain to have processed.
// It returns zero if this is unknown: kube-proxy may have been restarted, and be creating all load balancers.
func (p *progress) update(ctx context.Context) uint64 {
	syncs, err := p.opts.Syncs(ctx)
	if err != nil {
		return 0
	}
	if syncs < p.last { // nothing is known yet about a restarted kube-proxy
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

// begin begins a proof if the index has a revision without one.
func (p *progress) begin(now time.Time) {
	revision, known := p.opts.Revision(), p.processed
	if n := len(p.pending); n > 0 {
		known = p.pending[n-1].revision
	}
	if revision != known {
		p.pending = append(p.pending, proof{revision: revision, begun: now})
	}
}
