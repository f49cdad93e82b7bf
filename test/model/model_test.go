// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hnsguard/hnsguard/test/winkernel"
	"github.com/hnsguard/hnsguard/test/world"
)

// The environment variables of a run, see the Makefile.
const (
	// envSteps is the minimum number of steps of a long run, with all kube-proxies together.
	envSteps = "HNSGUARD_MODEL_STEPS"
	// envSyncs is the minimum number of syncs of released kube-proxies, all together.
	envSyncs = "HNSGUARD_MODEL_SYNCS"
	// envReplay is a file with one history to play with its full log.
	envReplay = "HNSGUARD_MODEL_REPLAY"
)

// total counts the results of runs.
type total struct {
	histories, removed, lost, lostWithout, syncs int
	steps                                        map[world.Actor]int
	// faults are the totals of histories with a fault, by its verb.
	faults map[world.Verb]*total
}

func newTotal() *total { return &total{steps: map[world.Actor]int{}, faults: map[world.Verb]*total{}} }

func (c *total) add(h world.History, r report) {
	c.count(r)
	verbs := map[world.Verb]bool{}
	for _, a := range h.Actions {
		verbs[a.Verb] = true
	}
	for verb := range verbs {
		if c.faults[verb] == nil {
			c.faults[verb] = newTotal()
		}
		c.faults[verb].count(r)
	}
}

func (c *total) count(r report) {
	c.histories++
	c.removed += r.Removed
	c.lost += r.Lost
	c.lostWithout += r.LostWithout
	c.syncs += r.Syncs
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
	want, _ := strconv.Atoi(os.Getenv(envSteps)) // zero means one round
	for _, traits := range world.Versions() {
		t.Run(traits.Version, func(t *testing.T) {
			t.Parallel()
			c := newTotal()
			for played := false; !played || !t.Failed() && c.all() < want/len(world.Versions()); played = true {
				playHistories(t, traits.Version, nil, c)
			}
			t.Logf("%d histories, %d steps %v; %d endpoints removed; pods that lost theirs: %d with hnsguard, %d without",
				c.histories, c.all(), c.steps, c.removed, c.lost, c.lostWithout)
		})
	}
}

// TestReleasedKubeProxies plays random histories with the code of released kube-proxies.
func TestReleasedKubeProxies(t *testing.T) {
	versions := slices.Sorted(maps.Keys(winkernel.Programs()))
	if len(versions) == 0 || os.Getenv(envReplay) != "" {
		t.Skip("make model-kube-proxy builds them")
	}
	want, _ := strconv.Atoi(os.Getenv(envSyncs)) // zero means one round
	all, syncs := map[string]*total{}, 0
	for _, version := range versions {
		all[version] = newTotal()
	}
	ratio := 0.0
	if os.Getenv(envResults) != "" {
		ratio = speed(t, versions)
	}
	// Each round has the same number of histories of each version, because 1.34.0 syncs rarely.
	for round := 0; round == 0 || !t.Failed() && syncs < want; round++ {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			for _, version := range versions {
				t.Run(version, func(t *testing.T) {
					t.Parallel()
					c := all[version]
					playHistories(t, version, startPrograms(t, version), c)
					t.Logf("%d histories, %d syncs; %d endpoints removed; pods that lost theirs: %d with hnsguard, %d without",
						c.histories, c.syncs, c.removed, c.lost, c.lostWithout)
				})
			}
		})
		syncs = 0
		for _, c := range all {
			syncs += c.syncs
		}
		if !t.Failed() {
			writeResults(t, all, ratio)
		}
	}
}

// playHistories plays and judges a round of histories, until one violates an invariant.
func playHistories(t *testing.T, version string, released programs, c *total) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		h := historiesOf(version).Draw(rt, "history")
		r := judge(t, h, released, false)
		c.add(h, r)
		if len(r.Violations) > 0 {
			rt.Fatalf("%s\n%s\n%s", describe(h), violations(r), judge(t, h, released, true).Trace)
		}
	})
}

func violations(r report) string {
	var b strings.Builder
	for _, v := range r.Violations {
		fmt.Fprintln(&b, "VIOLATED", v)
	}
	return b.String()
}

// describe prints a history in a form that can be read and played again.
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

// TestReplay plays one history from a file and shows every event.
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
	released := startPrograms(t, h.Setup.KubeProxy)
	if released != nil {
		t.Log(compare(t, h, world.Play{Trace: true}, released))
	}
	r := judge(t, h, released, true)
	t.Logf("%s\n%s", describe(h), r.Trace)
	if len(r.Violations) > 0 {
		t.Fatal(violations(r))
	}
}
