// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/config"
)

// refused has a file for each kind of invalid value, and its error.
var refused = map[string]string{
	"apiVersion: v1":          `apiVersion: Unsupported value: "v1"`,
	`apiVersion: ""`:          `apiVersion: Unsupported value: ""`,
	"kind: ConfigMap":         `kind: Unsupported value: "ConfigMap"`,
	"mode: none":              `mode: Unsupported value: "none": supported values: "enforce", "observe"`,
	`mode: ""`:                `mode: Unsupported value: ""`,
	"conflict: {mode: none}":  `conflict.mode: Unsupported value: "none"`,
	"orphan: {mode: none}":    `orphan.mode: Unsupported value: "none"`,
	"flush: {mode: none}":     `flush.mode: Unsupported value: "none"`,
	"keep: {mode: none}":      `keep.mode: Unsupported value: "none"`,
	"reprogram: {mode: none}": `reprogram.mode: Unsupported value: "none"`,
	"eviction: {mode: none}":  `eviction.mode: Unsupported value: "none"`,

	"orphan: {gracePeriod: 1m, gracePeriodWhileWaiting: 61s}": `orphan.gracePeriodWhileWaiting: Invalid value: "1m1s": ` +
		"must not be longer than orphan.gracePeriod, which is 1m",
	"poll: {fastInterval: 2s, slowInterval: 1s}": `poll.fastInterval: Invalid value: "2s": ` +
		"must not be longer than poll.slowInterval, which is 1s",
}

// ranges has the minimum and maximum of every field with a range, a value below and one above.
var ranges = []struct{ path, least, most, below, above string }{
	{"orphan.gracePeriod", "10s", "24h", "9.999s", "24h0m0.001s"},
	{"orphan.gracePeriodWhileWaiting", "1s", "24h", "999ms", "24h0m0.001s"},
	{"orphan.maxPerPass", "1", "100000", "0", "100001"},
	{"eviction.after", "10s", "1h", "0s", "1h0m1s"},
	{"removals.perSecond", "0.01", "1000", "0.009", "1000.1"},
	{"poll.fastInterval", "50ms", "1m", "49ms", "1m0.1s"},
	{"poll.slowInterval", "1s", "5m", "0.5s", "5m1s"},
	{"hns.callTimeout", "1s", "10m", "0.5s", "10m1s"},
}

// file returns a file that sets a field, and the fields that it is compared with accordingly.
func file(path, value string) string {
	section, key, _ := strings.Cut(path, ".")
	partner := map[string]string{
		"orphan.gracePeriod": "gracePeriodWhileWaiting: 1s", "orphan.gracePeriodWhileWaiting": "gracePeriod: 24h",
		"poll.fastInterval": "slowInterval: 5m", "poll.slowInterval": "fastInterval: 50ms",
	}[path]
	return fmt.Sprintf("%s: {%s: %s, %s}", section, key, value, partner)
}

func TestWhatIsRefused(t *testing.T) {
	for data, want := range refused {
		_, err := config.Decode("f", []byte(data))
		g := NewWithT(t)
		g.Expect(err).To(MatchError(HavePrefix("decoding configuration f:\n"+want)), data)
		g.Expect(strings.Count(err.Error(), "\n")).To(Equal(1), "nothing else is wrong: %v", err)
	}
}

func TestRanges(t *testing.T) {
	for _, r := range ranges {
		t.Run(r.path, func(t *testing.T) {
			g := NewWithT(t)
			for _, good := range []string{r.least, r.most} {
				_, err := config.Decode("f", []byte(file(r.path, good)))
				g.Expect(err).NotTo(HaveOccurred())
			}
			for _, bad := range []string{r.below, r.above} {
				_, err := config.Decode("f", []byte(file(r.path, bad)))
				g.Expect(err).To(MatchError(And(ContainSubstring("\n"+r.path+": Invalid value: "),
					ContainSubstring(": must be between "+r.least+" and "+r.most))), bad)
			}
		})
	}
}

// A field without a rule would accept any value.
func TestEveryFieldHasARule(t *testing.T) {
	g := NewWithT(t)
	ruled := map[string]bool{}
	for _, r := range ranges {
		ruled[r.path] = true
	}
	for _, want := range refused {
		path, _, _ := strings.Cut(want, ": ")
		ruled[path] = true
	}
	for path := range allFields() {
		if path != "network" && path != "exclusions" { // any name, and any range that can be decoded
			g.Expect(ruled).To(HaveKey(path))
		}
	}
}

// Users look up ranges in the shipped file.
func TestTheShippedFileShowsTheRanges(t *testing.T) {
	g := NewWithT(t)
	data, err := os.ReadFile(shipped)
	g.Expect(err).NotTo(HaveOccurred())
	for _, r := range ranges {
		most := r.most
		if r.path == "orphan.gracePeriodWhileWaiting" {
			most = "gracePeriod"
		}
		key := r.path[strings.Index(r.path, ".")+1:]
		g.Expect(string(data)).To(MatchRegexp(`(?m)\b%s to %s\b[^#\n]*\n *%s:`, strings.ReplaceAll(r.least, ".", `\.`), most, key))
	}
}

// Invariant 3.
func TestTheDefaultIsValid(t *testing.T) {
	NewWithT(t).Expect(config.Default().Validate()).To(BeEmpty())
}

// A configuration that was not decoded may lack what every file has.
func TestTheZeroValueIsNotValid(t *testing.T) {
	g := NewWithT(t)
	c := config.Config{Exclusions: []string{"", "10.0.0.0/8"}}
	paths := []string{}
	for _, err := range c.Validate() {
		paths = append(paths, err.Field)
	}
	want := []string{"exclusions[0]"}
	for path, kind := range allFields() {
		if kind == reflect.TypeFor[config.Duration]() || kind.Kind() != reflect.Slice && path != "network" {
			want = append(want, path)
		}
	}
	g.Expect(paths).To(ConsistOf(want))
}

func TestExclusions(t *testing.T) {
	g := NewWithT(t)
	c := config.Default()
	for text, want := range map[string]string{"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3": "10.1.2.3/32", "fd00::1": "fd00::1/128"} {
		c.Exclusions = []string{text}
		g.Expect(c.Validate()).To(BeEmpty(), text)
		g.Expect(c.ExcludedPrefixes()).To(Equal([]netip.Prefix{netip.MustParsePrefix(want)}))
	}
	for _, text := range []string{"", "x", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/08"} {
		c.Exclusions = []string{text}
		g.Expect(c.Validate()).To(ConsistOf(HaveField("Field", "exclusions[0]")), text)
	}
}
