// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// Setup is the part of a history that does not change.
type Setup struct {
	// Seed is the only source of randomness.
	Seed uint64
	// KubeProxy is the version: one of [KnownVersions], or of the play's programs.
	KubeProxy string
	// NodeVersion is kube-proxy's version in the status of the Node. Kubelets before 1.33 write their own version there.
	NodeVersion string
	Order       hnstest.Order
	Duplicates  hnstest.Duplicates
	// Latency is the duration of a call to HNS, and APILatency that of a request to the API server.
	Latency, APILatency time.Duration
	// Took is the duration of a sync of kube-proxy.
	Took time.Duration
	// Remakes: HNS cannot update load balancers, so kube-proxy deletes and recreates them.
	Remakes bool
	// KubeProxyLag, GuardLag and ControllerLag are the maximum delays of changes.
	KubeProxyLag, GuardLag, ControllerLag time.Duration
	// Layout has the networks of a node.
	// Default: only the pod network.
	Layout hnstest.Layout
	// Nodes is the number of Windows nodes, and Agents the number of agents on each.
	Nodes, Agents int
	// Skew is how far the API server's clock is ahead of the nodes' clocks.
	Skew time.Duration
	// Services is the number of Services, and Pool the number of addresses for pods.
	Services, Pool int
	// ServiceNames are the names of the Services.
	// Default: svc-0 and so on.
	ServiceNames []string
	// Evict and Reprogram enable acts that are off by default.
	Evict, Reprogram bool
	// Observe: the agents act on nothing, and only report.
	Observe     bool
	OrphanGrace time.Duration
	// Tight: the limits of removals are as low as possible.
	Tight bool
}

// Verb is the closed set of actions in a history.
type Verb string

// The verbs. An action selects objects by the numbers N, modulo the number of objects.
const (
	// StartLocal: a pod starts on Windows node N[0].
	StartLocal Verb = "start-local"
	// StartRemote: a pod starts on a Linux node.
	StartRemote Verb = "start-remote"
	// ReplacePod: the living pod N[1] is deleted, and a pod on Windows node N[0] gets its address as soon as it is free.
	ReplacePod Verb = "replace-pod"
	// DeletePod: the living pod N[0] is deleted.
	DeletePod Verb = "delete-pod"
	// FinishPod: the living pod N[0] ends by itself.
	FinishPod Verb = "finish-pod"
	// LoseSandbox: the sandbox of the living pod N[0] dies, and the kubelet creates another one after For.
	LoseSandbox Verb = "lose-sandbox"
	// DoublePod: a pod starts with the address of the living pod N[1]: on Windows node N[0], or on a Linux node if the
	// other pod is on that node.
	DoublePod Verb = "double-pod"
	// Repack: Service N[0] is repacked, with a gap of For.
	Repack Verb = "repack"
	// Mirror: a foreign author lists the living pod N[0] in Service N[1], until For after it is gone.
	Mirror Verb = "mirror"
	// External: a foreign author lists external address N[1] in Service N[0] and the next address in the next Service, or
	// removes both if N[2] is odd.
	External Verb = "external"
	// Relist: a foreign author lists external address N[1] in Service N[0] while the agents' watches of EndpointSlices
	// deliver nothing for For.
	Relist Verb = "relist"
	// Touch: a slice of Service N[0] changes, but not its entries.
	Touch Verb = "touch"

	// HNSDown: HNS on node N[0] is down for For, and answers calls with code N[1].
	HNSDown Verb = "hns-down"
	// HNSRestarts: HNS on node N[0] restarts for For, and answers calls with code N[1] meanwhile. It restores everything
	// under the same IDs, or loses N[2]: load balancers, also remote endpoints, or everything.
	HNSRestarts Verb = "hns-restarts"
	// HNSVanishes: object N[1] of HNS on node N[0] vanishes during the next list.
	HNSVanishes Verb = "hns-vanishes"
	// HNSFailsOnce: call N[1] of kube-proxy on node N[0] fails once, with code N[2].
	HNSFailsOnce Verb = "hns-fails-once"
	// HNSFails and HNSHangs: call N[1] fails or hangs for For.
	HNSFails Verb = "hns-fails"
	HNSHangs Verb = "hns-hangs"
	// HNSSlow: calls take a hundred times as long for For.
	HNSSlow Verb = "hns-slow"
	// CutGuard: watch N[1] of agent N[0] is cut for For, and lists again if N[2] is odd.
	CutGuard Verb = "cut-guard"
	// StallHandlers: the handlers of agent N[0] see no EndpointSlice for For.
	StallHandlers Verb = "stall-handlers"
	// CutKubeProxy: the watch of kube-proxy on node N[0] is cut for For, and lists again if N[2] is odd.
	CutKubeProxy Verb = "cut-kube-proxy"
	// APIFails: requests of agent N[0] fail in way N[1] for For.
	APIFails Verb = "api-fails"
	// MetricsDown: kube-proxy on node N[0] serves no metrics for For.
	MetricsDown Verb = "metrics-down"
	// Crash: agent N[0] crashes and is gone for For.
	Crash Verb = "crash"
	// RestartKubeProxy: kube-proxy on node N[0] is gone for For.
	RestartKubeProxy Verb = "restart-kube-proxy"
	// ReplaceKubeProxy: version N[1] replaces kube-proxy on node N[0].
	ReplaceKubeProxy Verb = "replace-kube-proxy"
	// Freeze: node N[0] is frozen for For.
	Freeze Verb = "freeze"
)

