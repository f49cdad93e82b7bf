// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/config"
)

// Invariant 3.
func TestAnEmptyFileIsTheDefault(t *testing.T) {
	for _, data := range []string{
		"", "{}", "# nothing\n", "apiVersion: hnsguard.io/v1alpha1\nkind: Configuration\n", "orphan:\n", "---\n",
		"mode:\norphan: {gracePeriod: , maxPerPass: ~}\n", "exclusions: []",
	} {
		NewWithT(t).Expect(config.Decode("f", []byte(data))).To(Equal(config.Default()), data)
	}
}

const everyField = `
apiVersion: hnsguard.io/v1alpha1
kind: Configuration
mode: observe
network: azure
exclusions: [10.0.0.0/8, "fd00::/64", 192.0.2.7]
conflict: {mode: observe}
orphan: {mode: observe, gracePeriod: 10m, gracePeriodWhileWaiting: 30s, maxPerPass: 7}
flush: {mode: observe}
keep: {mode: observe}
reprogram: {mode: enforce}
eviction: {mode: enforce, after: 1m}
removals: {perSecond: 0.5}
poll: {fastInterval: 100ms, slowInterval: 10s}
hns: {callTimeout: 20s}
`

func TestEveryFieldIsDecoded(t *testing.T) {
	g := NewWithT(t)
	lasting := func(d time.Duration) config.Duration { return config.Duration{Duration: d} }
	got, err := config.Decode("f", []byte(everyField))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(got).To(Equal(config.Config{
		APIVersion: config.APIVersion, Kind: config.Kind, Mode: config.Observe, Network: "azure",
		Exclusions: []string{"10.0.0.0/8", "fd00::/64", "192.0.2.7"},
		Conflict:   config.Conflict{Mode: config.Observe},
		Orphan: config.Orphan{
			Mode: config.Observe, GracePeriod: lasting(10 * time.Minute), GracePeriodWhileWaiting: lasting(30 * time.Second),
			MaxPerPass: 7,
		},
		Flush:     config.Flush{Mode: config.Observe},
		Keep:      config.Keep{Mode: config.Observe},
		Reprogram: config.Reprogram{Mode: config.Enforce},
		Eviction:  config.Eviction{Mode: config.Enforce, After: lasting(time.Minute)},
		Removals:  config.Removals{PerSecond: 0.5},
		Poll:      config.Poll{FastInterval: lasting(100 * time.Millisecond), SlowInterval: lasting(10 * time.Second)},
		HNS:       config.HNS{CallTimeout: lasting(20 * time.Second)},
		Pace:      config.DefaultPace(),
	}))
	g.Expect(got.ExcludedPrefixes()).To(Equal([]netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/64"), netip.MustParsePrefix("192.0.2.7/32"),
	}))
	for path := range allFields() {
		g.Expect(everyField).To(ContainSubstring(path[strings.LastIndex(path, ".")+1:]+":"), "a new field needs a place here")
	}
}

// Invariants 2 and 4.
func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	g := NewWithT(t)
	_, err := config.Decode("guard.yaml", []byte(`
apiVersion: hnsguard.io/v1
kind: Config
mode: dry-run
network: azure
exclusions: [10.0.0.0/33, 10.0.0.1/8, ~, 10.0.0.0/8]
conflict: {mode: never}
orphan: {gracePeriod: 5, gracePeriodWhileWaiting: 6m, maxPerPass: 0}
flush: enforce
eviction: {after: 1s}
poll: {fastInterval: 10s, slowInterval: 9s}
hns: {callTimeout: {s: 1}}
removals: {perSecond: 0}
mode: enforce
---
mode: observe
`))
	g.Expect(err).To(HaveOccurred())
	lines := strings.Split(err.Error(), "\n")
	g.Expect(lines[0]).To(Equal("decoding configuration guard.yaml:"))
	g.Expect(lines[1:]).To(ConsistOf(
		`line 14: key "mode" already set in map`,
		`must hold one document; remove everything after the second "---"`,
		`flush: must be a mapping, not string`,
		`exclusions[0]: Invalid value: "10.0.0.0/33": must be an address range such as "10.0.0.0/8", or an address`,
		`exclusions[1]: Invalid value: "10.0.0.1/8": has bits set after its length; the range is 10.0.0.0/8`,
		`exclusions[2]: Invalid value: "": must be an address range such as "10.0.0.0/8", or an address`,
		`orphan.gracePeriod: Invalid value: "5": must be a duration such as "10s", between 10s and 24h`,
		`hns.callTimeout: Invalid value: "{\"s\":1}": must be a duration such as "1s", between 1s and 10m`,
		`removals.perSecond: Invalid value: 0: must be between 0.01 and 1000`,
		`apiVersion: Unsupported value: "hnsguard.io/v1": supported values: "hnsguard.io/v1alpha1"`,
		`kind: Unsupported value: "Config": supported values: "Configuration"`,
		`conflict.mode: Unsupported value: "never": supported values: "enforce", "observe"`,
		`orphan.maxPerPass: Invalid value: 0: must be between 1 and 100000`,
		`eviction.after: Invalid value: "1s": must be between 10s and 1h`,
		`poll.fastInterval: Invalid value: "10s": must not be longer than poll.slowInterval, which is 9s`,
	))
}

