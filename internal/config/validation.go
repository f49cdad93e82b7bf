// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Validate returns everything that is wrong with the configuration.
func (c Config) Validate() field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, c.validateType()...)
	errs = append(errs, c.validateModes()...)
	errs = append(errs, c.validateExclusions()...)
	errs = append(errs, validateRanges(c.durations(), durationValue)...)
	errs = append(errs, validateRanges(c.counts(), plain[int])...)
	errs = append(errs, validateRanges(c.rates(), plain[float64])...)
	return append(errs, c.validateRelations()...)
}

func (c Config) validateType() field.ErrorList {
	var errs field.ErrorList
	if c.APIVersion != APIVersion {
		errs = append(errs, field.NotSupported(field.NewPath("apiVersion"), c.APIVersion, []string{APIVersion}))
	}
	if c.Kind != Kind {
		errs = append(errs, field.NotSupported(field.NewPath("kind"), c.Kind, []string{Kind}))
	}
	return errs
}

func (c Config) validateModes() field.ErrorList {
	errs := validateMode(field.NewPath("mode"), c.Mode)
	for _, class := range c.classes() {
		errs = append(errs, validateMode(field.NewPath(class.name, "mode"), class.mode)...)
	}
	return errs
}

func validateMode(path *field.Path, mode Mode) field.ErrorList {
	if _, err := ParseMode(string(mode)); err != nil {
		return field.ErrorList{field.NotSupported(path, mode, Modes())}
	}
	return nil
}

// ParseMode parses a mode.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Enforce, Observe:
		return m, nil
	default:
		return "", fmt.Errorf("must be %s or %s", Enforce, Observe)
	}
}

func (c Config) validateExclusions() field.ErrorList {
	var errs field.ErrorList
	for i, p := range c.Exclusions {
		if !p.IsValid() {
			errs = append(errs, field.Required(field.NewPath("exclusions").Index(i), ""))
		}
	}
	return errs
}

// limits are the least and the greatest value of a field.
type limits[T cmp.Ordered] struct {
	path        string
	value       T
	least, most T
}

func (c Config) durations() []limits[time.Duration] {
	return []limits[time.Duration]{
		{"conflict.holdTimeout", c.Conflict.HoldTimeout.Duration, 30 * time.Second, time.Hour},
		{"orphan.gracePeriod", c.Orphan.GracePeriod.Duration, 10 * time.Second, 24 * time.Hour},
		{"orphan.gracePeriodWhileWaiting", c.Orphan.GracePeriodWhileWaiting.Duration, time.Second, 24 * time.Hour},
		{"orphan.stepInterval", c.Orphan.StepInterval.Duration, time.Second, time.Hour},
		{"eviction.after", c.Eviction.After.Duration, 10 * time.Second, time.Hour},
		{"eviction.interval", c.Eviction.Interval.Duration, time.Second, 24 * time.Hour},
		{"poll.fastInterval", c.Poll.FastInterval.Duration, 50 * time.Millisecond, time.Minute},
		{"poll.fastDuration", c.Poll.FastDuration.Duration, time.Second, 24 * time.Hour},
		{"poll.slowInterval", c.Poll.SlowInterval.Duration, time.Second, 5 * time.Minute},
		{"hns.callTimeout", c.HNS.CallTimeout.Duration, time.Second, 10 * time.Minute},
		{"hns.listTimeout", c.HNS.ListTimeout.Duration, time.Second, time.Hour},
		{"hns.rereadInterval", c.HNS.RereadInterval.Duration, 30 * time.Second, 24 * time.Hour},
	}
}

func (c Config) counts() []limits[int] {
	return []limits[int]{
		{"orphan.maxPerPass", c.Orphan.MaxPerPass, 1, 100_000},
		{"orphan.maxPerStep", c.Orphan.MaxPerStep, 1, 1000},
		{"removals.burst", c.Removals.Burst, 1, 10_000},
		{"hns.maxHungCalls", c.HNS.MaxHungCalls, 1, 100},
	}
}

func (c Config) rates() []limits[float64] {
	return []limits[float64]{
		{"removals.perSecond", c.Removals.PerSecond, 0.01, 1000},
	}
}

func validateRanges[T cmp.Ordered](ranges []limits[T], show func(T) any) field.ErrorList {
	var errs field.ErrorList
	for _, r := range ranges {
		if r.value < r.least || r.value > r.most {
			errs = append(errs, field.Invalid(field.NewPath(r.path), show(r.value),
				fmt.Sprintf("must be between %v and %v", show(r.least), show(r.most))))
		}
	}
	return errs
}

func plain[T any](v T) any { return v }

// durationValue spells a duration as people write it: 5m, not 5m0s.
func durationValue(d time.Duration) any {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// validateRelations compares fields with each other.
func (c Config) validateRelations() field.ErrorList {
	var errs field.ErrorList
	if waiting, grace := c.Orphan.GracePeriodWhileWaiting.Duration, c.Orphan.GracePeriod.Duration; waiting > grace {
		errs = append(errs, field.Invalid(field.NewPath("orphan.gracePeriodWhileWaiting"), durationValue(waiting),
			fmt.Sprintf("must not be longer than orphan.gracePeriod, which is %v", durationValue(grace))))
	}
	if fast, slow := c.Poll.FastInterval.Duration, c.Poll.SlowInterval.Duration; fast > slow {
		errs = append(errs, field.Invalid(field.NewPath("poll.fastInterval"), durationValue(fast),
			fmt.Sprintf("must not be longer than poll.slowInterval, which is %v", durationValue(slow))))
	}
	return errs
}
