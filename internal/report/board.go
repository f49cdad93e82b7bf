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
	// KubeProxy returns what is known of the node's kube-proxy now.
	KubeProxy func() kubeproxy.Profile
	// HNS returns how HNS has answered lately.
	HNS func() HNS
	// History is what was decided and done.
	History *history.Ring
	// Victims returns the pods that lack their network. The writer calls it, after each pass.
	// Default: there are none.
	Victims func() []eviction.Victim
	// LoadBalancers returns those that are broken. The writer calls it, after each complete pass.
	// Default: there are none.
	LoadBalancers func() []verdict.Balancer
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
	// victims are those of the last pass that could read HNS.
	victims []Victim
}

// lastPass is what the document needs of a complete pass. It does not change.
type lastPass struct {
	Pass
	// balancers are the broken ones.
	balancers []verdict.Balancer
	found     *findings
}

// findings are the verdicts of a pass, and of those after it that have found the same. They do not change.
type findings struct {
	verdicts   []verdict.Verdict
	staleSince map[hns.EndpointID]time.Time
	// rows are made for the first reader.
	rows func() []NodeEndpoint
}

// newFindings keeps the verdicts of a pass, which the next pass overwrites.
func newFindings(p pass.Pass) *findings {
	f := &findings{verdicts: slices.Clone(p.Verdicts), staleSince: p.StaleSince}
	f.rows = sync.OnceValue(f.makeRows)
	return f
}

// same reports whether a pass has found the same: then it leaves no copy.
func (f *findings) same(p pass.Pass) bool {
	return slices.EqualFunc(f.verdicts, p.Verdicts, verdict.Verdict.Equal) && maps.Equal(f.staleSince, p.StaleSince)
}

// NewBoard returns the board of an agent that is starting.
func NewBoard(o BoardOptions) *Board {
	if o.Victims == nil {
		o.Victims = func() []eviction.Victim { return nil }
	}
	if o.LoadBalancers == nil {
		o.LoadBalancers = func() []verdict.Balancer { return nil }
	}
	b := &Board{opts: o, started: o.Clock.Now().UTC()}
	b.current.Store(&snapshot{state: StateStarting, since: b.started})
	return b
}

// Complete shows a complete pass, after its actions.
func (b *Board) Complete(p pass.Pass, began time.Time) {
	now, snap := b.opts.Clock.Now(), p.Evidence.Snapshot
	shown := &lastPass{
		Pass: Pass{
			Ended: now.UTC(), DurationSeconds: now.Sub(began).Seconds(), Waiting: p.Waiting,
			Network: Network{
				ID: snap.Network.ID, Name: snap.Network.Name, Type: snap.Network.Type, Subnets: snap.Network.Subnets,
			},
		},
	}
	shown.balancers = b.opts.LoadBalancers()
	if snap.LoadBalancersKnown {
		shown.LoadBalancers = new(len(snap.LoadBalancers))
	}
	if before := b.current.Load().pass; before != nil && before.found.same(p) {
		shown.found = before.found
	} else {
		shown.found = newFindings(p)
	}
	b.show(StateGuarding, nil, shown)
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
		next.victims = append(next.victims, Victim{v.Pod.Key.String(), v.Pod.Addresses[0], v.State, v.Since.UTC()})
	}
	if before.state != state {
		next.since = b.opts.Clock.Now().UTC()
	}
	b.current.Store(next)
}

// Document returns what is known now.
func (b *Board) Document() NodeStatus { return b.documentOf(b.current.Load()) }

func (b *Board) documentOf(s *snapshot) NodeStatus {
	d := b.headOf(s)
	d.Counts, d.Endpoints, d.Answers = map[verdict.Kind]int{}, []NodeEndpoint{}, map[string]Answer{}
	if s.pass != nil {
		d.Endpoints = s.pass.found.rows()
	}
	for _, e := range d.Endpoints {
		d.Counts[verdict.Kind(e.Verdict)]++
		if _, has := d.Answers[AnswerKey(e)]; has {
			continue
		}
		if answer, known := AnswerFor(verdict.Kind(e.Verdict), verdict.Reason(e.Reason)); known {
			d.Answers[AnswerKey(e)] = answer
		}
	}
	d.History = b.opts.History.Entries()
	return d
}

// headOf is the part of a document that does not grow.
func (b *Board) headOf(s *snapshot) NodeStatus {
	d := NodeStatus{
		APIVersion: APIVersion, Kind: Kind, Time: b.opts.Clock.Now().UTC(), Node: b.opts.Node, Agent: version.Get(),
		Started: b.started, State: s.state, Since: s.since, Mode: b.opts.Config.Mode, Config: b.opts.Config,
		KubeProxy: kubeProxyOf(b.opts.KubeProxy()),
		HNS:       b.opts.HNS(),
		Victims:   s.victims,
	}
	if s.err != nil {
		d.Message = s.err.Error()
	}
	if s.state == StateUnknown {
		d.Class = hns.ClassOf(s.err)
	}
	if s.pass != nil {
		d.Pass = new(s.pass.Pass)
		for _, v := range s.pass.balancers {
			balancer := BalancerOf(v)
			balancer.Answer = new(balancer.answer(b.opts.Config.EffectiveModes()["reprogram"]))
			d.LoadBalancers = append(d.LoadBalancers, balancer)
		}
	}
	return d
}

// makeRows makes the rows of the endpoints, those that need attention first.
func (f *findings) makeRows() []NodeEndpoint {
	rows := make([]NodeEndpoint, 0, len(f.verdicts))
	for _, v := range f.verdicts {
		rows = append(rows, NodeEndpoint{
			Row: RowOf(v), Network: v.Endpoint.Network, Attached: v.Endpoint.Attached(),
			StaleSince: f.staleSince[v.Endpoint.ID].UTC(), Due: v.Due.UTC(),
		})
	}
	slices.SortFunc(rows, func(a, b NodeEndpoint) int { return a.Compare(b.Row) })
	return rows
}
