// SPDX-License-Identifier: Apache-2.0

package cli

import (
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
		Short: "Watch hnsguard handle an incident, without a cluster and without Windows",
		Long: "Replay an incident from real clusters against a real hnsguard. HNS and the API server are simulated in\n" +
			"this process; nothing outside of it is changed. The exit status is 0 if hnsguard did its job.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd.Flags(), p.Env, nil); err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return usageError{err}
			}
			setGlobal(logr.Discard()) // the time line shows what matters
			if err := demo.Play(cmd.Context(), o); err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Scenario, "scenario", "incident", "all, "+strings.Join(demo.Names(), ", "))
	completeValues(cmd, "scenario", append([]string{"all"}, demo.Names()...)...)
	flags.Float64Var(&o.Speed, "speed", 1, "how many times faster than by default the actors act")
	flags.BoolVar(&o.Observe, "observe", false, "run hnsguard in observe mode, in which it fails the scenario")
	flags.BoolVar(&o.Verdicts, "verdicts", false, "show every decision, not only actions")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", "127.0.0.1:0",
		`where to serve metrics; port 0 selects a free one, "0" serves none`)
	completeNothing(cmd, "speed", "metrics-bind-address")
	return cmd
}
