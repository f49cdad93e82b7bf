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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
conflict: {mode: observe, holdTimeout: 10m}
orphan: {mode: observe, gracePeriod: 10m, gracePeriodWhileWaiting: 30s, maxPerPass: 7, maxPerStep: 2, stepInterval: 20s}
flush: {mode: observe}
shield: {mode: enforce}
reprogram: {mode: enforce}
eviction: {mode: enforce, after: 1m, interval: 5m}
removals: {perSecond: 0.5, burst: 3}
poll: {fastInterval: 100ms, fastDuration: 90s, slowInterval: 10s}
hns: {callTimeout: 20s, listTimeout: 2m, maxHungCalls: 4, rereadInterval: 10m}
`

func TestEveryFieldIsDecoded(t *testing.T) {
	g := NewWithT(t)
	lasting := func(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }
	got, err := config.Decode("f", []byte(everyField))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(got).To(Equal(config.Config{
		APIVersion: config.APIVersion, Kind: config.Kind, Mode: config.Observe, Network: "azure",
		Exclusions: []config.Prefix{
			{Prefix: netip.MustParsePrefix("10.0.0.0/8")},
			{Prefix: netip.MustParsePrefix("fd00::/64")},
			{Prefix: netip.MustParsePrefix("192.0.2.7/32")},
		},
		Conflict: config.Conflict{Mode: config.Observe, HoldTimeout: lasting(10 * time.Minute)},
		Orphan: config.Orphan{
			Mode: config.Observe, GracePeriod: lasting(10 * time.Minute), GracePeriodWhileWaiting: lasting(30 * time.Second),
			MaxPerPass: 7, MaxPerStep: 2, StepInterval: lasting(20 * time.Second),
		},
		Flush:     config.Flush{Mode: config.Observe},
		Shield:    config.Shield{Mode: config.Enforce},
		Reprogram: config.Reprogram{Mode: config.Enforce},
		Eviction: config.Eviction{
			Mode: config.Enforce, After: lasting(time.Minute), Interval: lasting(5 * time.Minute),
		},
		Removals: config.Removals{PerSecond: 0.5, Burst: 3},
		Poll: config.Poll{
			FastInterval: lasting(100 * time.Millisecond), FastDuration: lasting(90 * time.Second),
			SlowInterval: lasting(10 * time.Second),
		},
		HNS: config.HNS{
			CallTimeout: lasting(20 * time.Second), ListTimeout: lasting(2 * time.Minute), MaxHungCalls: 4,
			RereadInterval: lasting(10 * time.Minute),
		},
	}))
	g.Expect(got.ExcludedPrefixes()).To(Equal([]netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/64"), netip.MustParsePrefix("192.0.2.7/32"),
	}))
	for path := range allFields() {
		g.Expect(everyField).To(ContainSubstring(path[strings.LastIndex(path, ".")+1:]+":"), "a new field needs a place here")
	}
}

// Invariants 2, 4 and 5.
func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	g := NewWithT(t)
	_, err := config.Decode("guard.yaml", []byte(`
