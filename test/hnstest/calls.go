// SPDX-License-Identifier: Apache-2.0

package hnstest

import (
	"slices"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Call is one entry of the call log.
type Call struct {
	Op hns.Operation
	// Endpoint is the requested endpoint, or empty for a list.
	Endpoint hns.EndpointID
	Err      error
}

// Calls copies the log of client calls that have returned, oldest first.
func (h *HNS) Calls() []Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls)
}

// Deleted lists the endpoints whose delete the service reported as done, in order.
func (h *HNS) Deleted() []hns.EndpointID {
	var ids []hns.EndpointID
	for _, call := range h.Calls() {
		if call.Op == hns.OpDeleteEndpoint && call.Err == nil {
			ids = append(ids, call.Endpoint)
		}
	}
	return ids
}

// Cost returns the number of calls to the service for all client calls, with an open, a query and a close for each
// object of a list.
func (h *HNS) Cost() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cost
}

// ResetCalls clears the log and the cost.
func (h *HNS) ResetCalls() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls, h.cost = nil, 0
}

func (h *HNS) log(op hns.Operation, id hns.EndpointID, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, Call{Op: op, Endpoint: id, Err: err})
}
