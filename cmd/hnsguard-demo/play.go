// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/agent"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// Options say what to play and how.
type Options struct {
	// Scenario is the name of one, or "all".
	Scenario string
	// Node is the name of the layout of the node's networks.
	Node string
	// Speed is how many times faster the actors act than they do by default.
	Speed float64
	// Observe forbids the guard to act: the scenario ends as it does without hnsguard.
	Observe bool
	// Verdicts shows every decision, not only actions.
	Verdicts bool
	// MetricsAddress is where the agent serves its metrics; "0" disables them. Port 0 means any free port.
	MetricsAddress string
	// PageAddress is where the agent serves the node page; "0" disables it. Port 0 means any free port.
	PageAddress string
	// Stay keeps the agent of the last scenario running after its end, until the context ends.
	Stay bool
	// Out is where the timeline is written.
	Out io.Writer
	// Clock is what the agent and the actors wait by.
	Clock clock.Clock
}

// ErrGuardFailed means that the guard did not do its job.
var ErrGuardFailed = errors.New("hnsguard did not do its job")

// Validate returns everything that is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	if o.Speed <= 0 {
		errs = append(errs, fmt.Errorf("--speed %g: must be greater than zero", o.Speed))
	}
	if o.Scenario != "all" && !slices.Contains(Names(), o.Scenario) {
		errs = append(errs, fmt.Errorf("--scenario %q: must be all, %s", o.Scenario, strings.Join(Names(), ", ")))
	}
	if !slices.Contains(Nodes(), o.Node) {
		errs = append(errs, fmt.Errorf("--node %q: must be %s", o.Node, strings.Join(Nodes(), " or ")))
	}
	return errors.Join(errs...)
}

// Nodes lists the names of the layouts that a node can have, the default first.
func Nodes() []string {
	var names []string
	for _, l := range hnstest.Layouts() {
		names = append(names, l.Name)
	}
	return names
}

// Play plays the chosen scenarios. It returns [ErrGuardFailed] if the guard may act and HNS does not hold what it
// should at the end.
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

// withPort replaces port 0 with a free one: the servers of the agent do not report the port that they chose.
func withPort(ctx context.Context, address string) (string, error) {
	if _, port, err := net.SplitHostPort(address); err != nil || port != "0" {
		return address, nil //nolint:nilerr // a wrong address is reported when it is listened on
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// play plays one scenario with an agent of its own.
func (o Options) play(ctx context.Context, sc scenario) error {
	_, _ = fmt.Fprintf(o.Out, "Scenario %s: %s\n", sc.name, sc.title)
	layout := hnstest.Layouts()[slices.Index(Nodes(), o.Node)]
	_, _ = fmt.Fprintf(o.Out, "Node %s, kube-proxy %s, network %s as on %s.\n"+
		"HNS and the API server are simulated in this process; nothing else is touched.\n",
		windowsNode, sc.kubeProxy, layout.Pods.Name, strings.ToUpper(layout.Name))
	if o.Observe {
		_, _ = fmt.Fprintln(o.Out, "hnsguard only observes: this is what happens without it.")
	}
	server, err := newAPI()
	if err != nil {
		return err
	}
	service := hnstest.New(hnstest.Options{Latency: time.Millisecond, Clock: o.Clock})
	s := &stage{
		api: server, service: service, log: &narrator{out: o.Out, clock: o.Clock}, made: map[string]hns.EndpointID{},
		network: service.Build(layout, netip.MustParsePrefix("10.244.0.0/16")),
	}
	a, err := o.newAgent(sc, s)
	if err != nil {
		return err
	}
	if o.MetricsAddress != "0" {
		_, _ = fmt.Fprintf(o.Out, "Metrics are at http://%s/metrics%s\n", o.MetricsAddress, o.howLong())
	}
	if o.servesPage() {
		_, _ = fmt.Fprintf(o.Out, "The node page is at http://%s/%s\n", o.PageAddress, o.howLong())
	}
	_, _ = fmt.Fprintln(o.Out)
	return o.perform(ctx, sc, s, a)
}

// howLong says what keeps what the agent serves, since it ends with the story.
func (o Options) howLong() string {
	if o.Stay {
		return ""
	}
	return " (use --stay to keep it)"
}

func (o Options) servesPage() bool { return o.PageAddress != "" && o.PageAddress != "0" }

// pollSlow is how often the guard reads HNS while nothing happens.
const pollSlow = time.Second

func (o Options) newAgent(sc scenario, s *stage) (*agent.Agent, error) {
	policy := config.Default()
	policy.Orphan.GracePeriod.Duration = grace
	policy.Pace.StepInterval = 3 * pollSlow
	policy.Poll.SlowInterval.Duration = pollSlow
	policy.Conflict.HoldTimeout.Duration = grace / 3
	if o.Observe {
		policy.Mode = config.Observe
	}
	options := agent.Options{
		Node: windowsNode, Namespace: "hnsguard", Config: policy, HNS: s.service,
		KubeProxy:      detect.Options{Version: sc.kubeProxy},
		MetricsAddress: o.MetricsAddress, ProbeAddress: "0", PageAddress: o.PageAddress,
		Logger: s.log.logger(o.Verdicts), Clock: o.Clock,
	}
	mgr, err := s.api.manager(options)
	if err != nil {
		return nil, err
	}
	return agent.New(options, agent.Dependencies{
		Manager: mgr, Reader: s.api, Watcher: s.api, NoWatchList: true, Events: s.log, Freshness: s.api,
	})
}

// perform runs the agent while the actors act, and sums up.
func (o Options) perform(ctx context.Context, sc scenario, s *stage, a *agent.Agent) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- a.Start(ctx) }()
	watched := make(chan struct{})
	go func() {
		s.api.watched.Wait()
		close(watched)
	}()
	select {
	case <-watched:
	case err := <-ended:
		return endedEarly(ctx, err)
	}
	s.log.begin()
	for _, step := range sc.steps {
		select {
		case <-o.Clock.After(time.Duration(float64(step.after) / o.Speed)):
		case err := <-ended:
			return endedEarly(ctx, err)
		}
		if err := step.do(ctx, s); err != nil {
			return err
		}
	}
	if o.awaitEnd(ctx, sc, s); ctx.Err() != nil {
		return endedEarly(ctx, <-ended) // what the agent has not done by then says nothing about it
	}
	err := o.summary(sc, s, a)
	if o.Stay && err == nil {
		_, _ = fmt.Fprintln(o.Out, "The agent goes on until you press Ctrl+C.")
		<-ctx.Done()
	}
	stop()
	return errors.Join(err, <-ended)
}

