// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// file is the shape of a configuration file. Values stay raw, so that one that is wrong hides no other fault.
type file struct {
	APIVersion json.RawMessage `json:"apiVersion"`
	Kind       json.RawMessage `json:"kind"`
	Mode       json.RawMessage `json:"mode"`
	Network    json.RawMessage `json:"network"`
	Exclusions json.RawMessage `json:"exclusions"`
	Conflict   struct {
		Mode json.RawMessage `json:"mode"`
	} `json:"conflict"`
	Orphan struct {
		Mode        json.RawMessage `json:"mode"`
		GracePeriod json.RawMessage `json:"gracePeriod"`
		MaxPerPass  json.RawMessage `json:"maxPerPass"`

		GraceWhileWaiting json.RawMessage `json:"gracePeriodWhileWaiting"`
	} `json:"orphan"`
	Flush struct {
		Mode json.RawMessage `json:"mode"`
	} `json:"flush"`
	Shield struct {
		Mode json.RawMessage `json:"mode"`
	} `json:"shield"`
	Reprogram struct {
		Mode json.RawMessage `json:"mode"`
	} `json:"reprogram"`
	Repair struct {
		Mode  json.RawMessage `json:"mode"`
		After json.RawMessage `json:"after"`
		Every json.RawMessage `json:"every"`
	} `json:"repair"`
	Removals struct {
		PerSecond json.RawMessage `json:"perSecond"`
		Burst     json.RawMessage `json:"burst"`
	} `json:"removals"`
	Poll struct {
		Fast    json.RawMessage `json:"fast"`
		FastFor json.RawMessage `json:"fastFor"`
		Slow    json.RawMessage `json:"slow"`
	} `json:"poll"`
	HNS struct {
		CallTimeout  json.RawMessage `json:"callTimeout"`
		ListTimeout  json.RawMessage `json:"listTimeout"`
		MaxHungCalls json.RawMessage `json:"maxHungCalls"`
		RereadEvery  json.RawMessage `json:"rereadEvery"`
	} `json:"hns"`
}

// Decode reads a configuration file in YAML or JSON. What the file leaves out has its default. The error names the file
// and all faults in it, each on a line of its own.
func Decode(name string, data []byte) (Config, error) {
	var f file
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return Config{}, fmt.Errorf("reading configuration %s: %w", name, err)
	}
	strict, err := kjson.UnmarshalStrict(raw, &f)
	if err != nil {
		return Config{}, fmt.Errorf("reading configuration %s: %w", name, err)
	}
	d := decoder{}
	config := d.config(f)
	if err := errors.Join(append(strict, d.faults.ToAggregate())...); err != nil {
		return Config{}, fmt.Errorf("reading configuration %s:\n%w", name, err)
	}
	return config, nil
}

// decoder collects the faults of all fields.
type decoder struct {
	faults field.ErrorList
}

func (d *decoder) config(f file) Config {
	c := Default()
	d.exactly("apiVersion", f.APIVersion, APIVersion)
	d.exactly("kind", f.Kind, Kind)
	d.mode("mode", f.Mode, &c.Mode)
	d.text("network", f.Network, &c.Network)
	d.prefixes("exclusions", f.Exclusions, &c.Exclusions)
	d.mode("conflict.mode", f.Conflict.Mode, &c.Conflict.Mode)
	d.mode("orphan.mode", f.Orphan.Mode, &c.Orphan.Mode)
	d.duration("orphan.gracePeriod", f.Orphan.GracePeriod, &c.Orphan.GracePeriod, 10*time.Second, 24*time.Hour)
	d.duration("orphan.gracePeriodWhileWaiting", f.Orphan.GraceWhileWaiting, &c.Orphan.GraceWhileWaiting,
		time.Second, 24*time.Hour)
	d.mode("flush.mode", f.Flush.Mode, &c.Flush.Mode)
	d.mode("shield.mode", f.Shield.Mode, &c.Shield.Mode)
	d.mode("reprogram.mode", f.Reprogram.Mode, &c.Reprogram.Mode)
	d.integer("orphan.maxPerPass", f.Orphan.MaxPerPass, &c.Orphan.MaxPerPass, 1, 100_000)
	d.mode("repair.mode", f.Repair.Mode, &c.Repair.Mode)
	d.duration("repair.after", f.Repair.After, &c.Repair.After, 10*time.Second, time.Hour)
	d.duration("repair.every", f.Repair.Every, &c.Repair.Every, time.Second, 24*time.Hour)
	d.number("removals.perSecond", f.Removals.PerSecond, &c.Removals.PerSecond, 0.01, 1000)
	d.integer("removals.burst", f.Removals.Burst, &c.Removals.Burst, 1, 10_000)
	d.duration("poll.fast", f.Poll.Fast, &c.Poll.Fast, 50*time.Millisecond, time.Minute)
	d.duration("poll.fastFor", f.Poll.FastFor, &c.Poll.FastFor, time.Second, 24*time.Hour)
	d.duration("poll.slow", f.Poll.Slow, &c.Poll.Slow, time.Second, 5*time.Minute)
	d.duration("hns.callTimeout", f.HNS.CallTimeout, &c.HNS.CallTimeout, time.Second, 10*time.Minute)
	d.duration("hns.listTimeout", f.HNS.ListTimeout, &c.HNS.ListTimeout, time.Second, time.Hour)
	d.integer("hns.maxHungCalls", f.HNS.MaxHungCalls, &c.HNS.MaxHungCalls, 1, 100)
	d.duration("hns.rereadEvery", f.HNS.RereadEvery, &c.HNS.RereadEvery, 30*time.Second, 24*time.Hour)
	if c.Orphan.GraceWhileWaiting > c.Orphan.GracePeriod {
		d.invalid("orphan.gracePeriodWhileWaiting", c.Orphan.GraceWhileWaiting.String(),
			"must not be longer than orphan.gracePeriod, which is "+c.Orphan.GracePeriod.String())
	}
	if c.Poll.Fast > c.Poll.Slow {
		d.invalid("poll.fast", c.Poll.Fast.String(), "must not be longer than poll.slow, which is "+c.Poll.Slow.String())
	}
	return c
}

