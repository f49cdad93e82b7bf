// SPDX-License-Identifier: Apache-2.0

package world

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// service is the current behavior of HNS on a node, for all callers.
type service struct {
	world *World
	down  bool
	// latency is the duration of one call.
	latency time.Duration
	// why is the code of its answers while it is down; zero for the usual one.
	why     uint32
	failing map[hns.Operation]bool
	// once are the codes with which kube-proxy's next calls fail.
	once    map[hns.Operation]uint32
	hanging map[hns.Operation]bool
	// stuck are endpoints whose deletes hang, and unreadable those that cannot be read.
	stuck, unreadable map[hns.EndpointID]bool
	// hung are the hanging calls; calling one makes it continue.
	hung []func()
}

func newService(w *World, latency time.Duration) *service {
	return &service{
		world: w, latency: latency, failing: map[hns.Operation]bool{}, hanging: map[hns.Operation]bool{},
		once:  map[hns.Operation]uint32{},
		stuck: map[hns.EndpointID]bool{}, unreadable: map[hns.EndpointID]bool{},
	}
}

// code returns the code with which a call fails now, or zero.
func (s *service) code(op hns.Operation) uint32 {
	switch {
	case s.down:
		return cmp.Or(s.why, codeUnknown)
	case s.failing[op]:
		return codeInvalid
	default:
		return 0
	}
}

// fault returns the error with which a call fails now, or nil.
func (s *service) fault(op hns.Operation) error {
	switch {
	case s.down:
		return fmt.Errorf("%s: the interface is unknown (%#x): %w", op, s.code(op), hns.ErrUnavailable)
	case s.failing[op]:
		return fmt.Errorf("%s: the parameter is incorrect (0x57)", op)
	default:
		return nil
	}
}

// hangs reports whether a call hangs. about is the endpoint of the call.
func (s *service) hangs(op hns.Operation, about string) bool {
	return s.hanging[op] || op == hns.OpDeleteEndpoint && s.stuck[hns.EndpointID(about)]
}

// release makes the hanging calls continue.
func (s *service) release() {
	clear(s.hanging)
	clear(s.stuck)
	hung := s.hung
	s.hung = nil
	for _, resume := range hung {
		resume()
	}
}

// heal ends all faults.
func (s *service) heal(latency time.Duration) {
	s.down, s.why, s.latency = false, 0, latency
	clear(s.failing)
	clear(s.once)
	s.release()
}

// lost is what a restart of HNS does not restore.
type lost int

const (
	lostNothing lost = iota
	lostBalancers
	// lostRemotes: load balancers and remote endpoints.
	lostRemotes
	// lostAll: all endpoints too, and networks have other IDs.
	lostAll
	allLosses = iota
)

// lose makes HNS lose what it does not restore when it restarts.
func (n *Node) lose(what lost) {
	state := n.HNS.State()
	if what >= lostBalancers {
		for _, lb := range state.LoadBalancers {
			_ = n.HNS.DeleteLoadBalancer(lb.ID) // it exists
		}
	}
	if what == lostRemotes {
		for _, e := range n.Remotes() {
			_ = n.HNS.DeleteEndpoint(context.Background(), e.ID) // it exists
		}
	}
	if what < lostAll {
		return
	}
	n.HNS.Restart()
	for _, network := range n.HNS.State().Networks {
		if network.Name == n.network.Name {
			n.network = network
		}
	}
	for _, e := range state.Endpoints {
		if pod := n.pods[e.ID]; pod != nil {
			pod.endpointTaken(ActorHNS)
		}
	}
}

// vanish makes an object vanish during the next list: a load balancer, or an endpoint that belongs to no pod.
func (n *Node) vanish(which int) {
	var all []func()
	state := n.HNS.State()
	for _, e := range state.Endpoints {
		if e.Network == n.network.ID && n.pods[e.ID] == nil {
			all = append(all, func() { n.HNS.VanishMidList(e.ID) })
		}
	}
	for _, lb := range state.LoadBalancers {
		all = append(all, func() { n.HNS.VanishLoadBalancerMidList(lb.ID) })
	}
	if do, ok := pick(all, which); ok {
		do()
	}
}

// callsPerObject is the number of calls to read one object: open, query, close.
const callsPerObject = 3

// hnsClient is the [hns.Client] of one agent: every call takes time, in which the world continues.
type hnsClient struct{ agent *Agent }

var _ hns.Client = hnsClient{}

