// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/cmd/hnsguard-verify/node"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/version"
	"github.com/hnsguard/hnsguard/test/hnstest/contract"
)

// Process is what the command needs from its process and machine.
type Process struct {
	In       io.Reader
	Out, Err io.Writer
	Machine  func() (node.Machine, error)
	// Open opens HNS. Networks that need a network adapter are created on the named one.
	Open  func(adapter string) (contract.Service, error)
	Clock clock.PassiveClock
}

// The exit statuses (invariant 4).
const (
	ExitOK          = 0
	ExitError       = 1
	ExitUsage       = 2
	ExitInterrupted = 130
)

const usage = `Try on this Windows node what hnsguard assumes of HNS, and print whether it was confirmed, refuted or not
tried, and what was seen.

It creates a network, and endpoints, load balancers and namespaces on it, and deletes all of them again. It
touches nothing else, and prompts before it begins. Run it as administrator on a node without pods; it takes minutes.

  hnsguard-verify                                      on a private network, which needs no network adapter
  hnsguard-verify --type L2Bridge --adapter Ethernet2  on a network of a type that takes over a spare adapter
  hnsguard-verify --network spare                      on a network that is there, and that nothing uses
  hnsguard-verify --yes -o json > result.json          for a script, or to send us
  hnsguard-verify --clean                              delete what a run that crashed has left

Exit status: 0 if all checks ran, whatever they saw; 1 for an error; 2 for a wrong command line; 130 after Ctrl+C.

Flags:
`

// options are the flags.
type options struct {
	network, kind, adapter, output string
	endpoints                      int
	yes, clean                     bool
}

// CallTimeout is the default of hns.callTimeout.
const CallTimeout = 10 * time.Second

// minBuild is Windows Server 2019.
const minBuild = 17763

func onAdapter() []string { return []string{"L2Bridge", "L2Tunnel", "Overlay", "Transparent"} }
func onNone() []string    { return []string{"Private", "Internal", "NAT"} }

// Run runs the command and returns its exit status.
func Run(ctx context.Context, args []string, p Process) int {
	o, err := parse(args, p.Err)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return ExitOK
	case err != nil:
		_, _ = fmt.Fprintf(p.Err, "hnsguard-verify: %v\nSee 'hnsguard-verify --help'.\n", err)
		return ExitUsage
	}
	err = do(ctx, p, o)
	switch {
	case ctx.Err() != nil:
		_, _ = fmt.Fprintf(p.Err, "hnsguard-verify: interrupted%s\n", afterwards(err))
		return ExitInterrupted
	case err != nil:
		_, _ = fmt.Fprintf(p.Err, "hnsguard-verify: %v\n", err)
		return ExitError
	default:
		return ExitOK
	}
}

// afterwards says whether an interrupted run has left anything behind.
func afterwards(err error) string {
	if left := (leftError{}); errors.As(err, &left) {
		return ": " + left.Error()
	}
	return "; everything that was created has been deleted"
}

