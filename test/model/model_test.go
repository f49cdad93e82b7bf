// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hnsguard/hnsguard/test/world"
)

// The environment of a run, see the Makefile.
const (
	// envSteps is how many steps a long run makes at least, all kube-proxies together.
	envSteps = "HNSGUARD_MODEL_STEPS"
	// envReplay is a file with one history to play, with its whole log.
	envReplay = "HNSGUARD_MODEL_REPLAY"
)

// total counts what runs have done.
type total struct {
	histories, removed, lost, lostWithout int
	steps                                 map[world.Actor]int
}

func (c *total) add(r report) {
	c.histories++
	c.removed += r.Removed
	c.lost += r.Lost
	c.lostWithout += r.LostWithout
	for actor, n := range r.Steps {
		c.steps[actor] += n
	}
}

func (c *total) all() (n int) {
	for _, steps := range c.steps {
		n += steps
	}
	return n
}

// TestModel plays random histories with each kube-proxy.
func TestModel(t *testing.T) {
	if os.Getenv(envReplay) != "" {
		t.Skip("one history is played")
	}
	want, _ := strconv.Atoi(os.Getenv(envSteps)) // zero makes one round
	for _, traits := range world.Versions() {
		t.Run(traits.Version, func(t *testing.T) {
			t.Parallel()
			c := &total{steps: map[world.Actor]int{}}
			start := time.Now()
			for {
				rapid.Check(t, func(rt *rapid.T) { check(t, rt, historiesOf(traits.Version).Draw(rt, "history"), c) })
				if t.Failed() || c.all() >= want/len(world.Versions()) {
					break
				}
			}
			t.Logf("%d histories, %d steps %v in %s; %d endpoints removed; pods that lost theirs: %d with hnsguard, %d without",
				c.histories, c.all(), c.steps, time.Since(start).Round(time.Millisecond), c.removed, c.lost, c.lostWithout)
		})
	}
}

func check(t *testing.T, rt *rapid.T, h world.History, c *total) {
	r := judge(t, h, false)
	c.add(r)
	if len(r.Violations) == 0 {
		return
	}
	rt.Fatalf("%s\n%s\n%s", describe(h), violations(r), judge(t, h, true).Trace)
}

func violations(r report) string {
	var b strings.Builder
	for _, v := range r.Violations {
		fmt.Fprintln(&b, "VIOLATED", v)
	}
	return b.String()
}

// describe prints a history so that it can be read and played again.
func describe(h world.History) string {
	encoded, err := json.Marshal(h)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "history: %s\n%+v\n", encoded, h.Setup)
	for _, a := range h.Actions {
		fmt.Fprintln(&b, "  ", a)
	}
	return b.String()
}

// TestReplay plays one history from a file and shows everything that happens.
func TestReplay(t *testing.T) {
	file := os.Getenv(envReplay)
	if file == "" {
		t.Skip("set " + envReplay + " to the file of a history")
	}
	encoded, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var h world.History
	if err := json.Unmarshal(encoded, &h); err != nil {
		t.Fatal(err)
	}
	r := judge(t, h, true)
	t.Logf("%s\n%s", describe(h), r.Trace)
	if len(r.Violations) > 0 {
		t.Fatal(violations(r))
	}
}