// Version implements [hns.Client]. It takes no time: nothing in a history depends on it.
func (c hnsClient) Version(ctx context.Context) (string, error) { return c.agent.node.HNS.Version(ctx) }

// answer is the result of a call.
type answer[T any] struct {
	value T
	err   error
}

// do makes one call. It takes effect after its duration or, if it hangs, when HNS continues it. As in HNS, no context
// ends it.
func do[T any](c hnsClient, op hns.Operation, about string, calls int, effect func() (T, error)) (T, error) {
	n := c.agent.node
	got, err := ask(context.Background(), n.world, c.agent.Name, string(op)+about, n.latencyOf(calls),
		func(reply func(answer[T])) {
			var act func()
			act = func() {
				var a answer[T]
				switch fault := n.service.fault(op); {
				case c.agent.dead:
					a.err = fmt.Errorf("%s: %w", op, context.Canceled)
				case fault != nil:
					a.err = fault
				case n.frozenFor() > 0:
					n.world.After(n.frozenFor(), "", act)
					return
				default:
					a.value, a.err = effect()
				}
				c.agent.called(op, a.err)
				reply(a)
			}
			if n.service.hangs(op, about) && !c.agent.dead {
				n.service.hung = append(n.service.hung, act)
				return
			}
			act()
		})
	if err != nil {
		return got.value, fmt.Errorf("%s: %w", op, context.Canceled)
	}
	return got.value, got.err
}

// Networks implements [hns.Client].
func (c hnsClient) Networks(ctx context.Context) ([]hns.Network, error) {
	return do(c, hns.OpNetworks, "", 1+callsPerObject, func() ([]hns.Network, error) {
		return c.agent.node.HNS.Networks(ctx)
	})
}

// ListEndpointIDs implements [hns.Client].
func (c hnsClient) ListEndpointIDs(ctx context.Context) ([]hns.EndpointID, error) {
	return do(c, hns.OpListEndpointIDs, "", 1, func() ([]hns.EndpointID, error) {
		return c.agent.node.HNS.ListEndpointIDs(ctx)
	})
}

// Endpoint implements [hns.Client].
func (c hnsClient) Endpoint(ctx context.Context, id hns.EndpointID) (hns.Endpoint, error) {
	return do(c, hns.OpEndpoint, string(id), callsPerObject, func() (hns.Endpoint, error) {
		if c.agent.node.service.unreadable[id] {
			return hns.Endpoint{}, fmt.Errorf("translating endpoint %s: parsing IP address: unable to parse IP", id)
		}
		return c.agent.node.HNS.Endpoint(ctx, id)
	})
}

// LoadBalancers implements [hns.Client]. It lists the IDs, then reads each load balancer; one that vanishes meanwhile
// fails the list.
func (c hnsClient) LoadBalancers(ctx context.Context) ([]hns.LoadBalancer, error) {
	n := c.agent.node
	listed, err := do(c, hns.OpLoadBalancers, "", 1, func() ([]hns.LoadBalancer, error) {
		return n.HNS.LoadBalancers(ctx)
	})
	if err != nil || len(listed) == 0 {
		return listed, err
	}
	return do(c, hns.OpLoadBalancers, "read", callsPerObject*len(listed), func() ([]hns.LoadBalancer, error) {
		present, err := n.HNS.LoadBalancers(ctx)
		if err != nil {
			return nil, err
		}
		read := make([]hns.LoadBalancer, 0, len(listed))
		for _, lb := range listed {
			at := slices.IndexFunc(present, func(o hns.LoadBalancer) bool { return o.ID == lb.ID })
			if at < 0 {
				return nil, fmt.Errorf("opening load balancer %s: %w", lb.ID, hns.ErrNotFound)
			}
			read = append(read, present[at])
		}
		return read, nil
	})
}

// DeleteEndpoint implements [hns.Client].
func (c hnsClient) DeleteEndpoint(ctx context.Context, id hns.EndpointID) error {
	if _, err := ask(ctx, c.agent.node.world, c.agent.Name, "issue", 0, func(reply func(struct{})) {
		if !c.agent.dead {
			c.agent.issues(id)
		}
		reply(struct{}{})
	}); err != nil {
		return fmt.Errorf("%s: %w", hns.OpDeleteEndpoint, context.Canceled)
	}
	_, err := do(c, hns.OpDeleteEndpoint, string(id), 1, func() (struct{}, error) {
		return struct{}{}, c.agent.deletes(id)
	})
	return err
}
