// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Duration is a duration such as "5m". It keeps an invalid value, so that [Config.Validate] reports it with the path of
// its field, together with all other faults.
type Duration struct {
	time.Duration
	invalid string
}

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (d *Duration) UnmarshalJSON(data []byte) error {
	if string(data) == "null" { // a key without a value keeps its default
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		*d = Duration{invalid: string(data)}
		return nil //nolint:nilerr // Validate reports it
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		*d = Duration{invalid: text}
		return nil //nolint:nilerr // Validate reports it
	}
	*d = Duration{Duration: value}
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// String formats a duration as users write it: 5m, not 5m0s.
func (d Duration) String() string {
	text := d.Duration.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// ExcludedPrefixes returns the ranges in which no endpoint is ever removed.
func (c Config) ExcludedPrefixes() []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(c.Exclusions))
	for _, text := range c.Exclusions {
		prefix, _ := parsePrefix(text) // Validate has rejected invalid ranges
		prefixes = append(prefixes, prefix)
	}
	return prefixes
}

// parsePrefix parses an address range, or a single address as a range. It rejects a range with bits set beyond its
// length, because its author meant another range.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errors.New(`must be an address range such as "10.0.0.0/8", or an address`)
	}
	if prefix.Masked() != prefix {
		return netip.Prefix{}, fmt.Errorf("has bits set after its length; the range is %s", prefix.Masked())
	}
	return prefix, nil
}
