// SPDX-License-Identifier: Apache-2.0

package reuse

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"

	"github.com/hnsguard/hnsguard/internal/action"
	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/history"
)

// The bounds of what is remembered.
const (
	Horizon      = time.Hour
	MaxAddresses = 10_000
)

var (
	_ action.Action        = (*Meter)(nil)
	_ action.SliceObserver = (*Meter)(nil)
)

// Index is the view of EndpointSlices.
type Index interface {
	// ListedOnAnotherNode reports whether a slice lists the address on another node of the cluster.
	ListedOnAnotherNode(addr netip.Addr) bool
}

// History keeps the reuses for people to look up.
type History interface{ Add(e history.Entry) }

// Meter measures. It is safe for concurrent use.
type Meter struct {
	node    string
	index   Index
	history History
	metrics *Metrics
	clock   clock.PassiveClock

	mu sync.Mutex
	// left is when slices ceased to list an address on other nodes, which no pod of this node has got since.
	left *lru.Cache
	// held are the addresses of this node's pods; it is nil before the first pass.
	held map[netip.Addr]types.UID
}

// NewMeter returns a meter for the node of that name. Without a history, reuses are only measured.
func NewMeter(node string, index Index, h History, m *Metrics, clk clock.PassiveClock) *Meter {
	if h == nil {
		h = history.None{}
	}
	return &Meter{node: node, index: index, history: h, metrics: m, clock: clk, left: lru.New(MaxAddresses)}
}

// SliceChanged implements [action.SliceObserver].
func (m *Meter) SliceChanged(before, after *cluster.Slice) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, present := before.AddressesOnOtherNodes(m.node), after.AddressesOnOtherNodes(m.node)
	for addr := range present.Difference(old) {
		m.left.Remove(addr)
	}
	for addr := range old.Difference(present) {
		if _, taken := m.held[addr]; !taken && !m.index.ListedOnAnotherNode(addr) {
			m.left.Add(addr, m.clock.Now())
		}
	}
}

// Run implements [action.Action]: it measures which addresses pods of this node have got.
func (m *Meter) Run(_ context.Context, pass action.Pass) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := map[netip.Addr]types.UID{}
	for _, pod := range pass.Evidence.Cluster.Pods {
		if !pod.Live() {
			continue
		}
		for _, addr := range pod.Addresses {
			held[addr] = pod.UID
			if m.held != nil && m.held[addr] != pod.UID { // invariant 1
				m.observe(addr, pod)
			}
			m.left.Remove(addr)
		}
	}
	m.held = held
	return 0
}

func (m *Meter) observe(addr netip.Addr, pod cluster.Pod) {
	e := history.Entry{Act: history.Reuse, Result: history.Listed, Address: addr, Pods: history.Names(pod.ID())}
	if m.index.ListedOnAnotherNode(addr) {
		m.metrics.reuse.Observe(0)
		m.history.Add(e)
		return
	}
	left, known := m.left.Get(addr)
	if !known {
		return
	}
	if since := m.clock.Since(left.(time.Time)); since <= Horizon {
		m.metrics.reuse.Observe(since.Seconds())
		e.Result = history.Dropped
		m.history.Add(e.Took(since))
	}
}
