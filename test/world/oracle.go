// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
)

// Invariant is one of the invariants of package model.
type Invariant string

// The invariants, with their numbers in the documentation of package model.
const (
	InvariantLocal    Invariant = "1: no local endpoint is deleted by hnsguard"
	InvariantOwner    Invariant = "2: no endpoint is deleted that kube-proxy did not make"
	InvariantValid    Invariant = "3: no remote endpoint is deleted that is in use"
	InvariantCause    Invariant = "4: no pod loses its endpoint to a lookup from which hnsguard took the remote one away"
	InvariantWorse    Invariant = "5: no pod is lost that lives without hnsguard"
	InvariantUnknown  Invariant = "6: nothing is deleted on evidence that could not be read"
	InvariantLimits   Invariant = "7: removals stay within their limits"
	InvariantCounted  Invariant = "8: every removal is logged and counted"
	InvariantBound    Invariant = "9: when all faults have ended, stale endpoints go within a bound"
	InvariantOwnOnly  Invariant = "10: hnsguard writes only EndpointSlices of its own"
	InvariantRecord   Invariant = "12: when all faults have ended, a change of a slice has followed each drop in kube-proxy's record"
	InvariantEviction Invariant = "11: no pod is evicted whose endpoint is there"
	InvariantModel    Invariant = "0: the program neither fails nor panics"
)

// Violation is a violation of an invariant.
type Violation struct {
	Invariant Invariant
	At        time.Duration
	What      string
}

func (v Violation) String() string {
	return fmt.Sprintf("invariant %s (at %s: %s)", v.Invariant, v.At.Round(time.Millisecond), v.What)
}

func (w *World) violated(i Invariant, format string, args ...any) {
	v := Violation{Invariant: i, At: w.Elapsed(), What: fmt.Sprintf(format, args...)}
	w.tell(ActorHistory, "VIOLATED: %s", v)
	w.Violations = append(w.Violations, v)
}

// account is the oracle's record of one process of an agent.
type account struct {
	// began is the start of the current or last pass.
	began time.Time
	// blind is set if HNS could not be listed in this pass.
	blind bool
	// tokens and filled are a limiter like the program's.
	perSecond, burst float64
	tokens           float64
	filled           time.Time
	// issued and done count deletes of endpoints: those that were requested, and those that were reported as done.
	issued, done int
	// latest is when the last one was done.
	latest time.Time

	mu           sync.Mutex
	logs, events map[string]int
}

func newAccount(c config.Config, now time.Time) *account {
	return &account{
		began: now, perSecond: c.Removals.PerSecond, burst: float64(c.Pace.Burst), tokens: float64(c.Pace.Burst), filled: now,
		logs: map[string]int{}, events: map[string]int{},
	}
}

func (a *account) begin(now time.Time) {
	a.began, a.blind = now, false
}

// called records the result of a call to HNS.
func (a *account) called(op hns.Operation, err error) {
	if err != nil && (op == hns.OpListEndpointIDs || op == hns.OpNetworks) {
		a.blind = true
	}
}

// take takes a token of the limiter, and reports whether there was one.
func (a *account) take(now time.Time) bool {
	a.tokens = min(a.burst, a.tokens+now.Sub(a.filled).Seconds()*a.perSecond)
	a.filled = now
	a.tokens--
	// early accounts for the program taking its token after it has read HNS, some time before it deletes.
	const early = 2 * time.Second
	return a.tokens >= -early.Seconds()*a.perSecond
}

func (a *account) noteLog(msg string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.logs[msg]++
}

func (a *account) noteEvent(reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events[reason]++
}

// issues judges a delete at the time of the agent's call. The agent cannot know what happens until it takes effect.
func (a *Agent) issues(id hns.EndpointID) {
	n, w := a.node, a.node.world
	a.account.issued++ // if it hangs, and its endpoint is gone, the agent cannot know that it had no effect
	endpoint, there := n.endpoint(id)
	if !there {
		return
	}
	addr := endpoint.Addresses[0]
	w.tell(ActorAgent, "%s: deletes endpoint %s of %s", a.Name, id, addr)
	switch {
	case !endpoint.Remote():
		w.violated(InvariantLocal, "%s deletes local endpoint %s of %s", a.Name, id, addr)
	case endpoint.Network != n.network.ID || !kubeproxy.Owns(endpoint):
		w.violated(InvariantOwner, "%s deletes %v", a.Name, endpoint)
	case w.API.HeldElsewhere(addr, n.Name, a.account.began):
		w.violated(InvariantValid, "%s deletes remote endpoint %s of %s, which a live pod of another node has had since before the pass",
			a.Name, id, addr)
	case !n.claims(addr) && w.API.ListedElsewhere(addr, n.Name, a.account.began):
		w.violated(InvariantValid, "%s deletes remote endpoint %s of %s, which slices have listed since before the pass",
			a.Name, id, addr)
	}
	if a.account.blind {
		w.violated(InvariantUnknown, "%s deletes endpoint %s in a pass that could not list HNS", a.Name, id)
	}
	if !a.faulty.IsZero() && a.faulty.Before(a.account.began) {
		w.violated(InvariantUnknown, "%s deletes endpoint %s in a pass without the API server", a.Name, id)
	}
	if !a.account.take(w.Now()) {
		w.violated(InvariantLimits, "%s deletes more than removals.perSecond and removals.burst allow", a.Name)
	}
}