// endedEarly says why the agent ended before the story did. An interrupted agent ends without an error.
func endedEarly(ctx context.Context, err error) error {
	if err := errors.Join(ctx.Err(), err); err != nil {
		return fmt.Errorf("running the agent: %w", err)
	}
	return errors.New("running the agent: it ended before the scenario did")
}

// patience is how long the guard may take to finish. It reads load balancers again only after some time, if the last
// reading kept an orphan.
const patience = 20 * time.Second

// awaitEnd gives the guard time to finish, which a fast timeline does not, and then time for one more pass.
func (o Options) awaitEnd(ctx context.Context, sc scenario, s *stage) {
	wait := patience
	if o.Observe {
		wait = 0
	}
	for deadline := o.Clock.Now().Add(wait); ctx.Err() == nil && o.Clock.Now().Before(deadline) && len(sc.faults(s)) > 0; {
		o.pause(ctx, pollSlow/10)
	}
	o.pause(ctx, pollSlow+pollSlow/2)
}

// pause waits, but not beyond the end of the context.
func (o Options) pause(ctx context.Context, d time.Duration) {
	select {
	case <-o.Clock.After(d):
	case <-ctx.Done():
	}
}

// faults lists the endpoints that HNS holds and should not, and those that it should hold and does not.
func (sc scenario) faults(s *stage) []string {
	present := map[hns.EndpointID]bool{}
	for _, e := range s.service.State().Endpoints {
		present[e.ID] = true
	}
	var faults []string
	for _, name := range sc.stays {
		if !present[s.made[name]] {
			faults = append(faults, fmt.Sprintf("the %s endpoint %s is gone and should exist", name, short(s.made[name])))
		}
	}
	for _, name := range sc.goes {
		if present[s.made[name]] {
			faults = append(faults, fmt.Sprintf("the %s endpoint %s exists and should be gone", name, short(s.made[name])))
		}
	}
	return faults
}

// summary prints what HNS holds at the end, and judges it (invariants 1 and 2).
func (o Options) summary(sc scenario, s *stage, a *agent.Agent) error {
	_, _ = fmt.Fprintln(o.Out, "\nWhat HNS holds at the end:")
	table := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "  ENDPOINT\tIP\tKIND\tROLE")
	for _, e := range s.service.State().Endpoints {
		kind := "local"
		if e.Remote() {
			kind = "remote"
		}
		_, _ = fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", short(e.ID), e.Addresses[0], kind, s.nameOf(e.ID))
	}
	_ = table.Flush()
	_, _ = fmt.Fprintln(o.Out, "What hnsguard counted:")
	if err := printCounts(o.Out, a.Metrics(), "hnsguard_removals_total", "hnsguard_flushes_total",
		"hnsguard_endpoints"); err != nil {
		return err
	}
	faults := strings.Join(sc.faults(s), "; ")
	switch {
	case faults == "":
		_, _ = fmt.Fprintf(o.Out, "Result: as it should be. %s\n\n", sc.happyEnd())
		return nil
	case o.Observe:
		_, _ = fmt.Fprintf(o.Out, "Result without hnsguard: %s. %s\n"+
			"Play it without --observe to see what hnsguard does.\n\n", faults, sc.loss)
		return nil
	default:
		return fmt.Errorf("%w: %s", ErrGuardFailed, faults)
	}
}

func (sc scenario) happyEnd() string {
	if sc.outcome != "" {
		return sc.outcome
	}
	if len(sc.goes) == 0 {
		return "Nothing was removed."
	}
	return fmt.Sprintf("The %s endpoint is gone; all others are untouched.", strings.Join(sc.goes, " and the "))
}

func (s *stage) nameOf(id hns.EndpointID) string {
	for name, made := range s.made {
		if made == id {
			return name
		}
	}
	return ""
}

// printCounts prints the non-zero series of some metrics in Prometheus notation.
func printCounts(w io.Writer, from prometheus.Gatherer, names ...string) error {
	families, err := from.Gather()
	if err != nil {
		return fmt.Errorf("gathering metrics: %w", err)
	}
	for _, family := range families {
		if !slices.Contains(names, family.GetName()) {
			continue
		}
		for _, m := range family.GetMetric() {
			if value := m.GetCounter().GetValue() + m.GetGauge().GetValue(); value != 0 {
				_, _ = fmt.Fprintf(w, "  %s{%s} %g\n", family.GetName(), labelsOf(m), value)
			}
		}
	}
	return nil
}

func labelsOf(m *dto.Metric) string {
	labels := make([]string, 0, len(m.GetLabel()))
	for _, l := range m.GetLabel() {
		labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	return strings.Join(labels, ",")
}
