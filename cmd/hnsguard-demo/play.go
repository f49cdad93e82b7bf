// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/server"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/world"
)

// Options are the flags, and the output for the timeline.
type Options struct {
	Scenario, Node              string
	Speed                       float64
	Observe, Verdicts, Stay     bool
	MetricsAddress, PageAddress string
	Out                         io.Writer
}

// ErrGuardFailed says that the guard did not do its job.
var ErrGuardFailed = errors.New("hnsguard did not do its job")

// Validate returns all faults of the options.
func (o Options) Validate() error {
	var errs []error
	if o.Speed <= 0 || math.IsNaN(o.Speed) || math.IsInf(o.Speed, 0) {
		errs = append(errs, fmt.Errorf("--speed %g: must be a number greater than zero", o.Speed))
	}
	if o.Scenario != "all" && !slices.Contains(Names(), o.Scenario) {
		errs = append(errs, fmt.Errorf("--scenario %q: must be all, %s", o.Scenario, strings.Join(Names(), ", ")))
	}
	if !slices.Contains(Nodes(), o.Node) {
		errs = append(errs, fmt.Errorf("--node %q: must be %s", o.Node, strings.Join(Nodes(), " or ")))
	}
	if !isAddress(o.MetricsAddress) {
		errs = append(errs, fmt.Errorf(`--metrics-bind-address %q: must be an IP address and a port, such as `+
			`"127.0.0.1:10352", or "0"`, o.MetricsAddress))
	}
	if !isAddress(o.PageAddress) || !server.IsLoopback(o.PageAddress) && o.PageAddress != nowhere {
		errs = append(errs, fmt.Errorf(`--page-bind-address %q: must be a loopback address and a port, such as "%s", or "0"`,
			o.PageAddress, server.PageAddress))
	}
	return errors.Join(errs...)
}

// nowhere is the address that disables a server.
const nowhere = "0"

func isAddress(text string) bool {
	_, err := netip.ParseAddrPort(text)
	return text == nowhere || err == nil
}

// Nodes returns the names of the layouts that a node can have, the default first.
func Nodes() []string {
	var names []string
	for _, l := range hnstest.Layouts() {
		names = append(names, l.Name)
	}
	return names
}

// Play plays the chosen scenarios. It returns [ErrGuardFailed] if the guard may act and a scenario does not end well.
func Play(ctx context.Context, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	chosen := slices.DeleteFunc(scenarios(), func(s scenario) bool { return o.Scenario != "all" && o.Scenario != s.name })
	for _, address := range []*string{&o.MetricsAddress, &o.PageAddress} {
		free, err := withPort(ctx, *address)
		if err != nil {
			return err
		}
		*address = free
	}
	stay := o.Stay
	for at, s := range chosen {
		o.Stay = stay && at == len(chosen)-1
		if err := o.play(ctx, s); err != nil {
			return fmt.Errorf("scenario %s: %w", s.name, err)
		}
	}
	return nil
}

