// SPDX-License-Identifier: Apache-2.0

package history

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/metrics"
	"github.com/hnsguard/hnsguard/internal/pass"
)

// The bounds of a [ReuseMeter] (invariant 7).
const (
	Horizon      = time.Hour
	MaxAddresses = 10_000
)

var (
	_ pass.Action        = (*ReuseMeter)(nil)
	_ pass.SliceObserver = (*ReuseMeter)(nil)
)

// ReuseMeter measures how soon an address of a pod on another node is given to a pod on this node.
//
// Everything that hnsguard guards against begins with such a reuse. If addresses are reused within seconds, before
// kube-proxy has processed the end of the old pod, the pool of pod addresses is too small, or reuses the most recently
// returned address first; see docs/how-it-works.md#remove-the-cause.
//
// EndpointSlices show that an address is in use on another node, and a pod's status shows that a pod on this node has
// it. The meter ignores remote endpoints in HNS: they are kube-proxy's copy of the slices, and a leaked one may stay
// for hours after the last use of its address. ReuseMeter is safe for concurrent use.
type ReuseMeter struct {
	index   *cluster.Index
	node    string
	ring    *Ring
	measure prometheus.Histogram
	clock   clock.PassiveClock

	mu sync.Mutex
	// left is when slices stopped listing an address on another node. It has only addresses that no pod on this node has
	// got since.
	left *lru.Cache
	// held are the addresses of the pods on this node; nil before the first pass.
	held map[netip.Addr]types.UID
}

// NewReuseMeter returns a meter for the named node, which adds reuses to the ring.
func NewReuseMeter(
	node string, index *cluster.Index, ring *Ring, reg prometheus.Registerer, clk clock.PassiveClock,
) *ReuseMeter {
	m := &ReuseMeter{
		node: node, index: index, ring: ring, clock: clk, left: lru.New(MaxAddresses),
		measure: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: metrics.Namespace, Name: "address_reuse_seconds",
			Help: "Time from when EndpointSlices ceased to list an address for another node until a pod on this node had it; " +
				"zero if they still listed it then. Reuse after more than an hour is not counted.",
			// The buckets range from before kube-proxy can have processed a change, whose periodic sync comes every 30 seconds,
			// to the horizon.
			Buckets:                         []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: metrics.NativeHistogramMinReset,
		}),
	}
	reg.MustRegister(m.measure)
	return m
}

// SliceChanged implements [pass.SliceObserver].
func (m *ReuseMeter) SliceChanged(before, after *cluster.Slice) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, present := before.AddressesOnOtherNodes(m.node), after.AddressesOnOtherNodes(m.node)
	for addr := range present.Difference(old) {
		m.left.Remove(addr)
	}
	for addr := range old.Difference(present) {
		// If another slice still lists it, it counts as listed, and its time is set again when the last slice drops it.
		if _, taken := m.held[addr]; !taken {
			m.left.Add(addr, m.clock.Now())
		}
	}
}

// Run implements [pass.Action]: it measures the reuse of the addresses that pods on this node have got.
func (m *ReuseMeter) Run(_ context.Context, pass pass.Pass) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := map[netip.Addr]types.UID{}
	for _, pod := range pass.Evidence.Cluster.Pods {
		if !pod.Live() {
			continue
		}
		for _, addr := range pod.Addresses {
			held[addr] = pod.UID
			if m.held != nil && m.held[addr] != pod.UID { // invariant 5
				m.record(addr, pod)
			}
			m.left.Remove(addr)
		}
	}
	m.held = held
	return 0
}

func (m *ReuseMeter) record(addr netip.Addr, pod cluster.Pod) {
	e := Entry{Act: Reuse, Result: Listed, Address: addr, Pods: Names(pod.ID())}
	if m.index.ListedOnAnotherNode(addr) {
		m.measure.Observe(0)
		m.ring.Add(e)
		return
	}
	left, known := m.left.Get(addr)
	if !known {
		return
	}
	if since := m.clock.Since(left.(time.Time)); since <= Horizon {
		m.measure.Observe(since.Seconds())
		e.Result = Dropped
		m.ring.Add(e.Took(since))
	}
}
