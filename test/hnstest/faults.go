// SPDX-License-Identifier: Apache-2.0

package hnstest

import (
	"context"
	"fmt"
	"slices"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// faults is what has been asked to go wrong.
type faults struct {
	down      bool
	once      map[hns.Operation][]error
	lasting   map[hns.Operation]error
	hooks     map[hns.Operation][]func()
	gates     map[hns.Operation]chan struct{}
	vanishing []hns.EndpointID
	// vanishingLoadBalancers vanish after the next list of load balancers has named them.
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

// FailNext makes the next call of the operation fail; several are served in turn.
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

// Hang makes calls of the operation hang until the returned function is called; then they take effect, late. As in HNS,
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

// VanishMidList lets the endpoint vanish once the next list of IDs has named it, before it can be read.
func (h *HNS) VanishMidList(id hns.EndpointID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults.vanishing = append(h.faults.vanishing, id)
}

// VanishLoadBalancerMidList lets the load balancer vanish once the next list has named it, before it can be read.
func (h *HNS) VanishLoadBalancerMidList(id hns.LoadBalancerID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults.vanishingLoadBalancers = append(h.faults.vanishingLoadBalancers, id)
}

// MakeUndeletable lets deletes of the endpoint report success and do nothing, until Heal.
func (h *HNS) MakeUndeletable(id hns.EndpointID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults.undeletable[id] = true
}

// Before runs a function once, just before the next call of the operation is served: a test moves the world there,
// between what hnsguard has seen and what it does.
func (h *HNS) Before(op hns.Operation, do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults.hooks[op] = append(h.faults.hooks[op], do)
}

// Heal withdraws every fault; calls that hang go on.
func (h *HNS) Heal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, gate := range h.faults.gates {
		close(gate)
	}
	h.faults = newFaults()
}

// enter is the door of every call: it runs hooks, waits where it should hang, takes one call's time and fails if
// asked to.
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

// Impersonate lets the ID mean another endpoint from now on. HNS does not do that; a guard should notice if it did.
func (h *HNS) Impersonate(id hns.EndpointID, as hns.Endpoint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at := h.indexOf(id); at >= 0 {
		as.ID = id
		h.endpoints[at] = as
	}
}