// withPort replaces port 0 with a free one, because the servers of the agent do not report the port that they chose. It
// fails if another port is not free.
func withPort(ctx context.Context, address string) (string, error) {
	if address == nowhere {
		return address, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// stage is the world of one scenario, in which an agent runs in real time.
type stage struct {
	Options
	ctx   context.Context //nolint:containedctx // it ends the scenes
	world *world.World
}

func (s *stage) node() *world.Node { return s.world.Nodes[0] }

// run runs the world for the duration, divided by the speed of the demo.
func (s *stage) run(d time.Duration) { s.wait(time.Duration(float64(d) / s.Speed)) }

// wait runs the world for the duration, at any speed, or until the context ends.
func (s *stage) wait(d time.Duration) {
	end := s.world.Elapsed() + d
	s.within(d+time.Second, func() bool { return s.world.Elapsed() >= end })
}

// until runs the world until a condition is true, which must happen soon.
func (s *stage) until(is func() bool) {
	const soon = 20 * time.Second
	s.within(soon, is)
}

func (s *stage) within(d time.Duration, is func() bool) {
	const glance = 50 * time.Millisecond
	for end := s.world.Elapsed() + d; s.ctx.Err() == nil && s.world.Elapsed() < end && !is(); {
		s.world.Run(glance)
	}
}

// play plays one scenario with its own world and agent.
func (o Options) play(ctx context.Context, sc scenario) error {
	layout := hnstest.Layouts()[slices.Index(Nodes(), o.Node)]
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s := &stage{Options: o, ctx: ctx, world: world.New(world.Setup{ //nolint:contextcheck // it has no agents of its own
		KubeProxy: sc.kubeProxy, NodeVersion: sc.kubeProxy, Order: sc.order, Layout: layout, Latency: time.Millisecond,
		APILatency: 5 * time.Millisecond, Took: 100 * time.Millisecond, Nodes: 1, Services: len(serviceNames()),
		ServiceNames: serviceNames(), Pool: 3, OrphanGrace: grace,
	}, world.Play{Tell: o.say})}
	o.print("", fmt.Sprintf("Scenario %s: %s", sc.name, sc.title))
	o.print("", fmt.Sprintf("Node %s, kube-proxy %s, network %s as on %s.",
		windowsNode, sc.kubeProxy, layout.Pods.Name, strings.ToUpper(layout.Name)))
	if k := s.node().KubeProxy; k.SyncPeriod == 3*syncPeriod {
		k.SyncPeriod = syncPeriod
		o.print("", fmt.Sprintf("kube-proxy syncs every %s instead of every %s.", syncPeriod, 3*syncPeriod))
	}
	a, err := s.newAgent()
	if err != nil {
		return err
	}
	o.introduce()
	ended := make(chan error, 1)
	go func() {
		err := a.Start(ctx)
		stop(errors.Join(errors.New("the agent has ended"), err)) // ends the scenario if the agent ends first
		ended <- err
	}()
	sc.scene(s)
	s.finish()
	if ctx.Err() == nil {
		err = s.summary(sc, a)
	} else { // an unfinished scenario does not show a failure of the agent
		err = fmt.Errorf("running the agent: %w", context.Cause(ctx))
	}
	if o.Stay && err == nil {
		o.print("", "The agent goes on until you press Ctrl+C.")
		s.within(math.MaxInt64/2, func() bool { return false })
	}
	stop(nil)
	s.world.End()
	return errors.Join(err, <-ended)
}

func (s *stage) newAgent() (*agent.Agent, error) {
	policy := config.Default()
	policy.Orphan.GracePeriod.Duration = grace
	policy.Pace.StepInterval = 3 * pollSlow
	policy.Poll.SlowInterval.Duration = pollSlow
	if s.Observe {
		policy.Mode = config.Observe
	}
	options, dependencies, err := s.node().Connect("hnsguard", agent.Options{
		Config: policy, MetricsAddress: s.MetricsAddress, ProbeAddress: "0", PageAddress: s.PageAddress,
		Logger: s.logger(), Clock: clock.RealClock{},
	})
	if err != nil {
		return nil, err
	}
	return agent.New(options, dependencies)
}

// pollSlow is the interval at which the guard reads HNS while nothing happens.
const pollSlow = time.Second

// finish gives the guard time to finish, and then time for one more pass.
func (s *stage) finish() {
	if !s.Observe {
		s.until(func() bool { return len(s.faults()) == 0 || len(s.world.Lost()) > 0 })
	}
	s.wait(pollSlow + pollSlow/2)
}

// faults lists the differences between HNS and the pods of the world.
func (s *stage) faults() []string {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(s.world.Pods)) {
		switch p := s.world.Pods[name]; {
		case p.Deleting:
		case p.Node == windowsNode && !p.Lives():
			faults = append(faults, fmt.Sprintf("pod %s has lost its endpoint to %s", name, p.LostTo))
		case p.Node != windowsNode && !s.hasRemote(p):
			faults = append(faults, fmt.Sprintf("there is no remote endpoint for pod %s", name))
		}
	}
	stale := s.node().Stale()
	for _, id := range slices.Sorted(maps.Keys(stale)) {
		faults = append(faults, fmt.Sprintf("the stale endpoint %s exists: %s", shortened(string(id)), stale[id]))
	}
	for _, v := range s.world.Violations {
		faults = append(faults, v.String())
	}
	return faults
}

// hasRemote reports whether HNS has a remote endpoint for the pod.
func (s *stage) hasRemote(p *world.Pod) bool {
	return slices.ContainsFunc(s.node().Remotes(), func(e hns.Endpoint) bool { return e.Has(p.Addr) })
}