// claims reports whether a pod on this node has the address now.
func (n *Node) claims(addr netip.Addr) bool {
	return n.world.IPAM.owner(addr, n.Name) != nil
}

// deletes processes an agent's delete that takes effect.
func (a *Agent) deletes(id hns.EndpointID) error {
	n := a.node
	endpoint, there := n.endpoint(id)
	err := n.delete(id, ActorAgent)
	if err != nil || !there {
		return err
	}
	a.account.done++
	a.account.latest = n.world.Now()
	n.touched[endpoint.Addresses[0]] = true
	if endpoint.Remote() {
		n.taken = append(n.taken, taken{endpoint: endpoint, at: n.world.Now()})
	}
	return nil
}

// taken is a remote endpoint that an agent deleted.
type taken struct {
	endpoint hns.Endpoint
	at       time.Time
}

// missed judges a lookup of kube-proxy that found a pod's own endpoint: would it have found a remote endpoint that
// hnsguard has deleted since the last lookup of the address? enumerated is the time of kube-proxy's enumeration.
func (n *Node) missed(addr netip.Addr, found hns.EndpointID, enumerated time.Time) {
	pod, last := n.pods[found], n.looked[addr]
	if pod == nil || !pod.Attached || pod.Deleting || pod.Finished {
		return
	}
	for _, t := range n.taken {
		switch {
		case !t.endpoint.Has(addr), !t.at.After(last), t.at.After(enumerated), !n.standsBehind(t.endpoint.ID, found, enumerated):
		case n.unforeseen(t):
			pod.Unforeseen = true
		default:
			n.world.violated(InvariantCause, "pod %s on %s loses its endpoint, because remote endpoint %s was deleted before",
				pod.Name, n.Name, t.endpoint.ID)
			return
		}
	}
}

// unforeseen reports whether a kube-proxy with the stale record replaced another one after the endpoint was deleted,
// and slices dropped the address so soon afterwards that an agent, which reads kube-proxy's version every
// [detect.Every], cannot have kept it.
func (n *Node) unforeseen(t taken) bool {
	const untilKept = 10 * time.Second // the new kube-proxy starts, and the agent keeps the address in its next pass
	worse, dropped := n.KubeProxy.worse, n.world.API.dropped[t.endpoint.Addresses[0]]
	return t.at.Before(worse) && !dropped.Before(worse) && dropped.Before(worse.Add(detect.Every+untilKept))
}

// writes processes an agent's write that the API server accepts.
func (a *Agent) writes(obj client.Object) {
	w := a.node.world
	if !mayWrite(obj) {
		w.violated(InvariantOwnOnly, "%s writes %s %s", a.Name, kindOf(obj), client.ObjectKeyFromObject(obj))
	}
	w.tell(ActorAgent, "%s: writes %s %s", a.Name, kindOf(obj), client.ObjectKeyFromObject(obj))
	w.writes = append(w.writes, GhostWrite{At: w.Elapsed(), Object: copyOf(obj)})
	w.API.Put(obj)
}

// removes processes an agent's delete that the API server accepts.
func (a *Agent) removes(obj client.Object) {
	w, key := a.node.world, client.ObjectKeyFromObject(obj)
	if !mayWrite(obj) {
		w.violated(InvariantOwnOnly, "%s deletes %s %s", a.Name, kindOf(obj), key)
	}
	w.tell(ActorAgent, "%s: deletes %s %s", a.Name, kindOf(obj), key)
	w.writes = append(w.writes, GhostWrite{At: w.Elapsed(), Object: copyOf(obj), Delete: true})
	w.API.Delete(kindOf(obj), key)
}

// GhostWrite is an agent's write that is repeated in a play without agents.
type GhostWrite struct {
	At     time.Duration
	Object client.Object
	Delete bool
}

// haunt repeats the writes of another play, but keeps listing what was kept listed: a pod that is lost because hnsguard
// stops keeping its address counts as worse.
func (w *World) haunt(writes []GhostWrite) {
	for _, g := range writes {
		if g.Delete && g.Object.GetLabels()[discoveryv1.LabelManagedBy] == cluster.ManagedByKeep {
			continue // other writes do not compensate for it
		}
		w.After(g.At, ActorAPI, func() {
			if g.Delete {
				w.API.Delete(kindOf(g.Object), client.ObjectKeyFromObject(g.Object))
				return
			}
			w.API.Put(copyOf(g.Object))
		})
	}
}