// Invariants 2 and 4.
func TestAllUnknownKeysAreReportedAtOnce(t *testing.T) {
	_, err := config.Decode("f", []byte("modus: enforce\norphan: {gracePerod: 5m, gracePeriod: soon}\nhns: {listTimeout: 1m}\n"))
	NewWithT(t).Expect(err).To(MatchError("decoding configuration f:\n" +
		`unknown field "hns.listTimeout"` + "\n" + `unknown field "modus"` + "\n" + `unknown field "orphan.gracePerod"` + "\n" +
		`orphan.gracePeriod: Invalid value: "soon": must be a duration such as "10s", between 10s and 24h`))
}

// Invariant 2.
func TestUnknownKeysAreErrors(t *testing.T) {
	for data, want := range map[string]string{
		"Mode: observe":              `unknown field "Mode"`,
		"conflict: {Mode: observe}":  `unknown field "conflict.Mode"`,
		"orphans: {a: 1, b: {c: 2}}": `unknown field "orphans"`,
		"orphan: {maxPerStep: 25}":   `unknown field "orphan.maxPerStep"`,
		"netwerk: azure":             `unknown field "netwerk"`,
		"Pace: {Burst: 1}":           `unknown field "Pace"`,
		"nonsense: azure":            "unknown field \"nonsense\"",
		"1: 2":                       `unknown field "1"`,
		`"a\"b.c": {d: 1}`:           `unknown field "a\"b.c"`,
	} {
		_, err := config.Decode("f", []byte(data))
		g := NewWithT(t)
		g.Expect(err).To(MatchError(HavePrefix("decoding configuration f:\n"+want)), data)
		g.Expect(strings.Count(err.Error(), "\n")).To(Equal(1), "it is reported once: %v", err)
	}
}

// Invariant 2.
func TestWhatIsNoConfigurationAtAll(t *testing.T) {
	for data, complaint := range map[string]string{
		"- mode: enforce":                             `must be fields such as "mode: observe"`,
		"enforce":                                     `must be fields such as "mode: observe"`,
		"mode: [":                                     "decoding configuration f: yaml: line 1",
		"orphan: 5m":                                  "orphan: must be a mapping, not string",
		"exclusions: 10.0.0.0/8":                      "exclusions: must be a list, not string",
		"exclusions: [[10.0.0.0/8]]":                  "exclusions: must be a string, not array",
		"exclusions: [~]":                             `exclusions[0]: Invalid value: ""`,
		"mode: on":                                    "mode: must be a string, not bool",
		"removals: {perSecond: .nan}":                 "NaN",
		"orphan: {maxPerPass: 1e30}":                  "orphan.maxPerPass: must be a whole number, not number 1e+30",
		"mode: enforce\nmode: observe\n":              `line 2: key "mode" already set in map`,
		`{"mode": "enforce", "mode": "observe"}`:      `key "mode" already set in map`,
		"orphan: {maxPerPass: 1, maxPerPass: 2}":      `key "maxPerPass" already set in map`,
		"mode: observe\n---\nmode: enforce\n":         "must hold one document",
		"# a comment\n---\n---\norphan: {maxPerPass}": "must hold one document",
		"mode: observe\n---\n[":                       "must hold one document",
	} {
		_, err := config.Decode("f", []byte(data))
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(complaint)), data)
	}
}

func FuzzDecode(f *testing.F) {
	data, err := os.ReadFile(shipped)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for _, seed := range slices.Sorted(maps.Keys(refused)) {
		f.Add([]byte(seed))
	}
	for _, seed := range []string{everyField, "orphan: {a: &x [1, *x]}", "exclusions: [~, {}]", "---\n---", "{\"\":{}}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Decode("f", data)
		if err != nil {
			if strings.TrimSpace(strings.TrimPrefix(err.Error(), "decoding configuration f:")) == "" {
				t.Error("the error says nothing")
			}
			return
		}
		if errs := c.Validate(); len(errs) > 0 { // invariant 1
			t.Errorf("Decode returned what is not valid: %v", errs)
		}
	})
}
