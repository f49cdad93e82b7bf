// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/world"
)

// historiesOf generates histories of one kube-proxy. Counterexamples are shrunk towards the first elements of lists.
func historiesOf(version string) *rapid.Generator[world.History] {
	return rapid.Custom(func(t *rapid.T) world.History {
		kinds := one(t, "subject", subjects()...)
		return world.History{Setup: drawSetup(t, version), Actions: rapid.SliceOfN(actions(kinds), 1, maxActions).Draw(t, "actions")}
	})
}

// maxActions is the maximum length of a history.
const maxActions = 40

func one[T any](t *rapid.T, name string, from ...T) T { return rapid.SampledFrom(from).Draw(t, name) }

func drawSetup(t *rapid.T, version string) world.Setup {
	s := world.Setup{
		Seed: rapid.Uint64Range(0, 1<<20).Draw(t, "seed"), KubeProxy: version, NodeVersion: version,
		Order:      one(t, "order", hnstest.OldestFirst, hnstest.NewestFirst, hnstest.ByID, hnstest.Random),
		Duplicates: one(t, "duplicates", hnstest.AllowDuplicates, hnstest.OneRemote, hnstest.RefuseDuplicates),
		Latency:    one(t, "latency", time.Millisecond, 20*time.Millisecond),
		APILatency: one(t, "api latency", 5*time.Millisecond, 200*time.Millisecond),
		Took:       one(t, "took", 50*time.Millisecond, 2*time.Second, 15*time.Second, 45*time.Second),
		Nodes:      one(t, "nodes", 1, 1, 1, 1, 1, 2), Agents: one(t, "agents", 1, 1, 1, 1, 2),
		Services: rapid.IntRange(1, maxServices).Draw(t, "services"), Pool: rapid.IntRange(1, maxPool).Draw(t, "pool"),
		Evict: rapid.Bool().Draw(t, "evict"), Reprogram: rapid.Bool().Draw(t, "reprogram"),
		Remakes:     one(t, "remakes", false, false, true),
		Skew:        one(t, "skew", 0, 0, -5*time.Minute, 5*time.Minute),
		Tight:       one(t, "tight", false, false, true),
		OrphanGrace: one(t, "orphan grace", time.Minute, 10*time.Second, 5*time.Minute),
	}
	if one(t, "node version", true, true, false) {
		s.NodeVersion = "v1.32.13" // the version of the kubelet itself
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

// verbs are the verbs of a history, each one repeated according to its weight.
type verbs []world.Verb

// subjects returns the subjects of histories. All of them have pods that come and go.
func subjects() []verbs {
	pods := verbs{world.StartRemote, world.StartRemote, world.ReplacePod, world.ReplacePod, world.StartLocal, world.DeletePod}
	faults := verbs{
		world.HNSDown, world.HNSRestarts, world.HNSVanishes, world.HNSFails, world.HNSFailsOnce, world.HNSFailsOnce, world.HNSHangs, world.HNSSlow, world.CutGuard, world.CutGuard, world.StallHandlers, world.CutKubeProxy, world.CutKubeProxy,
		world.APIFails, world.MetricsDown, world.Crash, world.RestartKubeProxy, world.Freeze,
	}
	usual := slices.Concat(pods, pods, pods, pods, verbs{world.Touch, world.Repack, world.Repack, world.Mirror, world.Mirror, world.FinishPod, world.External}, faults)
	return []verbs{
		usual, usual, usual,
		slices.Concat(pods, pods, verbs{world.DoublePod, world.DoublePod, world.LoseSandbox, world.LoseSandbox, world.LoseSandbox, world.FinishPod, world.FinishPod, world.Repack}, faults),
		slices.Concat(pods, verbs{world.External, world.External, world.External, world.External, world.Relist, world.Relist, world.Touch, world.RestartKubeProxy, world.StallHandlers}),
		slices.Concat(pods, pods, pods, verbs{world.ReplaceKubeProxy, world.ReplaceKubeProxy, world.RestartKubeProxy, world.MetricsDown, world.Touch, world.CutKubeProxy}),
	}
}

func actions(kinds verbs) *rapid.Generator[world.Action] {
	return rapid.Custom(func(t *rapid.T) world.Action {
		a := world.Action{Verb: rapid.SampledFrom([]world.Verb(kinds)).Draw(t, "verb"), Then: drawWait(t)}
		switch a.Verb {
		case world.StartLocal, world.StartRemote:
			a.N[0] = rapid.IntRange(0, 1).Draw(t, "node")
			a.Pod = drawPod(t, a.Verb)
		case world.ReplacePod, world.DoublePod:
			a.N[0], a.N[1] = rapid.IntRange(0, 1).Draw(t, "node"), drawNumber(t)
			a.Pod = drawPod(t, a.Verb)
		case world.DeletePod, world.FinishPod, world.Touch:
			a.N[0] = drawNumber(t)
		case world.Repack:
			a.N[0], a.For = drawNumber(t), one(t, "gap", 0, 100*time.Millisecond, 2*time.Second, 8*time.Second)
		case world.Mirror:
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

func drawPod(t *rapid.T, verb world.Verb) world.PodOptions {
	quick := []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second}
	o := world.PodOptions{
		Address: rapid.IntRange(0, 3).Draw(t, "address"),
		Create:  one(t, "create", quick...), Report: one(t, "report", 100*time.Millisecond, time.Second, 10*time.Second),
		Teardown: one(t, "teardown", 500*time.Millisecond, 2*time.Second, 20*time.Second),
		Forget:   one(t, "forget", 0, time.Second, 20*time.Second),
		Drop:     one(t, "drop", 0, time.Second, 5*time.Second, 40*time.Second),
	}
	backs := []int{1, 1, 1, 0, 2}
	o.Host = one(t, "host", false, false, false, false, true)
	if verb != world.StartRemote {
		backs = []int{0, 0, 1}
		o.Attach = one(t, "attach", quick...)
		o.Leak = one(t, "leak", world.LeakNothing, world.LeakNothing, world.LeakNothing, world.LeakDetached, world.LeakAttached)
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
