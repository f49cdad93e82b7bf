// SPDX-License-Identifier: Apache-2.0

// Package system_test tests hnsguard with real Windows programs: hnsguard.exe and kube-proxy.exe run under Wine and
// share one simulated Host Networking Service, and a real API server. If the test is compiled as a Windows program, it
// can also use the Host Networking Service of its Windows.
//
// kube-proxy.exe is cross-built, unchanged, and syncs every 5 seconds instead of 30 in most scenarios. hnsguard.exe is
// the release build. Both call replacements of HNS's DLLs (folder hnsdll) that forward every call to the simulated HNS
// in the test process, which records who deleted what. The test writes the EndpointSlices itself.
//
// With the real HNS, the test creates a network of the given type, acts as the CNI on it, and deletes it in the end.
// kube-proxy deletes all load balancers of the machine. HNS chooses the order of enumeration, whatever the name of a
// scenario says. Not verified: no real HNS was available.
package system_test

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
)

// result is the result of a scenario.
type result struct {
	scenario, version string
	guarded           bool
	// period is kube-proxy's sync period.
	period time.Duration
	outcome
}

// TestScenarios plays every scenario with every kube-proxy, without and with hnsguard.
func TestScenarios(t *testing.T) {
	exe := findPrograms(t)
	t.Cleanup(func() { expectNobodyLeft(t) })
	nodes := min(16, nodesPerProcessor*runtime.NumCPU())
	if realHNS() != "" {
		nodes = 1 // this machine
	}
	all := startAPIServers(t, exe, number(t, "HNSGUARD_API_SERVERS", nodes))
	var mu sync.Mutex
	var measured []result
	t.Run("group", func(t *testing.T) { // all have to be done before the results are kept
		shown := sets.New[string]()
		for _, version := range slices.Sorted(maps.Keys(exe.proxies)) {
			for _, sc := range scenarios() {
				for _, guarded := range []bool{false, true} {
					if !played(sc, guarded, kubeproxy.ProfileOf(version), shown) {
						continue
					}
					for run := range runs(t, sc, guarded, kubeproxy.ProfileOf(version)) {
						t.Run(fmt.Sprintf("%s/%s/guarded=%t/%d", version, strings.ReplaceAll(sc.name, " ", "-"), guarded, run),
							func(t *testing.T) {
								t.Parallel()
								s := newWindowsNode(t, all.take(t), exe, version, guarded, sc.nodeOptions)
								r := result{sc.name, version, guarded, s.period, sc.play(s)}
								judge(t, sc, r)
								mu.Lock()
								defer mu.Unlock()
								measured = append(measured, r)
							})
					}
				}
			}
		}
	})
	if path := os.Getenv(resultsFile); path != "" {
		keep(t, path, measured)
	}
}

// nodesPerProcessor is the number of nodes, with their API servers, that a processor can run at a time, so that
// kube-proxy and hnsguard are fast enough for the scenarios. All their Windows programs share one wineserver.
const nodesPerProcessor = 4

// resultsFile is the variable with the file for the results.
const resultsFile = "HNSGUARD_RESULTS"

// controls is the variable that says how often a scenario is played without hnsguard: with every version that has the
// fault, or "once", which is enough to show the fault.
const controls = "HNSGUARD_CONTROLS"

// played reports whether a scenario is played. If its end is neither expected to be good nor bad, it is only played for
// the results.
func played(sc scenario, guarded bool, profile kubeproxy.Profile, shown sets.Set[string]) bool {
	forResults := os.Getenv(resultsFile) != ""
	switch {
	case realHNS() != "":
		return sc.core && (guarded || sc.fails != nil)
	case guarded:
		return forResults || sc.mustBeSaved(profile) && !sc.slow
	case sc.fails == nil:
		return false
	case forResults:
		return true
	case !sc.fails(profile) || shown.Has(sc.name) && os.Getenv(controls) == "once":
		return false
	}
	shown.Insert(sc.name)
	return true
}

// judge fails the test if a scenario did not end as expected, and logs its end in one line.
func judge(t *testing.T, sc scenario, r result) {
	t.Helper()
	profile := kubeproxy.ProfileOf(r.version)
	with := "without"
	if r.guarded {
		with = "with   "
	}
	fmt.Printf("%-8s %s hnsguard  %-55s %s\n", r.version, with, r.scenario, r.text)
	switch {
	case !r.guarded && realHNS() != "": // what happens is the result
	case !r.guarded && sc.fails(profile) && r.good:
		t.Errorf("without hnsguard it should go wrong with %s, or the scenario does not show what it should; but: %s",
			r.version, r.text)
	case r.guarded && sc.mustBeSaved(profile) && !r.good:
		t.Errorf("with hnsguard it should end well with %s; but: %s", r.version, r.text)
	}
}

// runs returns how often a scenario is played. A scenario that may end well by luck is repeated if it should not.
func runs(t *testing.T, sc scenario, guarded bool, profile kubeproxy.Profile) int {
	t.Helper()
	if sc.repeated && guarded && sc.fails(profile) {
		return number(t, "HNSGUARD_RUNS", 1)
	}
	return 1
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}
