// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"testing"
	"testing/synctest"

	"github.com/hnsguard/hnsguard/test/world"
)

// report is the result of a history.
type report struct {
	Violations []world.Violation
	// Lost counts the pods that lost their endpoint with the guard, and LostWithout those that did without it.
	Lost, LostWithout int
	// Removed is the number of remote endpoints that the guard deleted.
	Removed int
	// Syncs is the number of kube-proxies' syncs.
	Syncs int
	Steps map[world.Actor]int
	Trace string
}

// programs run the code of released kube-proxies, by version. Without a program, the world implements kube-proxy.
type programs = map[string][]world.Program

// judge plays a history with and without the guard, each in its own bubble, and compares the results.
func judge(t *testing.T, h world.History, released programs, trace bool) report {
	t.Helper()
	with := play(t, h, world.Play{Guarded: true, Programs: released, Trace: trace})
	without := play(t, h, world.Play{Programs: released})
	r := report{
		Violations: with.Violations, Lost: len(with.Lost()), LostWithout: len(without.Lost()), Steps: with.Steps,
		Syncs: with.Syncs + without.Syncs, Trace: with.Trace(),
	}
	for _, n := range with.Nodes {
		r.Removed += n.Removed()
	}
	for actor, steps := range without.Steps {
		r.Steps[actor] += steps
	}
	lost := worse(with, without)
	if len(lost) == 0 {
		return r
	}
	// Writes to the API server make kube-proxy sync at other times, which changes the luck. If only this makes a play
	// worse, then a play with nothing but the same writes is worse in the same way.
	haunted := play(t, h, world.Play{Haunted: with.Writes(), Programs: released})
	r.Syncs += haunted.Syncs
	for _, p := range worse(with, haunted) {
		for _, q := range lost {
			if p.Name == q.Name {
				r.Violations = append(r.Violations, world.Violation{
					Invariant: world.InvariantWorse, At: with.Elapsed(), What: "pod " + p.String() + " lost its endpoint to " + string(p.LostTo),
				})
			}
		}
	}
	return r
}

// worse returns the pods that were lost in one world, which could be foreseen, and lived in the other.
func worse(w, other *world.World) []*world.Pod {
	var all []*world.Pod
	for _, name := range w.Lost() {
		if o := other.Pods[name]; o != nil && o.Attached && !o.Lost && !w.Pods[name].Unforeseen {
			all = append(all, w.Pods[name])
		}
	}
	return all
}

func play(t *testing.T, h world.History, p world.Play) *world.World {
	t.Helper()
	var w *world.World
	p.Idle = synctest.Wait
	synctest.Test(t, func(*testing.T) { w = h.Play(p) })
	return w
}
