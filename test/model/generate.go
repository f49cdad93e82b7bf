// SPDX-License-Identifier: Apache-2.0

package model

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/hnsguard/hnsguard/test/hnstest"
)

// Histories generates histories of one kube-proxy. What comes first in a list is what a counterexample is shrunk to.
func Histories(version string) *rapid.Generator[History] {
	return rapid.Custom(func(t *rapid.T) History {
		kinds := one(t, "subject", subjects()...)
		return History{Setup: drawSetup(t, version), Actions: rapid.SliceOfN(actions(kinds), 1, maxActions).Draw(t, "actions")}
	})
}

// maxActions is how long a history is at most.
const maxActions = 40

func one[T any](t *rapid.T, name string, from ...T) T { return rapid.SampledFrom(from).Draw(t, name) }

func drawSetup(t *rapid.T, version string) Setup {
	s := Setup{
		Seed: rapid.Uint64Range(0, 1<<20).Draw(t, "seed"), KubeProxy: version, NodeVersion: version,
		Order:      one(t, "order", hnstest.OldestFirst, hnstest.NewestFirst, hnstest.ByID, hnstest.Random),
		Duplicates: one(t, "duplicates", hnstest.AllowDuplicates, hnstest.OneRemote, hnstest.RefuseDuplicates),
		Latency:    one(t, "latency", time.Millisecond, 20*time.Millisecond),
		APILatency: one(t, "api latency", 5*time.Millisecond, 200*time.Millisecond),
		Took:       one(t, "took", 50*time.Millisecond, 2*time.Second, 15*time.Second, 45*time.Second),
		Nodes:      one(t, "nodes", 1, 1, 1, 1, 1, 2), Agents: one(t, "agents", 1, 1, 1, 1, 2),
		Services: rapid.IntRange(1, maxServices).Draw(t, "services"), Pool: rapid.IntRange(1, maxPool).Draw(t, "pool"),
		Evict: rapid.Bool().Draw(t, "evict"), Reprogram: rapid.Bool().Draw(t, "reprogram"),
		Skew:        one(t, "skew", 0, 0, -5*time.Minute, 5*time.Minute),
		Tight:       one(t, "tight", false, false, true),
		OrphanGrace: one(t, "orphan grace", time.Minute, 10*time.Second, 5*time.Minute),
	}
	if one(t, "node version", true, true, false) {
		s.NodeVersion = "v1.32.13" // the kubelet's own
	}
	lags := []time.Duration{0, 100 * time.Millisecond, 2 * time.Second, 10 * time.Second}
	s.KubeProxyLag = one(t, "kube-proxy's lag", lags...)
	s.GuardLag = one(t, "guard's lag", lags...)
	s.ControllerLag = one(t, "controller's lag", lags[:3]...)
	return s
}

const (
	maxServices = 4
	maxPool     = 6
)

// verbs are what a history may consist of, each verb as often as it should be drawn.
type verbs []Verb

// subjects are what histories are about. The world lives by pods that come and go.
func subjects() []verbs {
	pods := verbs{StartRemote, StartRemote, ReplacePod, ReplacePod, StartLocal, DeletePod}
	faults := verbs{
		HNSDown, HNSFails, HNSHangs, HNSSlow, CutGuard, CutGuard, StallHandlers, CutKubeProxy, CutKubeProxy,
		APIFails, MetricsDown, Crash, RestartKubeProxy, Freeze,
	}
	usual := slices.Concat(pods, pods, pods, pods, verbs{Touch, Repack, Repack, Mirror, Mirror, FinishPod, External}, faults)
	return []verbs{
		usual, usual, usual,
		slices.Concat(pods, pods, verbs{DoublePod, DoublePod, LoseSandbox, LoseSandbox, LoseSandbox, FinishPod, FinishPod, Repack}, faults),
		slices.Concat(pods, verbs{External, External, External, External, Relist, Relist, Touch, RestartKubeProxy, StallHandlers}),
		slices.Concat(pods, pods, pods, verbs{ReplaceKubeProxy, ReplaceKubeProxy, RestartKubeProxy, MetricsDown, Touch, CutKubeProxy}),
	}
}

func actions(kinds verbs) *rapid.Generator[Action] {
	return rapid.Custom(func(t *rapid.T) Action {
		a := Action{Verb: rapid.SampledFrom([]Verb(kinds)).Draw(t, "verb"), Then: drawWait(t)}
		switch a.Verb {
		case StartLocal, StartRemote:
			a.N[0] = rapid.IntRange(0, 1).Draw(t, "node")
			a.Pod = drawPod(t, a.Verb)
		case ReplacePod, DoublePod:
			a.N[0], a.N[1] = rapid.IntRange(0, 1).Draw(t, "node"), drawNumber(t)
			a.Pod = drawPod(t, a.Verb)
		case DeletePod, FinishPod, Touch:
			a.N[0] = drawNumber(t)
		case Repack:
			a.N[0], a.For = drawNumber(t), one(t, "gap", 0, 100*time.Millisecond, 2*time.Second, 8*time.Second)
		case Mirror:
			a.N[0], a.N[1], a.For = drawNumber(t), drawNumber(t), one(t, "until", time.Second, 10*time.Second, time.Minute)
		default:
			a.N = [3]int{drawNumber(t), drawNumber(t), drawNumber(t)}
			a.For = one(t, "for", time.Second, 8*time.Second, 40*time.Second, 3*time.Minute)
		}
		return a
	})
}

func drawNumber(t *rapid.T) int { return rapid.IntRange(0, 7).Draw(t, "n") }

func drawWait(t *rapid.T) time.Duration {
	return one(t, "then", time.Second, 0, 100*time.Millisecond, 300*time.Millisecond, 3*time.Second, 8*time.Second,
		31*time.Second, 90*time.Second)
}

func drawPod(t *rapid.T, verb Verb) PodOptions {
	quick := []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second}
	o := PodOptions{
		Address: rapid.IntRange(0, 3).Draw(t, "address"),
		Create:  one(t, "create", quick...), Report: one(t, "report", 100*time.Millisecond, time.Second, 10*time.Second),
		Teardown: one(t, "teardown", 500*time.Millisecond, 2*time.Second, 20*time.Second),
		Forget:   one(t, "forget", 0, time.Second, 20*time.Second),
		Drop:     one(t, "drop", 0, time.Second, 5*time.Second, 40*time.Second),
	}
	backs := []int{1, 1, 1, 0, 2}
	o.Host = one(t, "host", false, false, false, false, true)
	if verb != StartRemote {
		backs = []int{0, 0, 1}
		o.Attach = one(t, "attach", quick...)
		o.Leak = one(t, "leak", LeakNothing, LeakNothing, LeakNothing, LeakDetached, LeakAttached)
		o.Stuck = one(t, "stuck", false, false, false, false, false, false, true)
		switch one(t, "owner", "none", "controller", "node") {
		case "controller":
			o.Owned = true
		case "node":
			o.Static = true
		}
	}
	for range one(t, "backs", backs...) {
		o.Services = append(o.Services, rapid.IntRange(0, maxServices-1).Draw(t, "service"))
	}
	return o
}
