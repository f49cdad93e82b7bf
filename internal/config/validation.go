// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Validate returns everything that is wrong with the configuration.
func (c Config) Validate() field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, c.validateType()...)
	errs = append(errs, c.validateModes()...)
	errs = append(errs, c.validateExclusions()...)
	errs = append(errs, c.validateDurations()...)
	errs = append(errs, c.validateNumbers()...)
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
	for i, text := range c.Exclusions {
		if _, err := parsePrefix(text); err != nil {
			errs = append(errs, field.Invalid(field.NewPath("exclusions").Index(i), text, err.Error()))
		}
	}
	return errs
}

// durationRange is a field with its minimum and maximum.
type durationRange struct {
	path        string
	value       Duration
	least, most time.Duration
}

func (c Config) durations() []durationRange {
	return []durationRange{
		{"orphan.gracePeriod", c.Orphan.GracePeriod, 10 * time.Second, 24 * time.Hour},
		{"orphan.gracePeriodWhileWaiting", c.Orphan.GracePeriodWhileWaiting, time.Second, 24 * time.Hour},
		{"eviction.after", c.Eviction.After, 10 * time.Second, time.Hour},
		{"poll.fastInterval", c.Poll.FastInterval, 50 * time.Millisecond, time.Minute},
		{"poll.slowInterval", c.Poll.SlowInterval, time.Second, 5 * time.Minute},
		{"hns.callTimeout", c.HNS.CallTimeout, time.Second, 10 * time.Minute},
	}
}

func (c Config) validateDurations() field.ErrorList {
	var errs field.ErrorList
	for _, r := range c.durations() {
		least, most := duration(r.least), duration(r.most)
		switch {
		case r.value.invalid != "":
			errs = append(errs, field.Invalid(field.NewPath(r.path), r.value.invalid,
				fmt.Sprintf(`must be a duration such as "%s", between %s and %s`,
					duration(max(r.least, time.Second)), least, most)))
		case r.value.Duration < r.least || r.value.Duration > r.most:
			errs = append(errs, outOfRange(r.path, r.value.String(), least, most))
		}
	}
	return errs
}

func (c Config) validateNumbers() field.ErrorList {
	const mostOrphans, leastRate, mostRate = 100_000, 0.01, 1000
	var errs field.ErrorList
	if n := c.Orphan.MaxPerPass; n < 1 || n > mostOrphans {
		errs = append(errs, outOfRange("orphan.maxPerPass", n, 1, mostOrphans))
	}
	if rate := c.Removals.PerSecond; rate < leastRate || rate > mostRate {
		errs = append(errs, outOfRange("removals.perSecond", rate, leastRate, mostRate))
	}
	return errs
}

func outOfRange(path string, value, least, most any) *field.Error {
	return field.Invalid(field.NewPath(path), value, fmt.Sprintf("must be between %v and %v", least, most))
}

// validateRelations compares fields with each other.
func (c Config) validateRelations() field.ErrorList {
	return append(
		notLonger("orphan.gracePeriodWhileWaiting", c.Orphan.GracePeriodWhileWaiting,
			"orphan.gracePeriod", c.Orphan.GracePeriod),
		notLonger("poll.fastInterval", c.Poll.FastInterval, "poll.slowInterval", c.Poll.SlowInterval)...)
}

func notLonger(path string, value Duration, otherPath string, other Duration) field.ErrorList {
	if value.Duration <= other.Duration || other.invalid != "" {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath(path), value.String(),
		fmt.Sprintf("must not be longer than %s, which is %s", otherPath, other))}
}