func parse(args []string, errs io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("hnsguard-verify", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.network, "network", "", "create endpoints on this network, which must have none")
	flags.StringVar(&o.kind, "type", "Private", "create a network of this type: "+
		strings.Join(slices.Concat(onNone(), onAdapter()), ", "))
	flags.StringVar(&o.adapter, "adapter", "", "network adapter for the network; its connections are interrupted")
	flags.IntVar(&o.endpoints, "endpoints", 1000, "measure the calls with up to this many endpoints")
	flags.StringVar(&o.output, "o", "", "output format: json; without it, text")
	flags.BoolVar(&o.yes, "yes", false, "do not ask")
	flags.BoolVar(&o.clean, "clean", false, "only delete what an earlier run has left")
	flags.Usage = func() {
		_, _ = fmt.Fprint(errs, usage)
		flags.SetOutput(errs)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return o, o.validate(flags.Args(), given)
}

// validate returns all faults at once.
func (o *options) validate(rest []string, given map[string]bool) error {
	var faults []error
	fault := func(is bool, format string, values ...any) {
		if is {
			faults = append(faults, fmt.Errorf(format, values...))
		}
	}
	fault(len(rest) > 0, "%q: there are no arguments", strings.Join(rest, " "))
	fault(o.output != "" && o.output != "json", "-o %q: must be json", o.output)
	fault(o.endpoints < 10 || o.endpoints > 10000, "--endpoints %d: must be from 10 to 10000", o.endpoints)
	fault(given["network"] && (given["type"] || given["adapter"]), "--network: not with --type or --adapter")
	fault(o.network == contract.NetworkName, "--network %s: this name is reserved for the new network", o.network)
	kinds := slices.Concat(onNone(), onAdapter())
	known := slices.IndexFunc(kinds, func(k string) bool { return strings.EqualFold(k, o.kind) })
	fault(known < 0, "--type %q: must be one of %s", o.kind, strings.Join(kinds, ", "))
	if known >= 0 {
		o.kind = kinds[known]
		needs := known >= len(onNone())
		fault(needs && o.adapter == "", "--type %s: takes over a network adapter; name a spare one with --adapter", o.kind)
		fault(!needs && o.adapter != "", "--adapter: a network of type %s has none", o.kind)
	}
	return errors.Join(faults...)
}

// do runs the command with the given flags.
func do(ctx context.Context, p Process, o options) error {
	machine, err := p.Machine()
	if err == nil {
		err = usable(machine)
	}
	if err != nil {
		return err
	}
	service, err := p.Open(o.adapter)
	if err != nil {
		return err
	}
	if o.clean {
		return clean(ctx, p, service)
	}
	return verify(ctx, p, o, machine, service)
}

// usable returns why the command cannot run here (invariant 2).
func usable(m node.Machine) error {
	switch {
	case m.Build < minBuild:
		return fmt.Errorf("this is Windows %s; hnsguard needs Windows Server 2019 (build %d) or later", m.Windows, minBuild)
	case !m.Elevated && !m.LocalSystem:
		return errors.New("only an administrator may write to HNS; start it in a shell of an administrator")
	default:
		return nil
	}
}

// leftError says that a run has left something behind.
type leftError struct{ error }

func clean(ctx context.Context, p Process, service contract.Service) error {
	deleted, err := contract.Clean(ctx, service)
	for _, what := range deleted {
		_, _ = fmt.Fprintf(p.Err, "deleted %s\n", what)
	}
	if err != nil {
		return leftError{fmt.Errorf("what is left may have to be deleted with --clean, later: %w", err)}
	}
	if len(deleted) == 0 {
		_, _ = fmt.Fprintln(p.Err, "nothing was left")
	}
	return nil
}

// verify runs the checks.
func verify(ctx context.Context, p Process, o options, m node.Machine, service contract.Service) (err error) {
	networks, err := service.Networks(ctx)
	if err != nil {
		return fmt.Errorf("HNS does not answer: %w", err)
	}
	network, err := choose(ctx, service, networks, o)
	if err != nil {
		return err
	}
	text, errVersion := service.Version(ctx)
	if errVersion != nil {
		text = "of an unknown version"
	}
	if !o.yes {
		if err := confirm(ctx, p, o, network, fmt.Sprintf("Windows %s, HNS %s", m.Windows, text)); err != nil {
			return err
		}
	}
	defer func() {
		if _, cleanErr := contract.Clean(context.WithoutCancel(ctx), service); cleanErr != nil {
			err = errors.Join(err, leftError{fmt.Errorf("something is left; delete it with --clean: %w", cleanErr)})
		}
	}()
	if _, err := contract.Clean(ctx, service); err != nil { // leftovers of a crashed run would be in the way
		return err
	}
	if network.ID == "" {
		if network, err = service.CreateNetwork(ctx, network.Name, network.Type, network.Subnets[0]); err != nil {
			return err
		}
	}
	results, err := contract.Run(ctx, service, contract.Options{
		Network: network, Endpoints: o.endpoints, CallTimeout: CallTimeout, LocalSystem: m.LocalSystem, Clock: p.Clock,
		Report: func(r contract.Result) { _, _ = fmt.Fprintf(p.Err, "%-10s %s\n", r.Outcome, r.ID) },
	})
	if results == nil {
		return err
	}
	return errors.Join(err, show(p, o.output, contract.Report{
		Format: contract.ReportFormat, Build: version.Get().Version, Date: p.Clock.Now().UTC().Format(time.DateOnly),
		Windows: m.Windows, HNS: text, Network: network.Type, LocalSystem: m.LocalSystem, Results: results,
	}))
}

// choose returns the network to use; a network without an ID must be created (invariant 2).
func choose(ctx context.Context, s contract.Service, networks []hns.Network, o options) (hns.Network, error) {
	if o.network == "" {
		for _, n := range networks {
			for _, subnet := range n.Subnets {
				if subnet.Overlaps(contract.Subnet()) && n.Name != contract.NetworkName {
					return n, fmt.Errorf("network %q has %s, which the new network would overlap; "+
						"name a spare one with --network", n.Name, subnet)
				}
			}
		}
		return hns.Network{
			Name: contract.NetworkName, Type: hns.NetworkType(o.kind), Subnets: []netip.Prefix{contract.Subnet()},
		}, nil
	}
	var named []hns.Network
	for _, n := range networks {
		if n.Name == o.network {
			named = append(named, n)
		}
	}
	if len(named) != 1 {
		return hns.Network{}, fmt.Errorf("there are %d networks with the name %q", len(named), o.network)
	}
	if _, err := contract.SubnetOf(named[0], o.endpoints); err != nil {
		return named[0], err
	}
	return named[0], contract.Unused(ctx, s, named[0])
}

// confirm describes what the command will do, and prompts (invariant 1).
func confirm(ctx context.Context, p Process, o options, network hns.Network, machine string) error {
	where := fmt.Sprintf("use the network %q (%s)", network.Name, network.Type)
	if network.ID == "" {
		on := "no network adapter"
		if o.adapter != "" {
			on = "the network adapter " + o.adapter + ", whose connections it interrupts"
		}
		where = fmt.Sprintf("create the network %q (%s, %s), on %s", network.Name, network.Type, network.Subnets[0], on)
	}
	_, _ = fmt.Fprintf(p.Err, `On this machine (%s) this will:
- %s
- create up to %d endpoints, and some load balancers and namespaces, on it
- delete all of that again, and what an earlier run has left
Continue? [y/N] `, machine, where, o.endpoints)
	answers := make(chan string, 1)
	go func() {
		answer, err := bufio.NewReader(p.In).ReadString('\n')
		if err != nil && answer == "" {
			answer = noAnswer
		}
		answers <- strings.TrimSpace(answer)
	}()
	select {
	case answer := <-answers:
		switch {
		case strings.EqualFold(answer, "y"):
			return nil
		case answer == noAnswer:
			_, _ = fmt.Fprintln(p.Err)
			return errors.New("there is no answer; nothing was changed. Scripts pass --yes")
		default:
			return errors.New("nothing was changed")
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// noAnswer is the answer if the input has ended.
const noAnswer = "end of input"
