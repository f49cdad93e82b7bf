// SPDX-License-Identifier: Apache-2.0

package world

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
)

// Agent is one process of hnsguard on a node. Its passes run in their own goroutine, which blocks in every call to HNS
// or the API server; everything else in this type happens in the world's goroutine.
type Agent struct {
	Name string
	// Passes is the number of finished passes.
	Passes int

	node    *Node
	product *product
	// life counts the processes of this agent.
	life   int
	dead   bool
	cancel context.CancelFunc

	pods, slices *Feed

	// run runs a pass, and returns when the next should follow. It must run in its own goroutine.
	run     func() (time.Duration, error)
	running bool
	// due is the next pass; nil during a pass, and while there is no process.
	due *event
	// again is when the pass after this one should start; zero if none was requested.
	again time.Time

	apiFault APIFault
	// faulty is since when requests have failed without a break; zero if they succeed.
	faulty     time.Time
	unanswered []func()

	account *account
	rolls   int
}

// newAgent starts an agent.
func newAgent(n *Node, name string) *Agent {
	a := &Agent{Name: name, node: n}
	a.start()
	return a
}

func (a *Agent) start() {
	w := a.node.world
	ctx, cancel := context.WithCancel(logf.IntoContext(context.Background(), logr.New(logSink{agent: a})))
	a.cancel, a.dead, a.due, a.running = cancel, false, nil, false
	a.life++
	a.account = newAccount(policy(w.Setup), w.Now())
	product, err := assemble(ctx, a)
	if err != nil {
		w.violated(InvariantModel, "putting agent %s together: %v", a.Name, err)
		return
	}
	a.product = product
	a.run = func() (time.Duration, error) {
		return guarded(func() (time.Duration, error) { return product.pass(ctx) })
	}
	a.watch()
	a.arm(time.Millisecond)
}

// watch starts the watches of a process whose caches have just synced.
func (a *Agent) watch() {
	w := a.node.world
	a.product.servicesListed(w.API.All(KindService))
	a.pods = w.API.watch(&Feed{
		name: a.Name + "/pods", kind: KindPod, lag: w.Setup.GuardLag,
		wants:  func(obj client.Object) bool { return obj.(*corev1.Pod).Spec.NodeName == a.node.Name },
		handle: func(before, after client.Object) { a.product.podChanged(before, after); a.want(0) },
	})
	a.slices = w.API.watch(&Feed{
		name: a.Name + "/slices", kind: KindSlice, lag: w.Setup.GuardLag, wants: sliceWanted,
		handle: func(before, after client.Object) {
			a.stored(a.product.sliceChanged(before, after))
			a.want(sliceDelay)
		},
		listed:     func(all []client.Object, version string) { a.stored(a.product.slicesListed(all, version)) },
		bookmarked: func(version string) { a.stored(a.product.watch.Bookmark(version)) },
	})
}

// stored expects that the program's store of slices accepts everything.
func (a *Agent) stored(err error) {
	if err != nil {
		a.node.world.violated(InvariantModel, "%s: storing an EndpointSlice: %v", a.Name, err)
	}
}

// Crash ends the process at any point, and starts another one after some time.
func (a *Agent) Crash(after time.Duration) {
	if a.dead {
		return
	}
	a.node.world.tell(ActorAgent, "%s: crashes and is gone for %s", a.Name, after)
	a.stop()
	a.node.world.After(after, ActorAgent, a.start)
}

// stop ends the process. Its earlier calls to HNS continue.
func (a *Agent) stop() {
	if a.dead {
		return
	}
	a.dead = true
	a.cancel()
	a.due.cancel()
	a.due = nil
	a.pods.close()
	a.slices.close()
	a.answer()
}

// answer ends hanging requests to the API server.
func (a *Agent) answer() {
	for _, reply := range a.unanswered {
		reply()
	}
	a.unanswered = nil
}

// want requests a pass after some time, unless one comes sooner.
func (a *Agent) want(after time.Duration) {
	at := a.node.world.Now().Add(after)
	switch {
	case a.running && (a.again.IsZero() || at.Before(a.again)):
		a.again = at
	case a.due != nil && at.Before(a.due.at):
		a.arm(after)
	}
}

func (a *Agent) arm(after time.Duration) {
	a.due.cancel()
	a.due = a.node.world.After(after, ActorAgent, func() {
		if frozen := a.node.frozenFor(); frozen > 0 {
			a.arm(frozen)
			return
		}
		a.pass()
	})
}

