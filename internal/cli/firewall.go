// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hnsguard/hnsguard/internal/firewall"
)

func newFirewall(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "firewall",
		Short: "Allow scrapers through the firewall of this node, or no longer",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newFirewallEnsure(p), newFirewallRemove(p))
	return cmd
}

// firewallOptions are the flags of all commands of firewall.
type firewallOptions struct {
	name       string
	bestEffort bool
}

func (o *firewallOptions) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.name, "name", firewall.DefaultName, "name of the rule; must begin with "+firewall.Prefix)
	completeNothing(cmd, "name")
	cmd.Flags().BoolVar(&o.bestEffort, "best-effort", false, "print errors, but exit with status 0")
}

func newFirewallEnsure(p Process) *cobra.Command {
	var o firewallOptions
	var rule firewall.Rule
	cmd := &cobra.Command{
		Use:   "ensure",
		Short: "Create or replace the rule that lets scrapers connect",
		Long: "Create an inbound rule for one TCP port and the given remote addresses. It replaces all rules of the same\n" +
			"name, so that there is one rule however often the command runs.",
		Example: "  hnsguard firewall ensure --port 10352 --remote-address 10.244.0.0/16",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd, p, func() error {
				rule.Name = o.name
				if err := rule.Check(); err != nil {
					return usageError{err}
				}
				if err := firewall.New(p.Netsh).Ensure(cmd.Context(), rule); err != nil {
					return err
				}
				_, err := fmt.Fprintf(p.Out, "Firewall rule %q allows TCP port %d from %s. To remove it, run: %s\n",
					rule.Name, rule.Port, strings.Join(rule.Remotes, ", "), removalCommand(rule.Name))
				return err
			})
		},
	}
	o.addTo(cmd)
	cmd.Flags().IntVar(&rule.Port, "port", 10352, "TCP port")
	cmd.Flags().StringArrayVar(&rule.Remotes, "remote-address", nil, "address range or address that may connect, "+
		firewall.LocalSubnet+", or "+firewall.Any+"; can be repeated; required")
	completeNothing(cmd, "port")
	completeValues(cmd, "remote-address", firewall.LocalSubnet, firewall.Any+"\tevery address")
	return cmd
}

// removalCommand returns the command that removes a rule.
func removalCommand(name string) string {
	command := "hnsguard firewall remove"
	switch {
	case name == firewall.DefaultName:
		return command
	case strings.Contains(name, " "):
		return command + ` --name "` + name + `"`
	default:
		return command + " --name " + name
	}
}

func newFirewallRemove(p Process) *cobra.Command {
	var o firewallOptions
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "Remove the rule",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd, p, func() error {
				if err := firewall.CheckName(o.name); err != nil {
					return usageError{err}
				}
				found, err := firewall.New(p.Netsh).Remove(cmd.Context(), o.name)
				if err != nil {
					return err
				}
				result := map[bool]string{true: "is removed", false: "does not exist"}[found]
				_, err = fmt.Fprintf(p.Out, "Firewall rule %q %s.\n", o.name, result)
				return err
			})
		},
	}
	o.addTo(cmd)
	return cmd
}

// run does the work of a command. With --best-effort it prints errors instead of returning them.
func (o *firewallOptions) run(cmd *cobra.Command, p Process, do func() error) error {
	err := fromEnv(cmd.Flags(), p.Env, nil)
	if err == nil {
		err = do()
	}
	if err == nil || !o.bestEffort {
		return err
	}
	report(p.Err, cmd, errors.Join(err, errors.New("exiting with status 0 because of --best-effort")))
	return nil
}
