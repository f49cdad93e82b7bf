// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// findings are the verdicts on the load balancers of the last two readings.
type findings struct {
	begun time.Time
	// seen are the broken load balancers of the last reading, broken those of the last two readings (invariant 2).
	seen, broken []verdict.Balancer
	counts       map[verdict.BalancerKind]int
}

// add adds a reading, and reports whether a load balancer is broken, and whether a finding is new.
func (f *findings) add(reading Reading, index *cluster.Index, p pass.Pass) (some, news bool) {
	f.begun = reading.Begun
	seen := f.seen
	f.seen, f.broken, f.counts = nil, nil, map[verdict.BalancerKind]int{}
	for _, b := range verdict.JudgeBalancers(evidence(reading, index, p)) {
		switch {
		case !b.Kind.Broken():
			f.counts[b.Kind]++
		default:
			f.seen = append(f.seen, b)
		}
	}
	slices.SortFunc(f.seen, verdict.Balancer.Compare)
	for _, b := range f.seen {
		at, was := slices.BinarySearchFunc(seen, b, verdict.Balancer.Compare)
		if !was || !seen[at].SameAs(b) {
			news = true
			continue
		}
		f.counts[b.Kind]++
		f.broken = append(f.broken, b)
	}
	return len(f.seen) > 0, news
}

// evidence returns what the verdicts on a reading rest on. kube-proxy has not processed changes after the reading.
func evidence(reading Reading, index *cluster.Index, p pass.Pass) verdict.BalancerEvidence {
	e := verdict.BalancerEvidence{
		Node: p.Evidence.Cluster.Node, Snapshot: p.Evidence.Snapshot, Leaked: sets.New[hns.EndpointID](),
		Backings: index.Backings(), KubeProxy: reading.Processed > 0, Processed: reading.Processed,
		ServicesKnown: p.Evidence.Cluster.ServicesKnown && p.Evidence.Cluster.Slices > 0,
	}
	e.Snapshot.LoadBalancers, e.Snapshot.LoadBalancersRead = reading.LoadBalancers, reading.Begun
	e.Snapshot.LoadBalancersKnown = true
	for i := range p.Verdicts {
		if p.Verdicts[i].Reason == verdict.ReasonLocalLeaked {
			e.Leaked.Insert(p.Verdicts[i].Endpoint.ID)
		}
	}
	return e
}
