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
		Short: "Watch hnsguard deal with an incident, without a cluster and without Windows",
		Long: "Play an incident from real clusters against a real hnsguard. HNS and the API server are simulated in this\n" +
			"process; nothing else is touched. The exit status is 0 if hnsguard did its job.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnv(cmd.Flags(), p.Env, nil); err != nil {
				return err
			}
			setGlobal(logr.Discard()) // the story is told on the time line
			if err := demo.Play(cmd.Context(), o); err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Scenario, "scenario", "incident", "all, "+strings.Join(demo.Names(), ", "))
	flags.Float64Var(&o.Speed, "speed", 1, "how many times faster than by default the story is told")
	flags.BoolVar(&o.Observe, "observe", false, "let hnsguard only observe, and so fail")
	flags.BoolVar(&o.Verdicts, "verdicts", false, "show every decision, not only what is done")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", "127.0.0.1:0",
		`where to serve metrics; port 0 takes a free one, "0" serves none`)
	return cmd
}
