// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
)

// Prefix is an address range. In a file it is a range such as "10.0.0.0/8" or a single address.
type Prefix struct {
	netip.Prefix
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Prefix) UnmarshalText(text []byte) error {
	prefix, err := ParsePrefix(string(text))
	if err != nil {
		return err
	}
	p.Prefix = prefix
	return nil
}

// ParsePrefix parses an address range, or an address as the range that holds nothing else. It refuses a range with bits
// set after its length, because its author meant another range.
func ParsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errors.New(`must be an address range such as "10.0.0.0/8", or an address`)
	}
	if prefix.Masked() != prefix {
		return netip.Prefix{}, fmt.Errorf("has bits set after its length; the range is %s", prefix.Masked())
	}
	return prefix, nil
}

// ExcludedPrefixes returns the ranges in which no endpoint is ever removed.
func (c Config) ExcludedPrefixes() []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(c.Exclusions))
	for _, p := range c.Exclusions {
		prefixes = append(prefixes, p.Prefix)
	}
	return prefixes
}
