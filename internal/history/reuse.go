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

// The bounds of what a [ReuseMeter] remembers (invariant 7).
const (
	Horizon      = time.Hour
	MaxAddresses = 10_000
)

var (
	_ pass.Action        = (*ReuseMeter)(nil)
	_ pass.SliceObserver = (*ReuseMeter)(nil)
)

// ReuseMeter measures how soon an address that a pod on another node has left is given to a pod on this one.
//
// Everything that hnsguard guards against begins with such a reuse. Where addresses are reused within seconds, before
// kube-proxy has processed that the old pod is gone, the pool of pod addresses is too small, or hands out first what
// was returned last; see docs/how-it-works.md#remove-the-cause.
//
// That an address is in use elsewhere is read from EndpointSlices, that a pod on this node has it from the pod's
// status. Remote endpoints of HNS are not used: they are kube-proxy's copy of the slices, and one that leaked may stay
// for hours after the last use of its address. It is safe for concurrent use.
type ReuseMeter struct {
	index   *cluster.Index
	node    string
	ring    *Ring
	measure prometheus.Histogram
	clock   clock.PassiveClock

	mu sync.Mutex
	// left is when slices ceased to list an address on other nodes, which no pod on this node has got since.
	left *lru.Cache
	// held are the addresses of this node's pods; it is nil before the first pass.
	held map[netip.Addr]types.UID
}

// NewReuseMeter returns a meter for the node of that name, which adds reuses to the ring.
func NewReuseMeter(
	node string, index *cluster.Index, ring *Ring, reg prometheus.Registerer, clk clock.PassiveClock,
) *ReuseMeter {
	m := &ReuseMeter{
		node: node, index: index, ring: ring, clock: clk, left: lru.New(MaxAddresses),
		measure: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: metrics.Namespace, Name: "address_reuse_seconds",
			Help: "Time from when EndpointSlices ceased to list an address for another node until a pod on this node had it; " +
				"zero if they still listed it then. Reuse after more than an hour is not counted.",
			// From before kube-proxy can have processed it to the horizon. Its periodic sync comes every 30 seconds.
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
		// Another slice may still list it. Then it counts as listed, and the time is that at which the last one drops it.
		if _, taken := m.held[addr]; !taken {
			m.left.Add(addr, m.clock.Now())
		}
	}
}

// Run implements [pass.Action]: it measures which addresses pods on this node have got.
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