apiVersion: hnsguard.io/v1
kind: Config
mode: dry-run
network: 7
modus: enforce
exclusions: [10.0.0.0/33, 10.0.0.1/8, 12, ~, 10.0.0.0/8]
conflict: {mode: {enforce: true}, holdTimeout: 2h}
orphan: {gracePerod: 5m, gracePeriod: 5, gracePeriodWhileWaiting: 6m, maxPerPass: 0}
flush: enforce
repair: {after: 1s, every: soon}
eviction: {after: 1s, interval: soon, every: 1m}
removals: {perSecond: fast, burst: 1.5}
poll: {fastInterval: 10s, slowInterval: 9s, fast: 1s}
hns: {callTimeout: {s: 1}, listTimeout: [1m], maxHungCalls: true}
mode: enforce
---
mode: observe
`))
	g.Expect(err).To(HaveOccurred())
	lines := strings.Split(err.Error(), "\n")
	g.Expect(lines[0]).To(Equal("decoding configuration guard.yaml:"))
	g.Expect(lines[1:]).To(ConsistOf(
		`line 16: key "mode" already set in map`,
		`must hold one document; remove everything after the second "---"`,
		`unknown field "modus"; did you mean mode?`,
		`unknown field "orphan.gracePerod"; did you mean gracePeriod?`,
		`unknown field "repair": use eviction, and eviction.interval instead of every`,
		`unknown field "eviction.every": use eviction.interval`,
		`unknown field "poll.fast": use poll.fastInterval`,
		`network: Invalid value: 7: must be a string`,
		`exclusions[0]: Invalid value: "10.0.0.0/33": must be an address range such as "10.0.0.0/8", or an address`,
		`exclusions[1]: Invalid value: "10.0.0.1/8": has bits set after its length; the range is 10.0.0.0/8`,
		`exclusions[2]: Invalid value: 12: must be a string`,
		`exclusions[3]: Required value`,
		`conflict.mode: Invalid value: "{\"enforce\":true}": must be "enforce" or "observe"`,
		`orphan.gracePeriod: Invalid value: 5: must be a duration such as "10s", between 10s and 24h`,
		`flush: Invalid value: "enforce": must be fields of its own`,
		`eviction.interval: Invalid value: "soon": must be a duration such as "1s", between 1s and 24h`,
		`removals.perSecond: Invalid value: "fast": must be a number`,
		`removals.burst: Invalid value: 1.5: must be a whole number`,
		`hns.callTimeout: Invalid value: "{\"s\":1}": must be a duration such as "1s", between 1s and 10m`,
		`hns.listTimeout: Invalid value: "[\"1m\"]": must be a duration such as "1s", between 1s and 1h`,
		`hns.maxHungCalls: Invalid value: true: must be a whole number`,

		`apiVersion: Unsupported value: "hnsguard.io/v1": supported values: "hnsguard.io/v1alpha1"`,
		`kind: Unsupported value: "Config": supported values: "Configuration"`,
		`conflict.holdTimeout: Invalid value: "2h": must be between 30s and 1h`,
		`orphan.maxPerPass: Invalid value: 0: must be between 1 and 100000`,
		`orphan.gracePeriodWhileWaiting: Invalid value: "6m": must not be longer than orphan.gracePeriod, which is 5m`,
		`eviction.after: Invalid value: "1s": must be between 10s and 1h`,
		`poll.fastInterval: Invalid value: "10s": must not be longer than poll.slowInterval, which is 9s`,
	))
}

// Invariant 2.
func TestUnknownKeysAreErrors(t *testing.T) {
	for data, want := range map[string]string{
		"Mode: observe":              `unknown field "Mode"`,
		"conflict: {Mode: observe}":  `unknown field "conflict.Mode"`,
		"orphans: {a: 1, b: {c: 2}}": `unknown field "orphans"`,
		"repair:":                    `unknown field "repair": use eviction`,
		"poll: {fastFor: 1m}":        `unknown field "poll.fastFor": use poll.fastDuration`,
		"poll: {slow: 1m}":           `unknown field "poll.slow": use poll.slowInterval`,
		"hns: {rereadEvery: 5m}":     `unknown field "hns.rereadEvery": use hns.rereadInterval`,
		"netwerk: azure":             `unknown field "netwerk"; did you mean network?`,
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
		"orphan: 5m":                                  `orphan: Invalid value: "5m": must be fields of its own`,
		"exclusions: 10.0.0.0/8":                      `exclusions: Invalid value: "10.0.0.0/8": must be a list`,
		"exclusions: [[10.0.0.0/8]]":                  `exclusions[0]: Invalid value: "[\"10.0.0.0/8\"]": must be a string`,
		"exclusions: [~]":                             "exclusions[0]: Required value",
		"mode: on":                                    `mode: Invalid value: true: must be "enforce" or "observe"`,
		"removals: {perSecond: .nan}":                 "NaN",
		"orphan: {maxPerPass: 1e30}":                  "orphan.maxPerPass: Invalid value: 1e+30: must be a whole number",
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