// pass starts a pass.
func (a *Agent) pass() {
	w := a.node.world
	a.running, a.again, a.due = true, time.Time{}, nil
	a.account.begin(w.Now())
	life, run := a.life, a.run
	go func() {
		next, err := run()
		_, _ = ask(context.Background(), w, a.Name, "pass", 0, func(reply func(struct{})) {
			if !a.dead && a.life == life {
				a.passed(next, err)
			}
			reply(struct{}{})
		}) // if the world has ended meanwhile, there is nothing more to do
	}()
}

// passed ends a pass.
func (a *Agent) passed(next time.Duration, err error) {
	w := a.node.world
	a.running = false
	a.Passes++
	if err != nil {
		w.violated(InvariantModel, "%s: %v", a.Name, err)
	}
	if !a.again.IsZero() {
		next = min(next, a.again.Sub(w.Now()))
	}
	a.arm(next)
}

// guarded turns a panic of the program into an error.
func guarded(do func() (time.Duration, error)) (next time.Duration, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a pass panicked: %v", r)
		}
	}()
	return do()
}

// random is the program's source of randomness.
func (a *Agent) random() float64 {
	const grains = 1000
	a.rolls++
	return float64(a.node.world.roll(grains, "random", a.Name, strconv.Itoa(a.rolls))) / grains
}

// SetAPIFault makes requests to the API server fail from now on, or succeed again.
func (a *Agent) SetAPIFault(fault APIFault) {
	a.node.world.tell(ActorAPI, "%s: requests fail in way %d", a.Name, fault)
	a.apiFault = fault
	a.faulty = time.Time{}
	if fault == APIAway || fault == APIBusy || fault == APIHangs {
		a.faulty = a.node.world.Now()
	}
	if fault == APIWell {
		a.answer()
	}
}

// Eventf implements the recorder of Events.
func (a *Agent) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	a.account.noteEvent(reason)
	a.node.world.tell(ActorAgent, "%s: Event %s %s: %s", a.Name, kind, reason, fmt.Sprintf(note, args...))
}

// logSink counts the program's log messages, and adds them to the world's log.
type logSink struct {
	agent  *Agent
	values []any
}

// Init implements [logr.LogSink].
func (logSink) Init(logr.RuntimeInfo) {}

// Enabled implements [logr.LogSink].
func (logSink) Enabled(level int) bool { return level == 0 }

// Info implements [logr.LogSink].
func (s logSink) Info(_ int, msg string, keysAndValues ...any) {
	s.agent.account.noteLog(msg)
	s.agent.node.world.tell(ActorAgent, "%s: %s %v %v", s.agent.Name, msg, s.values, keysAndValues)
}

// Error implements [logr.LogSink].
func (s logSink) Error(err error, msg string, keysAndValues ...any) {
	s.agent.account.noteLog(msg)
	s.agent.node.world.tell(ActorAgent, "%s: ERROR %s: %v %v %v", s.agent.Name, msg, err, s.values, keysAndValues)
}

// WithValues implements [logr.LogSink].
func (s logSink) WithValues(keysAndValues ...any) logr.LogSink {
	if s.agent.node.world.play.Trace {
		s.values = append(append([]any{}, s.values...), keysAndValues...)
	}
	return s
}

// WithName implements [logr.LogSink].
func (s logSink) WithName(string) logr.LogSink { return s }

// called records the result of a call to HNS.
func (a *Agent) called(op hns.Operation, err error) {
	if a.running && !a.dead {
		a.account.called(op, err)
	}
}

// evicts processes an eviction that the API server accepts.
func (a *Agent) evicts(key types.NamespacedName) {
	w := a.node.world
	p := w.Pods[key.Name]
	w.tell(ActorAgent, "%s: evicts pod %s", a.Name, key)
	if p == nil {
		return
	}
	switch {
	case p.Lives():
		w.violated(InvariantEviction, "%s evicted pod %s, whose endpoint is there", a.Name, p.Name)
	case p.Static || !p.Owned:
		w.violated(InvariantEviction, "%s evicted pod %s, which nothing makes again", a.Name, p.Name)
	}
	w.Evicted = append(w.Evicted, p.Name)
	if p.Static {
		return // the kubelet recreates its mirror pod at once
	}
	p.Delete()
}

// kubeProxy configures where the agent finds the metrics of the node's kube-proxy.
func (a *Agent) kubeProxy() detect.Options {
	return detect.Options{Node: a.node.Name, URL: a.metricsURL(), Every: detect.Every, Transport: transport()}
}

// metricsURL returns the URL of the metrics of the agent's kube-proxy.
func (a *Agent) metricsURL() string {
	w := a.node.world
	host := fmt.Sprintf("%s-%d.%p", strings.ToLower(a.Name), a.life, w)
	w.unlinks = append(w.unlinks, transport().serve(host, a))
	return metricsScheme + "://" + host + "/metrics"
}
