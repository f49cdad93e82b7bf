// SPDX-License-Identifier: Apache-2.0

package hnstest

import (
	"context"
	"fmt"
	"slices"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// faults are the requested faults.
type faults struct {
	down      bool
	once      map[hns.Operation][]error
	lasting   map[hns.Operation]error
	hooks     map[hns.Operation][]func()
	gates     map[hns.Operation]chan struct{}
	vanishing []hns.EndpointID
	// vanishingLoadBalancers vanish after the next list of load balancers.
	vanishingLoadBalancers []hns.LoadBalancerID
	undeletable            map[hns.EndpointID]bool
}

func newFaults() faults {
	return faults{
		once: map[hns.Operation][]error{}, lasting: map[hns.Operation]error{}, hooks: map[hns.Operation][]func(){},
		gates: map[hns.Operation]chan struct{}{}, undeletable: map[hns.EndpointID]bool{},
	}
}

// SetDown stops or starts the service: while it is down every call fails with [hns.ErrUnavailable]. State is kept.
func (h *HNS) SetDown(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults.down = down
}

// FailNext makes the next call of the operation fail; several errors are used in turn.
func (h *HNS) FailNext(op hns.Operation, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults.once[op] = append(h.faults.once[op], err)
}

// Fail makes every call of the operation fail until Heal.
func (h *HNS) Fail(op hns.Operation, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults.lasting[op] = err
}

// Hang makes calls of the operation hang until the returned function is called; then they take effect late. As in HNS,
// no context ends them.
func (h *HNS) Hang(op hns.Operation) (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	gate := make(chan struct{})
	h.faults.gates[op] = gate
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.faults.gates[op] == gate {
			delete(h.faults.gates, op)
			close(gate)
		}
	}
}

// VanishMidList makes the endpoint vanish after the next list of IDs, before it can be read.
func (h *HNS) VanishMidList(id hns.EndpointID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults.vanishing = append(h.faults.vanishing, id)
}

// VanishLoadBalancerMidList makes the load balancer vanish after the next list, before it can be read.
func (h *HNS) VanishLoadBalancerMidList(id hns.LoadBalancerID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults.vanishingLoadBalancers = append(h.faults.vanishingLoadBalancers, id)
}

// MakeUndeletable makes deletes of the endpoint report success without effect, until Heal.
func (h *HNS) MakeUndeletable(id hns.EndpointID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults.undeletable[id] = true
}

// Before runs a function once, just before the next call of the operation: with it, a test changes the world between
// hnsguard's decision and its act.
func (h *HNS) Before(op hns.Operation, do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults.hooks[op] = append(h.faults.hooks[op], do)
}

// Heal ends every fault; hanging calls continue.
func (h *HNS) Heal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, gate := range h.faults.gates {
		close(gate)
	}
	h.faults = newFaults()
}

// enter begins every call: it runs hooks, hangs if requested, takes the time of one call, and fails if requested.
func (h *HNS) enter(ctx context.Context, op hns.Operation) error {
	h.mu.Lock()
	var hook func()
	if hooks := h.faults.hooks[op]; len(hooks) > 0 {
		hook, h.faults.hooks[op] = hooks[0], hooks[1:]
	}
	gate := h.faults.gates[op]
	h.mu.Unlock()
	if hook != nil {
		hook()
	}
	if gate != nil {
		<-gate
	}
	if err := h.spend(ctx, 1); err != nil {
		return err
	}
	return h.fault(op)
}

func (h *HNS) fault(op hns.Operation) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.faults.down {
		return fmt.Errorf("%s: the interface is unknown (0x6b5): %w", op, hns.ErrUnavailable)
	}
	if queue := h.faults.once[op]; len(queue) > 0 {
		h.faults.once[op] = queue[1:]
		return queue[0]
	}
	return h.faults.lasting[op]
}

func (h *HNS) vanishListed() {
	h.endpoints = slices.DeleteFunc(h.endpoints, func(e hns.Endpoint) bool {
		return slices.Contains(h.faults.vanishing, e.ID)
	})
	h.faults.vanishing = nil
}

func (h *HNS) vanishListedLoadBalancers() {
	h.loadBalancers = slices.DeleteFunc(h.loadBalancers, func(lb hns.LoadBalancer) bool {
		return slices.Contains(h.faults.vanishingLoadBalancers, lb.ID)
	})
	h.faults.vanishingLoadBalancers = nil
}

// Impersonate makes the ID stand for another endpoint from now on. HNS does not do this; a guard should notice it.
func (h *HNS) Impersonate(id hns.EndpointID, as hns.Endpoint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at := h.indexOf(id); at >= 0 {
		as.ID = id
		h.endpoints[at] = as
	}
}