// Action is one action of a history, and the time after it.
type Action struct {
	Verb Verb
	N    [3]int
	// Pod has the options of a pod that starts.
	Pod PodOptions
	For time.Duration
	// Then is the time until the next action.
	Then time.Duration
}

// History is everything that happens to a world from outside.
type History struct {
	Setup   Setup
	Actions []Action
}

// Play says how a history is played.
type Play struct {
	// Guarded: with agents.
	Guarded bool
	// Haunted: without agents, but with these writes of theirs.
	Haunted []GhostWrite
	// Trace: with a log of what happens.
	Trace bool
	// Writes: with a log of kube-proxies' writes to HNS, for comparisons. Programs then iterate their maps without
	// randomness.
	Writes bool
	// Programs run the code of released kube-proxies, by version, one for each node.
	// Default: the world's own kube-proxy, which does the same.
	Programs map[string][]Program
	// Batches are the orders in which programs processed batches of Services. The world's own kube-proxy follows them.
	Batches map[Batch][]types.NamespacedName
	// Tell gets each line of the story while it happens.
	// Default: the story is not kept.
	Tell func(at time.Duration, actor Actor, text string)
	// Idle returns when all agents wait for the world. In a bubble of testing/synctest it is synctest.Wait.
	// Default: the world waits for no agent, as in real time.
	Idle func()
}

// New returns a new world. Call [World.End] when it is no longer needed.
func New(s Setup, p Play) *World {
	if p.Idle == nil {
		p.Idle = func() {}
	}
	w := &World{
		Setup: s, Pods: map[string]*Pod{}, Steps: map[Actor]int{}, IPAM: newIPAM(s.Pool), clock: clock.RealClock{},
		wake: make(chan struct{}, 1), play: p,
	}
	w.start = w.clock.Now()
	w.API = newAPI(w)
	w.controller = newSliceController(w)
	w.haunt(p.Haunted)
	for i := range s.Nodes {
		n := newNode(w, i)
		w.Nodes = append(w.Nodes, n)
		n.KubeProxy = newKubeProxy(n, w.traits(s.KubeProxy), s.Took)
		for a := range s.Agents {
			if p.Guarded {
				n.Agents = append(n.Agents, newAgent(n, fmt.Sprintf("agent-%d-%d", i+1, a+1)))
			}
		}
	}
	return w
}

// quiet is how long a world continues after its history, without faults and after the grace period of orphans. It is
// longer than any bound: the slowest kube-proxy syncs every 75 s, and package stalerecord waits twice for four of its
// syncs, and twice for its watch to reach them.
const quiet = 20 * time.Minute

// settle is how long the effects of a history continue after it ends. Endpoints that become stale later, because
// kube-proxy leaks them when hnsguard makes it program Services again, are not stale for long enough at the end of the
// world.
const settle = 5 * time.Minute

// begin is how long a world runs before its history begins.
const begin = 40 * time.Second

