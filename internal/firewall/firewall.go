// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrUnsupported is the error on systems without a Windows firewall.
var ErrUnsupported = errors.New("this system has no Windows firewall")

// Netsh runs netsh. It returns the output and the exit status, or an error if netsh did not run.
type Netsh func(ctx context.Context, args ...string) (output string, status int, err error)

// Firewall is the firewall of this node.
type Firewall struct {
	netsh Netsh
}

// New returns the firewall that netsh controls, usually [System].
func New(netsh Netsh) *Firewall { return &Firewall{netsh: netsh} }

// Ensure replaces all rules that have the name of the rule by the rule. For a moment there is none; a scrape that fails
// then is repeated by the scraper.
func (f *Firewall) Ensure(ctx context.Context, r Rule) error {
	if err := r.Check(); err != nil {
		return fmt.Errorf("ensuring firewall rule: %w", err)
	}
	add, err := r.add()
	if err != nil {
		return fmt.Errorf("ensuring firewall rule %q: %w", r.Name, err)
	}
	// The status of the deletion does not tell a missing rule from a failure. After a failure, adding fails as well.
	output, _, err := f.netsh(ctx, deletion(r.Name)...)
	if err != nil {
		return fmt.Errorf("ensuring firewall rule %q: %w", r.Name, err)
	}
	if err := f.run(ctx, add); err != nil {
		return fmt.Errorf("ensuring firewall rule %q, after deleting it (%s): %w", r.Name, oneLine(output), err)
	}
	return nil
}

// Remove deletes all rules with the name and reports whether there were any.
func (f *Firewall) Remove(ctx context.Context, name string) (bool, error) {
	_, found, err := f.Show(ctx, name)
	if err != nil || !found {
		return false, err
	}
	if err := f.run(ctx, deletion(name)); err != nil {
		return false, fmt.Errorf("removing firewall rule %q: %w", name, err)
	}
	return true, nil
}

// Show returns what netsh prints of the rules with the name, in the language of the system, and whether there are any.
func (f *Firewall) Show(ctx context.Context, name string) (string, bool, error) {
	if err := CheckName(name); err != nil {
		return "", false, fmt.Errorf("looking for firewall rule: %w", err)
	}
	output, status, err := f.netsh(ctx, query(name)...)
	if err != nil {
		return "", false, fmt.Errorf("looking for firewall rule %q: %w", name, err)
	}
	return output, status == 0, nil
}

func (f *Firewall) run(ctx context.Context, args []string) error {
	output, status, err := f.netsh(ctx, args...)
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("netsh %s: exit status %d: %s (the account must be an administrator, and the Windows firewall "+
			"service, mpssvc, must be running)", strings.Join(args, " "), status, oneLine(output))
	}
	return nil
}

// oneLine puts the output of netsh, in any code page, on one line.
func oneLine(output string) string {
	words := strings.Join(strings.Fields(strings.ToValidUTF8(output, "?")), " ")
	if words == "" {
		return "no output"
	}
	return words
}
