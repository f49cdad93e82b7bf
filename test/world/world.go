// SPDX-License-Identifier: Apache-2.0

package world

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Actor is the closed set of who does something in the world. Steps are counted by actor.
type Actor string

// The actors.
const (
	ActorHistory    Actor = "history"
	ActorAPI        Actor = "api-server"
	ActorController Actor = "slice-controller"
	ActorKubelet    Actor = "kubelet"
	ActorWatch      Actor = "watch"
	ActorKubeProxy  Actor = "kube-proxy"
	ActorAgent      Actor = "hnsguard"
	ActorHNS        Actor = "hns"
	// waiting is an actor that looks whether it can go on, which is no step.
	waiting Actor = "waiting"
)

// World is one cluster at work: an API server, the Windows nodes, and time. One goroutine, which calls [World.Run],
// lets everything happen, one event after the other; the agents under test run in goroutines of their own and wait for
// it whenever they call something outside of themselves. In a bubble of testing/synctest it is played the same way every
// time; outside of one it is played in real time.
type World struct {
	Setup Setup
	API   *API
	Nodes []*Node
	IPAM  *IPAM
	// Pods are all pods that ever were, by name.
	Pods map[string]*Pod
	// Evicted are the pods that agents evicted, in order.
	Evicted []string
	// Violations are the invariants that were broken, in order.
	Violations []Violation
	// Batches are the orders in which programs processed batches of Services.
	Batches map[Batch][]types.NamespacedName
	// Syncs is how many syncs kube-proxies have made.
	Syncs int
	// Steps counts events by actor. Single calls of an agent do not count.
	Steps map[Actor]int

	clock      clock.Clock
	start      time.Time
	controller *SliceController
	writes     []GhostWrite

	queue eventQueue
	seq   int
	// instant is when the last event was, and events how many there were then.
	instant time.Time
	events  int

	mu    sync.Mutex
	inbox []*request
	wake  chan struct{}
	ended bool
	// lasted is how long the world went on.
	lasted time.Duration

	play    Play
	lines   []string
	unlinks []func()
}

// event is something that will happen.
type event struct {
	at    time.Time
	seq   int
	actor Actor
	do    func()
	// done is set once it has happened, or was called off.
	done bool
}

// cancel calls an event off.
func (e *event) cancel() {
	if e != nil {
		e.done = true
	}
}

type eventQueue []*event

func (q eventQueue) Len() int { return len(q) }

func (q eventQueue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}

func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

func (q *eventQueue) Push(x any) { *q = append(*q, x.(*event)) }

func (q *eventQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// Now is the world's time.
func (w *World) Now() time.Time { return w.clock.Now() }

// Elapsed is the time since the world began.
func (w *World) Elapsed() time.Duration {
	if w.ended {
		return w.lasted
	}
	return w.clock.Since(w.start)
}

// After lets an actor do something later.
func (w *World) After(d time.Duration, actor Actor, do func()) *event { //nolint:revive // a handle to cancel
	w.seq++
	e := &event{at: w.clock.Now().Add(max(d, 0)), seq: w.seq, actor: actor, do: do}
	heap.Push(&w.queue, e)
	return e
}

// request is a call of an agent that waits for the world.
type request struct {
	// caller and call put requests of one instant in an order that does not depend on goroutines.
	caller, call string
	latency      time.Duration
	serve        func()
}

// post hands a request in, from another goroutine.
func (w *World) post(r *request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return false
	}
	w.inbox = append(w.inbox, r)
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return true
}

// settle waits until every other goroutine of the bubble waits for the world, and puts what they want in the queue.
func (w *World) settle() {
	w.play.Idle()
	w.mu.Lock()
	posted := w.inbox
	w.inbox = nil
	w.mu.Unlock()
	slices.SortStableFunc(posted, func(a, b *request) int {
		if c := strings.Compare(a.caller, b.caller); c != 0 {
			return c
		}
		return strings.Compare(a.call, b.call)
	})
	for _, r := range posted {
		w.seq++
		heap.Push(&w.queue, &event{at: w.clock.Now().Add(r.latency), seq: w.seq, do: r.serve})
	}
}

