// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/demo"
)

func newDemo(p Process) *cobra.Command {
	o := demo.Options{Out: p.Out, Clock: clock.RealClock{}}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play an incident against hnsguard, without a cluster and without Windows",
		Long: "Play an incident from real clusters against the real agent. HNS and the API server are simulated in this\n" +
			"process; nothing else is touched. The exit status is 0 if hnsguard did its job.\n\n" +
			"With --observe hnsguard changes nothing: this shows what happens without it. The demo says at the end what was\n" +
			"lost, and the exit status is 0. The exit status is 130 if the demo is interrupted before its end.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd.Flags(), p.Env, nil); err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return usageError{err}
			}
			setGlobal(logr.Discard()) // the timeline replaces the log
			if err := demo.Play(cmd.Context(), o); err != nil {
				if cmd.Context().Err() != nil && !errors.Is(err, demo.ErrGuardFailed) {
					return errInterrupted
				}
				return fmt.Errorf("demo: %w", err)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Scenario, "scenario", "incident", "all, "+strings.Join(demo.Names(), ", "))
	completeValues(cmd, "scenario", append([]string{"all"}, demo.Names()...)...)
	flags.StringVar(&o.Node, "node", demo.Nodes()[0], "whose networks the node has: "+strings.Join(demo.Nodes(), ", "))
	completeValues(cmd, "node", demo.Nodes()...)
	flags.Float64Var(&o.Speed, "speed", 1, "play this many times faster")
	flags.BoolVar(&o.Observe, "observe", false, "change nothing, to show what happens without hnsguard")
	flags.BoolVar(&o.Verdicts, "verdicts", false, "show every decision, not only actions")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", "127.0.0.1:0",
		`where to serve metrics; port 0 means any free port, "0" disables them`)
	flags.StringVar(&o.PageAddress, "page-bind-address", "127.0.0.1:0",
		`where to serve the node page; port 0 means any free port, "0" disables it`)
	flags.BoolVar(&o.Stay, "stay", false, "go on after the end until interrupted, to look at the node page")
	completeNothing(cmd, "speed", "metrics-bind-address", "page-bind-address")
	return cmd
}
