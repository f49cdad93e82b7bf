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

// Prefix is the beginning of the name of every rule.
const Prefix = "hnsguard"

// DefaultName is the default name of the rule, here and in the chart. It has no space, because it is also typed by
// hand.
const DefaultName = "hnsguard-metrics"

// The remote addresses that are not ranges.
const (
	// Any allows every address.
	Any = "any"
	// LocalSubnet allows the addresses of the node's own subnets.
	LocalSubnet = "localsubnet"
)

// Rule allows connections to a port.
type Rule struct {
	Name string
	// Port is a TCP port.
	Port int
	// Remotes are address ranges, addresses or [LocalSubnet]; or only [Any].
	Remotes []string
}

// CheckName returns what is wrong with the name of a rule.
func CheckName(name string) error {
	if !regexp.MustCompile(`^` + Prefix + `([-_ ][-_ A-Za-z0-9]{0,99})?$`).MatchString(name) {
		return fmt.Errorf("rule name %q: must begin with %q, which keeps rules of others safe, and may continue with "+
			"-, _ or a space, then letters and digits", name, Prefix)
	}
	return nil
}

// Check returns everything that is wrong with the rule.
func (r Rule) Check() error {
	_, err := r.remotes()
	errs := []error{CheckName(r.Name), err}
	if r.Port < 1 || r.Port > 65535 {
		errs = append(errs, fmt.Errorf("port %d: must be between 1 and 65535", r.Port))
	}
	return errors.Join(errs...)
}

// remotes returns the remote addresses as netsh expects them.
func (r Rule) remotes() (string, error) {
	if len(r.Remotes) == 0 {
		return "", fmt.Errorf("no remote address: give the ranges that may connect, %s, or %s for every address",
			LocalSubnet, Any)
	}
	var errs []error
	spelled := make([]string, 0, len(r.Remotes))
	for _, remote := range r.Remotes {
		text, err := spell(remote)
		if err == nil && text == Any && len(r.Remotes) > 1 {
			err = fmt.Errorf("remote address %q: cannot be combined with others", remote)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		spelled = append(spelled, text)
	}
	return strings.Join(spelled, ","), errors.Join(errs...)
}

func spell(remote string) (string, error) {
	if word := strings.ToLower(remote); word == Any || word == LocalSubnet {
		return word, nil
	}
	prefix, err := config.ParsePrefix(remote)
	switch {
	case err != nil:
		return "", fmt.Errorf("remote address %q: %w", remote, err)
	case prefix.Bits() == 0:
		return "", fmt.Errorf("remote address %q: use %s to allow every address", remote, Any)
	case prefix.Addr().Is4In6():
		return "", fmt.Errorf("remote address %q: use the IPv4 notation", remote)
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