// Play plays a history. It takes too long for real time.
func (h History) Play(p Play) *World {
	w := New(h.Setup, p)
	defer w.End()
	w.Run(begin)
	for at, a := range h.Actions {
		w.Steps[ActorHistory]++
		w.act(at, a)
		w.Run(a.Then)
	}
	w.heal()
	w.Run(settle)
	stale := w.stale()
	w.Run(quiet + w.Setup.OrphanGrace - settle)
	w.judgeEnd(stale)
	return w
}

// heal ends every fault. It deletes pods whose CNI never works.
func (w *World) heal() {
	w.tell(ActorHistory, "all faults end")
	for _, n := range w.Nodes {
		n.service.heal(w.Setup.Latency)
		n.metricsDown, n.frozen = false, time.Time{}
		for _, a := range n.Agents {
			a.SetAPIFault(APIWell)
		}
	}
	for _, name := range sortedKeys(w.Pods) {
		if p := w.Pods[name]; p.Stuck && !p.Deleting {
			p.Delete()
		}
	}
}

func pick[T any](from []T, n int) (T, bool) {
	var zero T
	if len(from) == 0 {
		return zero, false
	}
	return from[n%len(from)], true
}

// living returns the pods that are neither deleted nor finished, in the order of their start.
func (w *World) living() []*Pod {
	var all []*Pod
	for _, name := range sortedKeys(w.Pods) {
		if p := w.Pods[name]; !p.Deleting && !p.Finished {
			all = append(all, p)
		}
	}
	return all
}

func (w *World) agents() []*Agent {
	var all []*Agent
	for _, n := range w.Nodes {
		all = append(all, n.Agents...)
	}
	return all
}

// act performs one action.
func (w *World) act(at int, a Action) {
	node := w.Nodes[a.N[0]%len(w.Nodes)]
	service := a.N[0] % w.Setup.Services
	switch a.Verb {
	case StartLocal:
		w.StartPod(fmt.Sprintf("pod-%03d-win", at), node.Name, w.bounded(a.Pod))
	case StartRemote:
		w.StartPod(fmt.Sprintf("pod-%03d-lin", at), "lin-1", w.bounded(a.Pod))
	case ReplacePod:
		if p, ok := pick(w.living(), a.N[1]); ok && p.Attached && !p.Host {
			w.Replace(p, fmt.Sprintf("pod-%03d-win", at), node.Name, w.bounded(a.Pod))
		}
	case DeletePod:
		if p, ok := pick(w.living(), a.N[0]); ok {
			p.Delete()
		}
	case FinishPod:
		if p, ok := pick(w.living(), a.N[0]); ok {
			p.Finish()
		}
	case LoseSandbox:
		if p, ok := pick(w.living(), a.N[0]); ok {
			p.LoseSandbox(a.For)
		}
	case DoublePod:
		w.double(at, node, a)
	case Repack:
		w.controller.Repack(service, a.For)
	case Mirror:
		if p, ok := pick(w.living(), a.N[0]); ok {
			w.controller.Mirror(p, a.N[1]%w.Setup.Services, a.For)
		}
	case External:
		for i := range 2 {
			w.controller.External((service+i)%w.Setup.Services, external(a.N[1]+i), a.N[2]%2 == 0)
		}
	case Relist:
		for _, agent := range w.agents() {
			agent.slices.Hold(a.For)
		}
		w.controller.External(service, external(a.N[1]), true)
	case Touch:
		w.controller.Touch(service)
	default:
		w.fault(node, a)
	}
}

// external returns the address of a Linux node, like those of the API server, or one outside of the cluster.
func external(n int) netip.Addr {
	const addresses = 4
	if n %= addresses; n > 0 {
		return netip.AddrFrom4([4]byte{172, 0, 32, byte(n)})
	}
	return linuxAddress()
}

// double starts a pod with the address of another one.
func (w *World) double(at int, node *Node, a Action) {
	p, ok := pick(w.living(), a.N[1])
	if !ok || !p.Holds {
		return
	}
	if p.Node == node.Name {
		w.Double(p, fmt.Sprintf("pod-%03d-lin", at), "lin-1", w.bounded(a.Pod))
		return
	}
	w.Double(p, fmt.Sprintf("pod-%03d-win", at), node.Name, w.bounded(a.Pod))
}

