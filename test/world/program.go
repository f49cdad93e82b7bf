// SPDX-License-Identifier: Apache-2.0

package world

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/test/winkernel/wire"
)

// Program runs the code of a released kube-proxy: one of package winkernel.
type Program interface {
	Do(r wire.Request) (wire.Message, error)
}

// Batch identifies a batch of Services that a kube-proxy processed: on which node, and when.
type Batch struct {
	Node string
	At   time.Duration
}

// traits returns the traits of a version. They are unknown for a version that only a program implements.
func (w *World) traits(version string) Traits {
	all := KnownVersions()
	at := slices.IndexFunc(all, func(t Traits) bool { return t.Version == version })
	switch {
	case at >= 0:
		return all[at]
	case w.play.Programs[version] != nil:
		return Traits{Version: version}
	default:
		panic("the world has no kube-proxy " + version)
	}
}

// programOf returns the program that runs a kube-proxy, or nil.
func (w *World) programOf(k *KubeProxy) Program {
	at := slices.IndexFunc(w.Nodes, func(n *Node) bool { return n == k.node })
	if programs := w.play.Programs[k.Version]; at >= 0 && at < len(programs) {
		return programs[at]
	}
	return nil
}

// ask sends a request to the program. If the program fails, the play ends.
func (k *KubeProxy) ask(r wire.Request) wire.Message {
	if !k.world.play.Writes {
		const luck = 1 << 62
		r.Seed = uint64(1 + k.world.roll(luck, "maps", k.node.Name, k.world.Elapsed().String()))
	}
	m, err := k.program.Do(r)
	if err != nil {
		panic(fmt.Sprintf("kube-proxy %s on %s at %s: %v", k.Version, k.node.Name, k.world.Elapsed(), err))
	}
	if m.Record != nil {
		clear(k.record)
		for _, addr := range m.Record {
			k.record[netip.MustParseAddr(addr)] = true
		}
	}
	if len(m.Batch) > 0 {
		k.world.batched(Batch{k.node.Name, k.world.Elapsed()}, m.Batch)
	}
	return m
}

func (w *World) batched(b Batch, services []string) {
	if w.Batches == nil {
		w.Batches = map[Batch][]types.NamespacedName{}
	}
	for _, s := range services {
		namespace, name, _ := strings.Cut(s, "/")
		w.Batches[b] = append(w.Batches[b], types.NamespacedName{Namespace: namespace, Name: name})
	}
}

// startProgram starts a kube-proxy without memory. What NewProxier does about load balancers is already done.
func (k *KubeProxy) startProgram() {
	m := k.ask(wire.Request{
		Kind: wire.Start, Node: k.node.Name, Network: k.node.network.Name, CanUpdate: !k.world.Setup.Remakes,
	})
	for m.Call != nil {
		reply := wire.Result{}
		if m.Call.Op == wire.GetNetwork {
			reply = k.hns.do(*m.Call)
		}
		m = k.ask(wire.Request{Kind: wire.Reply, Reply: &reply})
	}
	k.Burst = m.Started.Burst
	k.SyncPeriod = time.Duration(m.Started.MaxSeconds * float64(time.Second))
}

// tellProgram notifies the program of an object, and reports whether kube-proxy then wants a sync.
func (k *KubeProxy) tellProgram(kind wire.Kind, obj client.Object, gone bool) bool {
	encoded, err := json.Marshal(obj)
	if err != nil {
		panic(err) // it came from the world's API server
	}
	return k.ask(wire.Request{Kind: kind, Object: encoded, Delete: gone}).Wants
}

// served is one run of syncProxyRules by a program.
type served struct {
	stages
	k *KubeProxy
	// These are set when kube-proxy has listed endpoints, is programming Services, has programmed all of them, and has
	// given up.
	listed, programming, completed, givenUp bool
}

func (s *served) begin() {
	s.stages = stages{k: s.k, began: s.k.world.Now()}
	kind := wire.Sync
	if s.k.first {
		kind = wire.Synced
	}
	s.k.first = false
	s.serve(s.k.ask(wire.Request{Kind: kind}))
}

// serve answers kube-proxy's calls, each at its time.
func (s *served) serve(m wire.Message) {
	k := s.k
	for m.Call != nil {
		switch c := *m.Call; {
		case c.Op == wire.ListEndpoints && !s.listed:
			s.listed = true
			s.toList(func() {
				k.enumerated = k.world.Now()
				s.reply(c)
			})
			return
		case c.Op == wire.Completed:
			s.completed = true
			s.toFinish(func() {
				k.stats.Succeeded = k.world.Now()
				s.reply(c)
			})
			return
		case s.listed && !s.programming && !s.completed && !s.givenUp && c.Op != wire.ListLoadBalancers:
			s.programming = true
			s.toProgram(func() { s.reply(c) })
			return
		default:
			m = s.answer(c)
		}
	}
	if s.completed {
		for addr := range k.record {
			k.node.looked[addr] = k.enumerated
		}
	}
	k.runner.finished()
}

// reply answers a call whose time has come, and continues.
func (s *served) reply(c wire.Call) { s.serve(s.answer(c)) }

func (s *served) answer(c wire.Call) wire.Message {
	reply := s.k.hns.do(c)
	s.givenUp = s.givenUp || c.Op == wire.ListLoadBalancers && reply.Code != 0
	return s.k.ask(wire.Request{Kind: wire.Reply, Reply: &reply})
}
