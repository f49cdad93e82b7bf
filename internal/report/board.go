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
	// KubeProxy returns the present profile of the node's kube-proxy.
	KubeProxy func() kubeproxy.Profile
	// HNS returns how HNS has answered recently.
	HNS func() HNS
	// History is what was decided and done.
	History *history.Ring
	// Victims returns the pods that lack their network or have been ending for too long. The writer calls it, after each
	// pass.
	// Default: there are none.
	Victims func() []eviction.Victim
	// LoadBalancers returns those that are broken, and how many have each verdict. The writer calls it, after each
	// complete pass, and changes neither.
	// Default: there are none.
	LoadBalancers func() ([]verdict.Balancer, map[verdict.BalancerKind]int)
	// Clock is the source of time.
	Clock clock.PassiveClock
}

// Board shows the last pass. It has one writer, the guard, and any number of readers.
type Board struct {
	opts    BoardOptions
	started time.Time
	current atomic.Pointer[snapshot]
}

// snapshot is how the last pass ended. It does not change.
type snapshot struct {
	state State
	since time.Time
	err   error
	pass  *lastPass
	// pods are those that lacked their network in the last pass that could read HNS.
	pods []Pod
}

// lastPass is what the report needs of a complete pass. It does not change.
type lastPass struct {
	Pass
	network hns.Network
	// balancers are the broken ones, and balancerCounts all.
	balancers      []verdict.Balancer
	balancerCounts map[verdict.BalancerKind]int
	found          *verdicts
}

// verdicts are those of a pass, and of those after it that have found the same. They do not change.
type verdicts struct {
	all        []verdict.Verdict
	staleSince map[hns.EndpointID]time.Time
	// endpoints are made for the first reader.
	endpoints func() []Endpoint
}

// newVerdicts keeps the verdicts of a pass, which the next pass overwrites.
func newVerdicts(p pass.Pass) *verdicts {
	v := &verdicts{all: slices.Clone(p.Verdicts), staleSince: p.StaleSince}
	v.endpoints = sync.OnceValue(v.makeEndpoints)
	return v
}

// same reports whether a pass has found the same: then it leaves no copy.
func (v *verdicts) same(p pass.Pass) bool {
	return slices.EqualFunc(v.all, p.Verdicts, verdict.Verdict.Equal) && maps.Equal(v.staleSince, p.StaleSince)
}

// NewBoard returns the board of an agent that is starting.
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

// Complete shows a complete pass, after its actions.
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

// Idle shows that there is nothing to guard, and why.
func (b *Board) Idle(why error) { b.show(StateIdle, why, nil) }

// NetworkGone shows that there is no network for the pods that run, and why.
func (b *Board) NetworkGone(why error) { b.show(StateNetworkGone, why, nil) }

// Unknown shows that the node could not be observed. What the last complete pass has found stays (invariant 12).
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

// Report returns what is known now.
func (b *Board) Report() Report {
	s := b.current.Load()
	r := b.objects(s)
	r.Agent = b.agentOf(s)
	r.find(s.state == StateNetworkGone)
	r.Answers = r.answersTo(r.Endpoints)
	r.History = b.opts.History.Entries()
	return r
}

// objects returns a report of what the node has, which says nothing about it.
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

// agentOf is what the agent says of itself.
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

// makeEndpoints makes what is shown of the endpoints, those that need attention first.
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
