// SPDX-License-Identifier: Apache-2.0

// Command hnsguard-demo plays incidents from real clusters against the real agent, on a timeline that users can follow.
//
// The agent is the one that hnsguard run starts. Everything around it is package world, in real time: HNS, the API
// server, kube-proxy, the kubelet and its CNI. The demo touches nothing outside of its process. It is a separate
// command, so that hnsguard, which runs as SYSTEM, contains no simulation.
//
// Invariants:
//
//  1. If hnsguard enforces, and in the end a pod has lost its endpoint, a valid endpoint is missing or a stale one
//     exists, the demo fails.
//  2. With --observe hnsguard changes nothing. The demo then reports what went wrong, as on a node without hnsguard,
//     and succeeds.
//  3. The exit status is 0 for success, 1 if hnsguard failed to do its job, 2 for a wrong command line, and 130 if the
//     demo was interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/terminal"
)

func main() {
	discardLogs()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// The exit statuses.
const (
	ExitError       = 1
	ExitUsage       = 2
	ExitInterrupted = 130
)

const usage = `Play an incident from real clusters against the real agent. HNS and the API
server are simulated in this process; nothing else is touched.

With --observe hnsguard changes nothing: this shows what happens without it.

Flags:
`

// Run runs the command and returns its exit status.
func Run(ctx context.Context, args []string, out, errs io.Writer) int {
	o := Options{Out: terminal.NewWriter(out, os.LookupEnv)}
	switch err := parse(&o, args, errs); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintf(errs, "hnsguard-demo: %v\nSee 'hnsguard-demo --help'.\n", err)
		return ExitUsage
	}
	err := Play(ctx, o)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil && !errors.Is(err, ErrGuardFailed):
		_, _ = fmt.Fprintln(errs, "hnsguard-demo: interrupted")
		return ExitInterrupted
	default:
		_, _ = fmt.Fprintf(errs, "hnsguard-demo: %v\n", err)
		return ExitError
	}
}

func parse(o *Options, args []string, errs io.Writer) error {
	flags := flag.NewFlagSet("hnsguard-demo", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.Scenario, "scenario", "incident", "one of: all, "+strings.Join(Names(), ", "))
	flags.StringVar(&o.Node, "node", Nodes()[0], "whose networks the node has: "+strings.Join(Nodes(), ", "))
	flags.Float64Var(&o.Speed, "speed", 1, "play this many times faster")
	flags.BoolVar(&o.Observe, "observe", false, "change nothing, to show what happens without hnsguard")
	flags.BoolVar(&o.Verdicts, "verdicts", false, "show every decision, not only actions")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", "127.0.0.1:0",
		`where to serve metrics; port 0 means any free port, "0" disables them`)
	flags.StringVar(&o.PageAddress, "page-bind-address", "127.0.0.1:0",
		`where to serve the node page; port 0 means any free port, "0" disables it`)
	flags.BoolVar(&o.Stay, "stay", false, "continue after the end until interrupted, to look at the node page")
	flags.Usage = func() {
		_, _ = fmt.Fprint(errs, usage)
		flags.SetOutput(errs)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: hnsguard-demo takes no arguments", flags.Arg(0))
	}
	return o.Validate()
}

// discardLogs drops the logs of controller-runtime, client-go and the standard library, which the timeline replaces.
// These loggers are global, so it must be called once, before anything logs.
func discardLogs() {
	logf.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	slog.SetDefault(slog.New(slog.DiscardHandler))
}
