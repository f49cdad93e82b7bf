// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hnsguard/hnsguard/internal/firewall"
)

// firewallOptions are the flags of firewall.
type firewallOptions struct {
	rule       firewall.Rule
	bestEffort bool
}

func newFirewall(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "firewall",
		Short: "Let scrapers through the firewall of this node, or no longer",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var ensure, remove firewallOptions
	ensuring := &cobra.Command{
		Use:   "ensure",
		Short: "Make the rule that lets scrapers in, or make it what it should be",
		Long: "Make one inbound rule for one TCP port and the named remote addresses. However often that is done,\n" +
			"there is one rule of the name.",
		Example: "  hnsguard firewall ensure --port 10352 --remote-address 10.244.0.0/16",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ensure.run(cmd, p, func(ctx context.Context, f *firewall.Firewall) (string, error) {
				return "is in place", f.Ensure(ctx, ensure.rule)
			})
		},
	}
	ensure.addTo(ensuring)
	ensuring.Flags().IntVar(&ensure.rule.Port, "port", 10352, "TCP port that may be connected to")
	ensuring.Flags().StringArrayVar(&ensure.rule.Remotes, "remote-address", nil,
		"address range (or address) that may connect; give it once for each. Also localsubnet, or any for everybody")
	removing := &cobra.Command{
		Use:   "remove",
		Short: "Remove the rule",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return remove.run(cmd, p, func(ctx context.Context, f *firewall.Firewall) (string, error) {
				found, err := f.Remove(ctx, remove.rule.Name)
				return map[bool]string{true: "is removed", false: "was not there"}[found], err
			})
		},
	}
	remove.addTo(removing)
	cmd.AddCommand(ensuring, removing)
	return cmd
}

func (o *firewallOptions) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.rule.Name, "name", firewall.DefaultName,
		"name of the rule; has to begin with "+firewall.Prefix)
	cmd.Flags().BoolVar(&o.bestEffort, "best-effort", false, "say what went wrong, but exit with status 0")
}

func (o *firewallOptions) run(
	cmd *cobra.Command, p Process, do func(context.Context, *firewall.Firewall) (string, error),
) error {
	err := fromEnv(cmd.Flags(), p.Env, nil)
	var result string
	if err == nil {
		result, err = do(cmd.Context(), firewall.New(firewall.System))
	}
	if err == nil {
		_, err = fmt.Fprintf(p.Out, "firewall rule %q %s\n", o.rule.Name, result)
	}
	if err != nil && o.bestEffort {
		_, _ = fmt.Fprintf(p.Err, "hnsguard: %v\nhnsguard: going on, because of --best-effort\n", err)
		return nil
	}
	return err
}
