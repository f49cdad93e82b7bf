// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/config"
)

// Invariant 3.
func TestAnEmptyFileIsTheDefault(t *testing.T) {
	for _, data := range []string{"", "{}", "# nothing\n", "apiVersion: hnsguard.io/v1alpha1\nkind: Configuration\n", "orphan:\n"} {
		NewWithT(t).Expect(config.Decode("f", []byte(data))).To(Equal(config.Default()), data)
	}
}

func TestEveryFieldIsDecoded(t *testing.T) {
	g := NewWithT(t)
	g.Expect(config.Decode("f", []byte(`
apiVersion: hnsguard.io/v1alpha1
kind: Configuration
mode: observe
network: azure
exclusions: [10.0.0.0/8, "fd00::/64", 192.0.2.7]
conflict: {mode: observe}
orphan: {mode: observe, gracePeriod: 10m, maxPerPass: 7, gracePeriodWhileWaiting: 30s}
flush: {mode: observe}
shield: {mode: enforce}
reprogram: {mode: enforce}
repair: {mode: enforce, after: 1m, every: 5m}
removals: {perSecond: 0.5, burst: 3}
poll: {fast: 100ms, fastFor: 90s, slow: 10s}
hns: {callTimeout: 20s, listTimeout: 2m, maxHungCalls: 4, rereadEvery: 10m}
`))).To(Equal(config.Config{
		Mode: config.Observe, Network: "azure",
		Exclusions: []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/64"), netip.MustParsePrefix("192.0.2.7/32"),
		},
		Conflict: config.Conflict{Mode: config.Observe},
		Orphan: config.Orphan{
			Mode: config.Observe, GracePeriod: 10 * time.Minute, MaxPerPass: 7, GraceWhileWaiting: 30 * time.Second,
		},
		Flush:     config.Flush{Mode: config.Observe},
		Shield:    config.Shield{Mode: config.Enforce},
		Reprogram: config.Reprogram{Mode: config.Enforce},
		Repair:    config.Repair{Mode: config.Enforce, After: time.Minute, Every: 5 * time.Minute},
		Removals:  config.Removals{PerSecond: 0.5, Burst: 3},
		Poll:      config.Poll{Fast: 100 * time.Millisecond, FastFor: 90 * time.Second, Slow: 10 * time.Second},
		HNS: config.HNS{
			CallTimeout: 20 * time.Second, ListTimeout: 2 * time.Minute, MaxHungCalls: 4, RereadEvery: 10 * time.Minute,
		},
	}))
}

func TestAllFaultsAreReportedAtOnce(t *testing.T) {
	g := NewWithT(t)
	_, err := config.Decode("guard.yaml", []byte(`
apiVersion: hnsguard.io/v1
kind: Config
mode: dry-run
network: 7
modus: enforce
exclusions: [10.0.0.0/33, 10.0.0.1/8, 12]
orphan: {gracePerod: 5m, gracePeriod: 5, gracePeriodWhileWaiting: 6m, maxPerPass: 0}
repair: {after: 1s, every: soon}
removals: {perSecond: fast, burst: 1.5}
poll: {fast: 10s, slow: 9s}
`))
	g.Expect(err).To(HaveOccurred())
	g.Expect(strings.Split(err.Error(), "\n")[0]).To(Equal("reading configuration guard.yaml:"))
	for _, fault := range []string{
		`unknown field "modus"`,
		`unknown field "orphan.gracePerod"`,
		`apiVersion: Unsupported value: "hnsguard.io/v1": supported values: "hnsguard.io/v1alpha1"`,
		`kind: Unsupported value: "Config"`,
		`mode: Unsupported value: "dry-run": supported values: "enforce", "observe"`,
		`network: Invalid value: "7": must be a string`,
		`exclusions[0]: Invalid value: "10.0.0.0/33": must be an address range`,
		`exclusions[1]: Invalid value: "10.0.0.1/8": has bits set behind its length; the range is 10.0.0.0/8`,
		`exclusions[2]: Invalid value: "12": must be a string`,
		`orphan.gracePeriod: Invalid value: "5": must be a string`,
		`orphan.gracePeriodWhileWaiting: Invalid value: "6m0s": must not be longer than orphan.gracePeriod, which is 5m0s`,
		`orphan.maxPerPass: Invalid value: 0: must lie between 1 and 100000`,
		`repair.after: Invalid value: "1s": must lie between 10s and 1h0m0s`,
		`repair.every: Invalid value: "soon": must be a duration`,
		`removals.perSecond: Invalid value: "\"fast\"": must be a number`,
		`removals.burst: Invalid value: "1.5": must be a whole number`,
		`poll.fast: Invalid value: "10s": must not be longer than poll.slow, which is 9s`,
	} {
		g.Expect(err).To(MatchError(ContainSubstring(fault)))
	}
}

func TestWhatIsNoConfigurationAtAll(t *testing.T) {
	for data, complaint := range map[string]string{
		"mode: enforce\nmode: observe\n": "already set in map",
		"- mode: enforce":                "reading configuration f",
		"orphan: 5m":                     "reading configuration f",
		"mode: [":                        "reading configuration f",
	} {
		_, err := config.Decode("f", []byte(data))
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(complaint)), data)
	}
}

func TestEnforces(t *testing.T) {
	g := NewWithT(t)
	c := config.Default()
	g.Expect(c.Enforces(config.Enforce)).To(BeTrue())
	g.Expect(c.Enforces(config.Observe)).To(BeFalse())
	c.Mode = config.Observe
	g.Expect(c.Enforces(config.Enforce)).To(BeFalse(), "the ceiling holds")
}

func TestTheShippedFileIsTheDefault(t *testing.T) {
	g := NewWithT(t)
	data, err := os.ReadFile("../../config/hnsguard.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	want := config.Default()
	g.Expect(config.Decode("config/hnsguard.yaml", data)).To(Equal(want))
	for _, key := range []string{
		"mode", "network", "exclusions", "gracePeriod", "gracePeriodWhileWaiting", "maxPerPass", "flush", "shield", "reprogram",
		"after", "every", "perSecond", "burst", "fast", "fastFor", "slow", "callTimeout", "listTimeout", "maxHungCalls", "rereadEvery",
	} {
		g.Expect(string(data)).To(MatchRegexp(`(?m)^ *`+key+`:`), "every field is in it")
	}
}