// Run lets the world go on for that long.
func (w *World) Run(d time.Duration) {
	until := w.clock.Now().Add(d)
	for {
		w.settle()
		next := w.next()
		if next == nil || next.at.After(until) {
			if !w.sleep(until) {
				continue
			}
			return
		}
		if !w.sleep(next.at) {
			continue
		}
		w.settle() // timers of the same instant come first
		if w.stuck(next) {
			return
		}
		heap.Remove(&w.queue, slices.Index(w.queue, next))
		next.done = true
		if next.actor != "" && next.actor != waiting {
			w.Steps[next.actor]++
		}
		next.do()
	}
}

// stuck reports whether so much happens in one instant that time will never go on.
func (w *World) stuck(e *event) bool {
	if !e.at.Equal(w.instant) {
		w.instant, w.events = e.at, 0
	}
	const tooMuch = 100_000
	if w.events++; w.events < tooMuch {
		return false
	}
	w.violated(InvariantModel, "time stands still; the last event was of %q", e.actor)
	return true
}

// next is the event that comes next, if any.
func (w *World) next() *event {
	for len(w.queue) > 0 && w.queue[0].done {
		heap.Pop(&w.queue)
	}
	if len(w.queue) == 0 {
		return nil
	}
	return w.queue[0]
}

// sleep lets time pass, and reports whether it came so far: a request that is posted meanwhile ends it.
func (w *World) sleep(until time.Time) bool {
	wait := until.Sub(w.clock.Now())
	if wait <= 0 {
		return true
	}
	timer := w.clock.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-w.wake:
		return false
	}
}

// errEnded says that the world came to its end while an agent waited for it.
var errEnded = errors.New("the world has ended")

// ask is how an agent's goroutine lets the world do something for it after some time. It waits for the reply, which may
// come later than that or never, or for the end of its context.
func ask[T any](ctx context.Context, w *World, caller, name string, latency time.Duration, serve func(reply func(T)),
) (T, error) {
	answer := make(chan T, 1)
	var zero T
	if !w.post(&request{caller: caller, call: name, latency: latency, serve: func() {
		serve(func(value T) { answer <- value })
	}}) {
		return zero, errEnded
	}
	select {
	case value := <-answer:
		return value, nil
	case <-ctx.Done():
		return zero, ctx.Err()
	}
}

// End stops everything, so that the bubble can close.
func (w *World) End() {
	for _, n := range w.Nodes {
		n.stop()
	}
	w.settle()
	w.mu.Lock()
	w.ended, w.lasted = true, w.clock.Since(w.start)
	w.mu.Unlock()
	w.settle() // what came meanwhile, in real time
	for w.next() != nil {
		// What waits for an answer gets one; what would happen without anybody waiting does not any more.
		e := heap.Pop(&w.queue).(*event)
		if e.actor == "" && !e.done {
			e.do()
		}
	}
	for _, unlink := range w.unlinks {
		unlink()
	}
	w.play.Idle()
}

// tell continues the story, if it is kept. Agents' goroutines may call it too.
func (w *World) tell(actor Actor, format string, args ...any) {
	if !w.play.Trace && w.play.Tell == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at, text := w.Elapsed(), fmt.Sprintf(format, args...)
	if w.play.Tell != nil {
		w.play.Tell(at, actor, text)
	}
	if w.play.Trace {
		w.lines = append(w.lines, fmt.Sprintf("%10.3fs %-16s %s", at.Seconds(), actor, text))
	}
}

// Say continues the story with what the world does not know. It is safe for concurrent use.
func (w *World) Say(actor Actor, text string) { w.tell(actor, "%s", text) }

// Trace is the log of what happened.
func (w *World) Trace() string { return strings.Join(w.lines, "\n") }

// roll is chance: a number from 0 to n-1 that depends on the seed of the history and on what it is rolled for, and on
// nothing else. Two plays of one history therefore have the same luck, whatever else is different.
func (w *World) roll(n int, what ...string) int {
	if n <= 1 {
		return 0
	}
	h := uint64(14695981039346656037) ^ w.Setup.Seed*0x9e3779b97f4a7c15
	for _, s := range what {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return int(h % uint64(n))
}

// within is a duration from zero to the bound, by [World.roll].
func (w *World) within(bound time.Duration, what ...string) time.Duration {
	const grains = 1000
	return bound / grains * time.Duration(w.roll(grains+1, what...))
}
