// SPDX-License-Identifier: Apache-2.0

package model

import (
	"testing"
	"testing/synctest"
)

// Report is what came of a history.
type Report struct {
	Violations []Violation
	// Lost are the pods that lost their endpoint with the guard, and LostWithout those that did without.
	Lost, LostWithout int
	// Removed is how many remote endpoints the guard deleted.
	Removed int
	Steps   map[Actor]int
	Trace   string
}

// Judge plays a history with and without the guard and compares. Each play has a bubble of its own.
func Judge(t *testing.T, h History, trace bool) Report {
	t.Helper()
	with := play(t, h, Play{Guarded: true, Trace: trace})
	without := play(t, h, Play{})
	r := Report{
		Violations: with.Violations, Lost: len(with.Lost()), LostWithout: len(without.Lost()), Steps: with.Steps,
		Trace: with.Trace(),
	}
	for _, n := range with.Nodes {
		r.Removed += len(n.taken)
	}
	for actor, steps := range without.Steps {
		r.Steps[actor] += steps
	}
	worse := with.worseThan(without)
	if len(worse) == 0 {
		return r
	}
	// Writes to the API server make kube-proxy sync at other times, and luck is another then. What is worse only because
	// of that is worse in the same way when the writes are made and nothing else.
	haunted := play(t, h, Play{Haunted: with.writes})
	for _, p := range with.worseThan(haunted) {
		for _, q := range worse {
			if p.Name == q.Name {
				r.Violations = append(r.Violations, Violation{
					Invariant: InvariantWorse, At: with.Elapsed(), What: "pod " + p.String() + " lost its endpoint to " + string(p.LostTo),
				})
			}
		}
	}
	return r
}

// worseThan are the pods that were lost here and lived there.
func (w *World) worseThan(other *World) []*Pod {
	var worse []*Pod
	for _, name := range w.Lost() {
		if o := other.Pods[name]; o != nil && o.Attached && !o.Lost {
			worse = append(worse, w.Pods[name])
		}
	}
	return worse
}

func play(t *testing.T, h History, p Play) *World {
	t.Helper()
	var w *World
	synctest.Test(t, func(*testing.T) { w = h.Play(p) })
	return w
}