// stale returns the remote endpoints that should be gone.
func (w *World) stale() map[hns.EndpointID]bool {
	all := map[hns.EndpointID]bool{}
	for _, n := range w.Nodes {
		for id := range n.Stale() {
			all[id] = true
		}
	}
	return all
}

// judgeEnd judges what remains of the stale endpoints after a long enough time without faults.
func (w *World) judgeEnd(before map[hns.EndpointID]bool) {
	for _, n := range w.Nodes {
		if len(n.Agents) == 0 {
			continue
		}
		for _, e := range n.Remotes() {
			if why, stale := n.stale(e); stale && before[e.ID] {
				w.violated(InvariantBound, "%s: remote endpoint %s of %s is still there: %s", n.Name, e.ID, e.Addresses[0], why)
			}
		}
		n.judgeRecord()
		for _, a := range n.Agents {
			a.audit()
		}
	}
}

// judgeRecord expects a change of a slice, which flushes, after each drop of an address that is in the record of a
// kube-proxy which deletes local endpoints by it. (If kube-proxy processes the change in one batch with the drop, the
// address may remain in the record.) An address that slices list for another node does no harm, because its remote
// endpoint is referenced. While HNS has a remote endpoint with the address, the agent cannot see that kube-proxy has
// processed the drop.
func (n *Node) judgeRecord() {
	w := n.world
	// hnsguard makes kube-proxy program a Service again with an address from this range.
	forDocumentation := netip.MustParsePrefix("192.0.2.0/24")
	if !n.KubeProxy.DeletesLocals || w.Setup.Observe {
		return
	}
	for _, addr := range sortedAddrs(n.KubeProxy.record) {
		if stalerecord.IsBarrier(addr) || forDocumentation.Contains(addr) {
			continue // no pod ever gets it
		}
		remote := slices.ContainsFunc(n.Remotes(), func(e hns.Endpoint) bool { return e.Has(addr) })
		if !remote && !w.API.sliced.After(w.API.dropped[addr]) && !w.API.ListedElsewhere(addr, n.Name, w.Now()) {
			w.violated(InvariantRecord, "%s: kube-proxy still has %s in its record", n.Name, addr)
		}
	}
}

// stale reports whether a remote endpoint should be gone, and why.
func (n *Node) stale(e hns.Endpoint) (string, bool) {
	addr := e.Addresses[0]
	listed := n.world.API.ListedElsewhere(addr, n.Name, n.world.Now())
	referred := slices.ContainsFunc(n.HNS.State().LoadBalancers, func(lb hns.LoadBalancer) bool { return lb.Refers(e.ID) })
	owner := n.world.IPAM.owner(addr, n.Name)
	switch {
	case listed || n.world.API.HeldElsewhere(addr, n.Name, n.world.Now()):
		return "", false // the endpoint is right, or would be if a Service selected the pod
	case owner != nil && owner.Attached && !owner.Deleting && !owner.Finished && !owner.Lost:
		return "pod " + owner.Name + " has the address", true
	case owner != nil || referred:
		return "", false // the pod is not ready yet, or has lost its endpoint
	case n.world.heldUnreported(addr):
		return "", false
	default:
		return "nothing claims the address", true
	}
}

// heldUnreported reports whether an unfinished pod has the address, whatever the API server knows.
func (w *World) heldUnreported(addr netip.Addr) bool {
	return slices.ContainsFunc(w.IPAM.owners[addr], func(p *Pod) bool { return !p.Finished })
}

// untilCounted is how long a removal takes at most until it is counted: the agent first waits for HNS to lack the
// endpoint.
const untilCounted = time.Second

// audit compares what an agent did with what it reports.
func (a *Agent) audit() {
	w := a.node.world
	if a.dead {
		return
	}
	if known := a.product.detector.Profile().Version; known != a.node.KubeProxy.Version {
		w.violated(InvariantModel, "%s takes kube-proxy %s for %q", a.Name, a.node.KubeProxy.Version, known)
	}
	counted, err := a.product.removals()
	if err != nil {
		w.violated(InvariantModel, "%v", err)
		return
	}
	a.account.mu.Lock()
	logged := a.account.logs[removedMessage]
	a.account.mu.Unlock()
	done := a.account.done
	if w.Now().Sub(a.account.latest) < untilCounted {
		done--
	}
	if counted < done || counted > a.account.issued {
		w.violated(InvariantCounted, "%s: %d endpoints were removed (%d deletes issued), and %d are counted",
			a.Name, done, a.account.issued, counted)
	}
	if logged < done {
		w.violated(InvariantCounted, "%s: %d endpoints were removed, and %d are logged", a.Name, done, logged)
	}
}
