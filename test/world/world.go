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

// Actor is the closed set of actors in the world. Steps are counted by actor.
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
	// waiting is an actor that only checks whether it can continue, which does not count as a step.
	waiting Actor = "waiting"
)

// World is a cluster: an API server, the Windows nodes, and time. One goroutine, which calls [World.Run], processes one
// event after the other. The agents under test run in their own goroutines, and wait for the world whenever they call
// anything outside of themselves. In a bubble of testing/synctest, a play is deterministic; otherwise it runs in real
// time.
type World struct {
	Setup Setup
	API   *API
	Nodes []*Node
	IPAM  *IPAM
	// Pods are all pods that ever existed, by name.
	Pods map[string]*Pod
	// Evicted are the pods that agents evicted, in order.
	Evicted []string
	// Violations are the violations of invariants, in order.
	Violations []Violation
	// Batches are the orders in which programs processed batches of Services.
	Batches map[Batch][]types.NamespacedName
	// Syncs is the number of kube-proxies' syncs.
	Syncs int
	// Steps counts events by actor. It does not count single calls of an agent.
	Steps map[Actor]int

	clock      clock.Clock
	start      time.Time
	controller *SliceController
	writes     []GhostWrite

	queue eventQueue
	seq   int
	// instant is the time of the last event, and events the number of events at that time.
	instant time.Time
	events  int

	mu    sync.Mutex
	inbox []*request
	wake  chan struct{}
	ended bool
	// lasted is how long the world has run.
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
	// done is set once the event has happened, or was canceled.
	done bool
}

// cancel cancels an event.
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

// Now returns the world's time.
func (w *World) Now() time.Time { return w.clock.Now() }

// Elapsed returns the time since the world began.
func (w *World) Elapsed() time.Duration {
	if w.ended {
		return w.lasted
	}
	return w.clock.Since(w.start)
}

// After schedules an action of an actor.
func (w *World) After(d time.Duration, actor Actor, do func()) *event { //nolint:revive // a handle to cancel
	w.seq++
	e := &event{at: w.clock.Now().Add(max(d, 0)), seq: w.seq, actor: actor, do: do}
	heap.Push(&w.queue, e)
	return e
}

// request is a call of an agent that waits for the world.
type request struct {
	// caller and call order the requests of one instant, independently of goroutines.
	caller, call string
	latency      time.Duration
	serve        func()
}

// post adds a request, from another goroutine.
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

// settle waits until every other goroutine of the bubble waits for the world, and queues their requests.
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

// Run runs the world for the duration.
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

// stuck reports whether so many events happen in one instant that time would never advance.
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

// next returns the next event, or nil.
func (w *World) next() *event {
	for len(w.queue) > 0 && w.queue[0].done {
		heap.Pop(&w.queue)
	}
	if len(w.queue) == 0 {
		return nil
	}
	return w.queue[0]
}

// sleep waits until the time, and reports whether it was reached: a request that is posted meanwhile ends it.
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

// errEnded says that the world ended while an agent waited for it.
var errEnded = errors.New("the world has ended")

// ask makes the world do something for an agent's goroutine after some time. It waits for the reply, which may come
// later or never, or until its context ends.
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
	w.settle() // requests that were posted meanwhile, in real time
	for w.next() != nil {
		// Requests that wait for an answer get one; other events no longer happen.
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

// tell adds to the story, if it is kept. Agents' goroutines may call it too.
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

// Say adds to the story from outside of the world. It is safe for concurrent use.
func (w *World) Say(actor Actor, text string) { w.tell(actor, "%s", text) }

// Trace returns the log of what happened.
func (w *World) Trace() string { return strings.Join(w.lines, "\n") }

// roll returns a random number from 0 to n-1 that depends only on the seed of the history and on its purpose. So two
// plays of one history have the same luck, whatever else differs.
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

// within returns a random duration from zero to the bound, by [World.roll].
func (w *World) within(bound time.Duration, what ...string) time.Duration {
	const grains = 1000
	return bound / grains * time.Duration(w.roll(grains+1, what...))
}