// bounded limits the numbers in a pod's options to existing objects.
func (w *World) bounded(o PodOptions) PodOptions {
	var services []int
	for _, s := range o.Services {
		if s %= w.Setup.Services; !slices.Contains(services, s) {
			services = append(services, s)
		}
	}
	o.Services = services
	return o
}

// fault starts a fault.
func (w *World) fault(node *Node, a Action) {
	w.tell(ActorHistory, "%s %v for %s", a.Verb, a.N, a.For)
	switch a.Verb {
	case HNSDown, HNSFails, HNSFailsOnce, HNSHangs, HNSSlow:
		w.faultHNS(node.service, a)
	case HNSRestarts:
		node.lose(lost(a.N[2] % allLosses))
		w.faultHNS(node.service, Action{Verb: HNSDown, N: a.N, For: a.For})
	case HNSVanishes:
		node.vanish(a.N[1])
	case MetricsDown:
		node.metricsDown = true
		w.After(a.For, ActorHistory, func() { node.metricsDown = false })
	case RestartKubeProxy:
		node.KubeProxy.Restart(a.For)
	case ReplaceKubeProxy:
		version, _ := pick(Versions(), a.N[1])
		node.KubeProxy.Upgrade(version.Version)
	case CutKubeProxy:
		node.KubeProxy.feed.Cut(a.For, a.N[2]%2 == 1)
	case Freeze:
		node.Freeze(a.For)
	default:
		if agent, ok := pick(w.agents(), a.N[0]); ok {
			w.faultAgent(agent, a)
		}
	}
}

func (w *World) faultHNS(s *service, a Action) {
	operations := append(hns.Operations(), opCreateRemoteEndpoint, opWriteLoadBalancer)
	op := operations[a.N[1]%len(operations)]
	switch a.Verb {
	case HNSDown:
		codes := []uint32{codeUnknown, codeUnreachable, codeNotAnswering}
		s.down, s.why = true, codes[a.N[1]%len(codes)]
		w.After(a.For, ActorHNS, func() { s.down = false })
	case HNSFailsOnce:
		codes := []uint32{codeNotFound, codePortExists, codeUnknown, codeUnreachable, codeNotAnswering}
		s.once[op] = codes[a.N[2]%len(codes)]
	case HNSFails:
		s.failing[op] = true
		w.After(a.For, ActorHNS, func() { delete(s.failing, op) })
	case HNSHangs:
		s.hanging[op] = true
		w.After(a.For, ActorHNS, s.release)
	case HNSSlow:
		const slower = 100
		s.latency = slower * w.Setup.Latency
		w.After(a.For, ActorHNS, func() { s.latency = w.Setup.Latency })
	}
}

func (w *World) faultAgent(agent *Agent, a Action) {
	switch a.Verb {
	case CutGuard:
		feed := agent.slices
		if a.N[1]%2 == 1 {
			feed = agent.pods
		}
		feed.Cut(a.For, a.N[2]%2 == 1)
	case StallHandlers:
		agent.slices.Hold(a.For)
	case Crash:
		agent.Crash(a.For)
	case APIFails:
		faults := []APIFault{APIAway, APIBusy, APIHangs, APILosesAnswers}
		agent.SetAPIFault(faults[a.N[1]%len(faults)])
		w.After(a.For, ActorAPI, func() { agent.SetAPIFault(APIWell) })
	}
}

// Lost returns the names of the pods that lost a working endpoint to kube-proxy or an agent.
func (w *World) Lost() []string {
	var lost []string
	for _, name := range sortedKeys(w.Pods) {
		if p := w.Pods[name]; p.Lost && p.LostTo != ActorHNS {
			lost = append(lost, name)
		}
	}
	return lost
}

func (a Action) String() string {
	s := fmt.Sprintf("%s %v", a.Verb, a.N)
	if a.For > 0 {
		s += " for " + a.For.String()
	}
	if slices.Contains([]Verb{StartLocal, StartRemote, ReplacePod, DoublePod}, a.Verb) {
		s += strings.ReplaceAll(fmt.Sprintf(" %+v", a.Pod), "0s", "0")
	}
	return s + ", then " + a.Then.String()
}
