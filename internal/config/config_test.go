// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/hnsguard/hnsguard/internal/config"
)

const shipped = "../../config/hnsguard.yaml"

// fields returns the paths of all fields of a struct that have a value.
func fields(t reflect.Type, path string) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for f := range t.Fields() {
		if f.Tag.Get("json") == "-" {
			continue
		}
		at := strings.TrimPrefix(path+"."+f.Tag.Get("json"), ".")
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[config.Duration]() {
			for inner, kind := range fields(f.Type, at) {
				all[inner] = kind
			}
			continue
		}
		all[at] = f.Type
	}
	return all
}

func allFields() map[string]reflect.Type { return fields(reflect.TypeFor[config.Config](), "") }

// Invariant 3.
func TestTheShippedFileIsTheDefault(t *testing.T) {
	g := NewWithT(t)
	data, err := os.ReadFile(shipped)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(config.Decode("config/hnsguard.yaml", data)).To(Equal(config.Default()))
	for path := range allFields() {
		key := path[strings.LastIndex(path, ".")+1:]
		g.Expect(string(data)).To(MatchRegexp(`(?m)^ *`+key+`:`), "every field is in the file")
	}
}

func TestEnforces(t *testing.T) {
	g := NewWithT(t)
	c := config.Default()
	g.Expect(c.Enforces(config.Enforce)).To(BeTrue())
	g.Expect(c.Enforces(config.Observe)).To(BeFalse())
	c.Mode = config.Observe
	g.Expect(c.Enforces(config.Enforce)).To(BeFalse(), "the mode of the file is the upper limit")
}

func TestEveryClassIsInTheMetric(t *testing.T) {
	g := NewWithT(t)
	reg := prometheus.NewRegistry()
	config.Default().Register(reg)
	g.Expect(testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP hnsguard_enforcing Whether a class of acts is enforced (1) or only observed (0).
# TYPE hnsguard_enforcing gauge
hnsguard_enforcing{class="conflict"} 1
hnsguard_enforcing{class="eviction"} 0
hnsguard_enforcing{class="flush"} 1
hnsguard_enforcing{class="keep"} 1
hnsguard_enforcing{class="orphan"} 1
hnsguard_enforcing{class="reprogram"} 0
`))).To(Succeed())
	classes := 0
	for path, kind := range allFields() {
		if kind == reflect.TypeFor[config.Mode]() && path != "mode" {
			classes++
		}
	}
	g.Expect(classes).To(Equal(6), "a new class needs a label")
}

// The configuration is logged at startup, in both formats.
func TestTheLogShowsTheConfigurationAsAFileHasIt(t *testing.T) {
	g := NewWithT(t)
	c := config.Default()
	c.Exclusions = []string{"10.0.0.0/8"}
	c.Eviction.After = config.Duration{Duration: time.Minute}

	var line bytes.Buffer
	slog.New(slog.NewJSONHandler(&line, nil)).Info("Starting", "config", c)
	var logged struct {
		Config json.RawMessage `json:"config"`
	}
	g.Expect(json.Unmarshal(line.Bytes(), &logged)).To(Succeed())
	g.Expect(config.Decode("the log", logged.Config)).To(Equal(c))

	line.Reset()
	slog.New(slog.NewTextHandler(&line, nil)).Info("Starting", "config", c)
	g.Expect(line.String()).To(And(ContainSubstring("After:1m"), ContainSubstring("Exclusions:[10.0.0.0/8]")))
}

func TestEachClassOfRemovalHasItsMode(t *testing.T) {
	g := NewWithT(t)
	c := config.Default()
	c.Orphan.Mode = config.Observe
	g.Expect(c.EnforcesRemoval(true)).To(BeFalse())
	g.Expect(c.EnforcesRemoval(false)).To(BeTrue())
}