func (d *decoder) invalid(path string, value any, detail string) {
	d.faults = append(d.faults, field.Invalid(field.NewPath(path), value, detail))
}

// text decodes a string and reports whether there was one to decode.
func (d *decoder) text(path string, raw json.RawMessage, to *string) bool {
	if absent(raw) {
		return false
	}
	if err := json.Unmarshal(raw, to); err != nil {
		d.invalid(path, string(raw), "must be a string")
		return false
	}
	return true
}

func (d *decoder) exactly(path string, raw json.RawMessage, want string) {
	got := want
	if d.text(path, raw, &got) && got != want {
		d.faults = append(d.faults, field.NotSupported(field.NewPath(path), got, []string{want}))
	}
}

func (d *decoder) mode(path string, raw json.RawMessage, to *Mode) {
	s := string(*to)
	if !d.text(path, raw, &s) {
		return
	}
	mode, err := ParseMode(s)
	if err != nil {
		d.faults = append(d.faults, field.NotSupported(field.NewPath(path), s, []Mode{Enforce, Observe}))
		return
	}
	*to = mode
}

func (d *decoder) duration(path string, raw json.RawMessage, to *time.Duration, least, most time.Duration) {
	var s string
	if !d.text(path, raw, &s) {
		return
	}
	v, err := time.ParseDuration(s)
	switch {
	case err != nil:
		d.invalid(path, s, `must be a duration such as "250ms", "30s" or "5m"`)
	case v < least || v > most:
		d.invalid(path, s, fmt.Sprintf("must lie between %s and %s", least, most))
	default:
		*to = v
	}
}

func (d *decoder) integer(path string, raw json.RawMessage, to *int, least, most int) {
	if absent(raw) {
		return
	}
	v, err := strconv.Atoi(string(raw))
	switch {
	case err != nil:
		d.invalid(path, string(raw), "must be a whole number")
	case v < least || v > most:
		d.invalid(path, v, fmt.Sprintf("must lie between %d and %d", least, most))
	default:
		*to = v
	}
}

func (d *decoder) number(path string, raw json.RawMessage, to *float64, least, most float64) {
	if absent(raw) {
		return
	}
	v, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case err != nil:
		d.invalid(path, string(raw), "must be a number")
	case !(v >= least && v <= most):
		d.invalid(path, v, fmt.Sprintf("must lie between %g and %g", least, most))
	default:
		*to = v
	}
}

func (d *decoder) prefixes(path string, raw json.RawMessage, to *[]netip.Prefix) {
	if absent(raw) {
		return
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		d.invalid(path, string(raw), `must be a list of address ranges such as "10.0.0.0/8"`)
		return
	}
	for at, element := range list {
		var s string
		here := fmt.Sprintf("%s[%d]", path, at)
		if !d.text(here, element, &s) {
			continue
		}
		prefix, err := ParsePrefix(s)
		if err != nil {
			d.invalid(here, s, err.Error())
			continue
		}
		*to = append(*to, prefix)
	}
}

// ParsePrefix reads an address range. One that has bits set behind its length is refused: it is a range that its writer
// misunderstood. A single address is a range of its own.
func ParsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errors.New(`must be an address range such as "10.0.0.0/8", or an address`)
	}
	if prefix.Masked() != prefix {
		return netip.Prefix{}, fmt.Errorf("has bits set behind its length; the range is %s", prefix.Masked())
	}
	return prefix, nil
}

// ParseMode reads a mode.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Enforce, Observe:
		return m, nil
	default:
		return "", fmt.Errorf("mode %q is neither %q nor %q", s, Enforce, Observe)
	}
}

func absent(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
