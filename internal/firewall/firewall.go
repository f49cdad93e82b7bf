// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrUnsupported says that this system has no Windows firewall.
var ErrUnsupported = errors.New("this system has no Windows firewall")

// Netsh runs netsh with arguments. It returns what netsh printed and its exit status, or an error if it did not run.
type Netsh func(ctx context.Context, args ...string) (output string, status int, err error)

// Firewall is the firewall of this node.
type Firewall struct {
	netsh Netsh
}

// New makes a firewall of netsh; usually it is [System].
func New(netsh Netsh) *Firewall { return &Firewall{netsh: netsh} }

// Ensure makes the rule what it should be, whatever there was of its name before. In between there is none for a
// moment; a scrape that falls into it is tried again.
func (f *Firewall) Ensure(ctx context.Context, r Rule) error {
	if err := r.Check(); err != nil {
		return fmt.Errorf("ensuring firewall rule: %w", err)
	}
	add, err := r.add()
	if err != nil {
		return fmt.Errorf("ensuring firewall rule %q: %w", r.Name, err)
	}
	// Whether there was nothing to delete or deleting failed, it does not tell. In the latter case adding fails too.
	said, _, err := f.netsh(ctx, deletion(r.Name)...)
	if err != nil {
		return fmt.Errorf("ensuring firewall rule %q: %w", r.Name, err)
	}
	if err := f.run(ctx, add); err != nil {
		return fmt.Errorf("ensuring firewall rule %q, after deleting it (%s): %w", r.Name, oneLine(said), err)
	}
	return nil
}

// Remove deletes the rules of the name, and reports whether there were any.
func (f *Firewall) Remove(ctx context.Context, name string) (bool, error) {
	if err := CheckName(name); err != nil {
		return false, fmt.Errorf("removing firewall rule: %w", err)
	}
	_, status, err := f.netsh(ctx, query(name)...)
	if err != nil {
		return false, fmt.Errorf("removing firewall rule %q: %w", name, err)
	}
	if status != 0 {
		return false, nil // there is none
	}
	if err := f.run(ctx, deletion(name)); err != nil {
		return false, fmt.Errorf("removing firewall rule %q: %w", name, err)
	}
	return true, nil
}

func (f *Firewall) run(ctx context.Context, args []string) error {
	said, status, err := f.netsh(ctx, args...)
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("netsh %s: exit status %d: %s (the account needs to be an administrator, and the Windows firewall "+
			"service, mpssvc, has to run)", strings.Join(args, " "), status, oneLine(said))
	}
	return nil
}

// oneLine makes a sentence of what netsh printed, in whatever code page.
func oneLine(said string) string {
	words := strings.Join(strings.Fields(strings.ToValidUTF8(said, "?")), " ")
	if words == "" {
		return "netsh said nothing"
	}
	return words
}
