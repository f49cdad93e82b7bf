// SPDX-License-Identifier: Apache-2.0

package report

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/eviction"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/pass"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/internal/version"
)

// BoardOptions configure a board. All but Victims and LoadBalancers are required.
type BoardOptions struct {
	// Node is the name of the node.
	Node string
	// Config is the configuration in effect.
	Config config.Config
	// KubeProxy returns the current profile of the node's kube-proxy.
	KubeProxy func() kubeproxy.Profile
	// HNS returns the health of HNS.
	HNS func() HNS
	// History has the decisions and acts.
	History *history.Ring
	// Victims returns the pods that lack their network or take too long to end. The writer calls it after each pass.
	// Default: none.
	Victims func() []eviction.Victim
	// LoadBalancers returns the broken load balancers, and the number of load balancers by verdict. The writer calls it
	// after each complete pass, and modifies neither.
	// Default: none.
	LoadBalancers func() ([]verdict.Balancer, map[verdict.BalancerKind]int)
	// Clock is the source of time.
	Clock clock.PassiveClock
}

// Board has the last pass. It has one writer, the guard, and any number of readers.
type Board struct {
	opts    BoardOptions
	started time.Time
	current atomic.Pointer[snapshot]
}

// snapshot is the outcome of the last pass. It does not change.
type snapshot struct {
	state State
	since time.Time
	err   error
	pass  *lastPass
	// pods are the pods without network in the last pass that could read HNS.
	pods []Pod
}

// lastPass is the part of a complete pass that reports need. It does not change.
type lastPass struct {
	Pass
	network hns.Network
	// balancers are the broken load balancers, and balancerCounts counts all.
	balancers      []verdict.Balancer
	balancerCounts map[verdict.BalancerKind]int
	found          *verdicts
}

// verdicts are the verdicts of a pass, and of later passes with the same verdicts. They do not change.
type verdicts struct {
	all        []verdict.Verdict
	staleSince map[hns.EndpointID]time.Time
	// endpoints are built for the first reader.
	endpoints func() []Endpoint
}

// newVerdicts copies the verdicts of a pass, because the next pass overwrites them.
func newVerdicts(p pass.Pass) *verdicts {
	v := &verdicts{all: slices.Clone(p.Verdicts), staleSince: p.StaleSince}
	v.endpoints = sync.OnceValue(v.makeEndpoints)
	return v
}

// same reports whether a pass has the same verdicts, so that they need not be copied.
func (v *verdicts) same(p pass.Pass) bool {
	return slices.EqualFunc(v.all, p.Verdicts, verdict.Verdict.Equal) && maps.Equal(v.staleSince, p.StaleSince)
}

// NewBoard returns the board of a starting agent.
func NewBoard(o BoardOptions) *Board {
	if o.Victims == nil {
		o.Victims = func() []eviction.Victim { return nil }
	}
	if o.LoadBalancers == nil {
		o.LoadBalancers = func() ([]verdict.Balancer, map[verdict.BalancerKind]int) { return nil, nil }
	}
	b := &Board{opts: o, started: o.Clock.Now().UTC()}
	b.current.Store(&snapshot{state: StateStarting, since: b.started})
	return b
}

// Complete records a complete pass, after its actions.
func (b *Board) Complete(p pass.Pass, began time.Time) {
	now, snap := b.opts.Clock.Now(), p.Evidence.Snapshot
	shown := &lastPass{
		Pass:    Pass{Ended: now.UTC(), DurationSeconds: now.Sub(began).Seconds(), Waiting: p.Waiting},
		network: snap.Network,
	}
	shown.balancers, shown.balancerCounts = b.opts.LoadBalancers()
	if snap.LoadBalancersKnown {
		shown.LoadBalancers = new(len(snap.LoadBalancers))
	}
	if before := b.current.Load().pass; before != nil && before.found.same(p) {
		shown.found = before.found
	} else {
		shown.found = newVerdicts(p)
	}
	state := StateGuarding
	if !b.opts.Config.EnforcesRemoval(false) {
		state = StateObserving
	}
	b.show(state, nil, shown)
}

// Idle records that there is nothing to guard, and why.
func (b *Board) Idle(why error) { b.show(StateIdle, why, nil) }

// NetworkGone records that running pods have no network, and why.
func (b *Board) NetworkGone(why error) { b.show(StateNetworkGone, why, nil) }

// Unknown records that the node could not be observed. The last complete pass remains (invariant 12).
func (b *Board) Unknown(err error) { b.show(StateUnknown, err, b.current.Load().pass) }

func (b *Board) show(state State, err error, p *lastPass) {
	before := b.current.Load()
	next := &snapshot{state: state, since: before.since, err: err, pass: p}
	for _, v := range b.opts.Victims() {
		next.pods = append(next.pods, podOf(v))
	}
	if before.state != state {
		next.since = b.opts.Clock.Now().UTC()
	}
	b.current.Store(next)
}

func podOf(v eviction.Victim) Pod {
	return Pod{
		Name: v.Pod.Key.String(), State: v.State, Addresses: v.Pod.Addresses, Since: v.Since.UTC(),
		Created: v.Pod.Created.UTC(), Ends: v.Pod.Ends.UTC(),
	}
}

// Report returns the report on the current state.
func (b *Board) Report() Report {
	s := b.current.Load()
	r := b.objects(s)
	r.Agent = b.agentOf(s)
	r.find(s.state == StateNetworkGone)
	r.Answers = r.answersTo(r.Endpoints)
	r.History = b.opts.History.Entries()
	return r
}

// objects returns a report with the objects of the node, but without findings and answers.
func (b *Board) objects(s *snapshot) Report {
	r := newReport(b.opts.Node, b.opts.Clock.Now(), b.opts.Config, b.opts.KubeProxy())
	r.Pods = append(r.Pods, s.pods...)
	if s.pass != nil {
		r.Network = networkOf(s.pass.network)
		r.Endpoints = s.pass.found.endpoints()
		maps.Copy(r.LoadBalancerCounts, s.pass.balancerCounts)
		for _, v := range s.pass.balancers {
			r.LoadBalancers = append(r.LoadBalancers, BalancerOf(v))
		}
	}
	r.count(r.Endpoints)
	return r
}

// agentOf returns the agent's part of the report.
func (b *Board) agentOf(s *snapshot) *Agent {
	a := &Agent{
		Agent: version.Get(), Started: b.started, State: s.state, Since: s.since, HNS: b.opts.HNS(), Config: b.opts.Config,
	}
	if s.err != nil {
		a.Message = s.err.Error()
	}
	if s.state == StateUnknown {
		a.Class = hns.ClassOf(s.err)
	}
	if s.pass != nil {
		a.Pass = new(s.pass.Pass)
	}
	return a
}

// makeEndpoints returns the report on the endpoints, those that need attention first.
func (v *verdicts) makeEndpoints() []Endpoint {
	all := make([]Endpoint, 0, len(v.all))
	for _, one := range v.all {
		e := EndpointOf(one)
		e.StaleSince = v.staleSince[one.Endpoint.ID].UTC()
		all = append(all, e)
	}
	slices.SortFunc(all, Endpoint.Compare)
	return all
}
