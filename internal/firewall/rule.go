// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/hnsguard/hnsguard/internal/config"
)

// Prefix is how the name of every rule begins.
const Prefix = "hnsguard"

// DefaultName is the name of the rule unless another is given.
const DefaultName = "hnsguard metrics"

// The remote addresses that stand for more than a range.
const (
	// Anybody lets everybody connect.
	Anybody = "any"
	// LocalSubnet lets those connect that share a subnet with the node.
	LocalSubnet = "localsubnet"
)

// Rule is who may connect to what.
type Rule struct {
	Name string
	Port int
	// Remotes are address ranges or single addresses, or [LocalSubnet]; or nothing but [Anybody].
	Remotes []string
}

// CheckName returns what is wrong with the name of a rule.
func CheckName(name string) error {
	if !regexp.MustCompile(`^` + Prefix + `([-_ ][-_ A-Za-z0-9]{0,99})?$`).MatchString(name) {
		return fmt.Errorf("name %q: has to begin with %q, so that no rule of somebody else is replaced, and may go on with "+
			"-, _ or a space, letters and digits", name, Prefix)
	}
	return nil
}

// Check returns everything that is wrong with the rule.
func (r Rule) Check() error {
	_, err := r.remotes()
	errs := []error{CheckName(r.Name), err}
	if r.Port < 1 || r.Port > 65535 {
		errs = append(errs, fmt.Errorf("port %d: has to lie between 1 and 65535", r.Port))
	}
	return errors.Join(errs...)
}

// remotes are the remote addresses as netsh wants them.
func (r Rule) remotes() (string, error) {
	if len(r.Remotes) == 0 {
		return "", fmt.Errorf("no remote address: name the ranges that may connect, %s, or %s for everybody",
			LocalSubnet, Anybody)
	}
	var errs []error
	spelt := make([]string, 0, len(r.Remotes))
	for _, remote := range r.Remotes {
		text, err := spell(remote)
		if err == nil && text == Anybody && len(r.Remotes) > 1 {
			err = fmt.Errorf("remote address %q: stands alone, or not at all", remote)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		spelt = append(spelt, text)
	}
	return strings.Join(spelt, ","), errors.Join(errs...)
}

func spell(remote string) (string, error) {
	if word := strings.ToLower(remote); word == Anybody || word == LocalSubnet {
		return word, nil
	}
	prefix, err := config.ParsePrefix(remote)
	switch {
	case err != nil:
		return "", fmt.Errorf("remote address %q: %w", remote, err)
	case prefix.Bits() == 0:
		return "", fmt.Errorf("remote address %q: say %s if everybody is meant", remote, Anybody)
	case prefix.Addr().Is4In6():
		return "", fmt.Errorf("remote address %q: write it as the IPv4 address that it is", remote)
	case prefix.IsSingleIP():
		return prefix.Addr().String(), nil
	default:
		return prefix.String(), nil
	}
}

// The arguments of netsh.

func (r Rule) add() ([]string, error) {
	remotes, err := r.remotes()
	return []string{
		"advfirewall", "firewall", "add", "rule", "name=" + r.Name, "dir=in", "action=allow", "enable=yes", "profile=any",
		"protocol=TCP", "localport=" + strconv.Itoa(r.Port), "remoteip=" + remotes,
	}, err
}

func deletion(name string) []string {
	return []string{"advfirewall", "firewall", "delete", "rule", "name=" + name}
}

func query(name string) []string {
	return []string{"advfirewall", "firewall", "show", "rule", "name=" + name}
}
