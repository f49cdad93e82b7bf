// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/winkernel"
	"github.com/hnsguard/hnsguard/test/winkernel/wire"
)

// released is a node with the code of a released kube-proxy. HNS answers every call.
type released struct {
	balanced
	t       *rapid.T
	version string
	program *winkernel.Program
	made    int
	// deleted are the endpoints that kube-proxy deleted, in some versions also those of pods. Load balancers with them
	// really dangle.
	deleted sets.Set[hns.EndpointID]
	// dropped are the addresses whose load balancers kube-proxy deleted and did not create again.
	dropped sets.Set[netip.Addr]
}

// do makes a request, and answers all calls that it causes.
func (r *released) do(request wire.Request) {
	request.Seed = rapid.Uint64Min(1).Draw(r.t, "seed")
	m, err := r.program.Do(request)
	for ; err == nil && m.Call != nil; m, err = r.program.Do(wire.Request{Kind: wire.Reply, Reply: new(r.answer(*m.Call))}) {
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// tell notifies kube-proxy of an object, without judging.
func (r *released) tell(kind wire.Kind, obj client.Object, gone bool) {
	obj.SetUID(types.UID(obj.GetName()))
	encoded, err := json.Marshal(obj)
	if err != nil {
		r.t.Fatal(err)
	}
	r.do(wire.Request{Kind: kind, Object: encoded, Delete: gone})
}

func (r *released) answer(c wire.Call) (result wire.Result) {
	switch c.Op {
	case wire.GetNetwork:
		result.Network = &wire.Network{ID: string(podNet), Name: c.ID, Type: string(hns.NetworkL2Bridge)}
	case wire.ListEndpoints, wire.GetEndpoint:
		for _, e := range r.endpoints {
			if c.Op == wire.ListEndpoints || string(e.ID) == c.ID {
				result.Endpoints = append(result.Endpoints, wired(e))
			}
		}
	case wire.CreateEndpoint:
		r.made++
		addr := netip.MustParseAddr(c.Endpoint.Addresses[0])
		e := verdict.Endpoint{Endpoint: hns.Endpoint{
			ID: hns.EndpointID(fmt.Sprintf("made-%d", r.made)), Network: podNet, Addresses: []netip.Addr{addr},
			MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote,
		}}
		r.endpoints, result.Endpoints = append(r.endpoints, e), []wire.Endpoint{wired(e)}
	case wire.DeleteEndpoint:
		r.deleted.Insert(hns.EndpointID(c.ID))
		r.endpoints = slices.DeleteFunc(r.endpoints, func(e verdict.Endpoint) bool { return string(e.ID) == c.ID })
	case wire.Completed:
	default:
		return r.answerBalancers(c)
	}
	return result
}

// answerBalancers answers a call about load balancers.
func (r *released) answerBalancers(c wire.Call) (result wire.Result) {
	const notFound = 0x490
	switch c.Op {
	case wire.ListLoadBalancers, wire.GetLoadBalancer:
		for _, lb := range r.balancers {
			if c.Op == wire.ListLoadBalancers || string(lb.ID) == c.ID {
				result.LoadBalancers = append(result.LoadBalancers, wiredBalancer(lb))
			}
		}
	case wire.CreateLoadBalancer, wire.UpdateLoadBalancer:
		if lb := *c.LoadBalancer; c.Op == wire.CreateLoadBalancer || r.remove(lb.ID) {
			result.LoadBalancers = []wire.LoadBalancer{r.add(lb)}
		} else {
			result.Code = notFound
		}
	case wire.DeleteLoadBalancer:
		if !r.remove(c.ID) {
			result.Code = notFound
		}
	default:
	}
	return result
}

// add adds a load balancer, which gets an ID if it has none.
func (r *released) add(lb wire.LoadBalancer) wire.LoadBalancer {
	if lb.ID == "" {
		r.made++
		lb.ID = fmt.Sprintf("lb-%d", r.made)
	}
	kept := hns.LoadBalancer{ID: hns.LoadBalancerID(lb.ID), FrontendVIPs: addrs(lb.FrontendVIPs...), Ports: []hns.PortMapping{{
		Protocol: lb.Protocol, InternalPort: lb.InternalPort, ExternalPort: lb.ExternalPort,
	}}}
	for _, id := range lb.Endpoints {
		kept.Endpoints = append(kept.Endpoints, hns.EndpointID(id))
	}
	r.balancers = append(r.balancers, kept)
	r.dropped.Delete(kept.FrontendVIPs...)
	return lb
}

// remove deletes a load balancer, and reports whether it existed.
func (r *released) remove(id string) bool {
	for _, lb := range r.balancers {
		if string(lb.ID) == id {
			r.dropped.Insert(lb.FrontendVIPs...)
		}
	}
	before := len(r.balancers)
	r.balancers = slices.DeleteFunc(r.balancers, func(lb hns.LoadBalancer) bool { return string(lb.ID) == id })
	return len(r.balancers) < before
}

func wired(e verdict.Endpoint) wire.Endpoint {
	w := wire.Endpoint{ID: string(e.ID), Network: string(e.Network), MAC: e.MAC.String(), Remote: e.Remote()}
	for _, addr := range e.Addresses {
		w.Addresses = append(w.Addresses, addr.String())
	}
	return w
}

func wiredBalancer(lb hns.LoadBalancer) wire.LoadBalancer {
	w := wire.LoadBalancer{
		ID: string(lb.ID), Protocol: lb.Ports[0].Protocol, InternalPort: lb.Ports[0].InternalPort,
		ExternalPort: lb.Ports[0].ExternalPort,
	}
	for _, id := range lb.Endpoints {
		w.Endpoints = append(w.Endpoints, string(id))
	}
	for _, vip := range lb.FrontendVIPs {
		w.FrontendVIPs = append(w.FrontendVIPs, vip.String())
	}
	return w
}

// selected reports whether kube-proxy's informers have the object.
func selected(obj client.Object) bool {
	_, headless := obj.GetLabels()[corev1.IsHeadlessService]
	_, other := obj.GetLabels()["service.kubernetes.io/service-proxy-name"]
	return !headless && !other
}

// change replaces a slice by another one, or a Service.
func (r *released) change() {
	locals, remotes := someAddresses()
	if len(r.slices) > 0 && rapid.Bool().Draw(r.t, "of a slice") {
		at := rapid.IntRange(0, len(r.slices)-1).Draw(r.t, "slice")
		old := r.slices[at]
		next := someSlice(r.t, old.Labels["kubernetes.io/service-name"], 0, slices.Concat(locals, remotes))
		next.Name, next.AddressType = old.Name, old.AddressType
		next.Endpoints = nil
		if rapid.Bool().Draw(r.t, "not empty") {
			next.Endpoints = old.Endpoints[:len(old.Endpoints)/2]
		}
		r.slices[at] = next
		r.tell(wire.Slice, next, !selected(next))
		return
	}
	at := rapid.IntRange(0, len(r.services)-1).Draw(r.t, "Service")
	r.services[at] = someService(r.t, r.services[at].Name, at)
	r.tell(wire.Service, r.services[at], !selected(r.services[at]))
}

func (r *released) expectRight(when string) {
	for _, b := range r.judge() {
		if b.Kind.Broken() && !r.deleted.HasAny(b.Gone...) && !r.lost(b) {
			r.t.Fatalf("%s, false alarm: %+v\nload balancers: %+v\nendpoints: %+v", when, b, r.balancers, r.endpoints)
		}
	}
}

// lost reports whether kube-proxy itself lost the load balancer, as its version is known to do.
func (r *released) lost(b verdict.Balancer) bool {
	at := slices.IndexFunc(r.services, func(s *corev1.Service) bool { return s.Name == b.Service.Name })
	return b.Kind == verdict.BalancerMissing && r.dropped.Has(b.Frontend.VIP) && at >= 0 &&
		kubeproxy.ProfileOf(r.version).LosesUnchanged(r.services[at].Spec.InternalTrafficPolicy != nil)
}

// Invariant 7, for the code of kube-proxy itself: what it has programmed at its start and after changes is right, and
// faults that occur afterwards are found.
func TestWhatReleasedKubeProxiesProgramIsRight(t *testing.T) {
	if len(winkernel.Programs()) == 0 {
		t.Skip("make test-model-kube-proxy builds them")
	}
	for version, path := range winkernel.Programs() {
		t.Run(version, func(t *testing.T) {
			program, err := winkernel.Start(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			found := map[verdict.BalancerKind]int{}
			rapid.Check(t, func(t *rapid.T) {
				r := &released{balanced: someServices(t), t: t, version: version, program: program, deleted: sets.New[hns.EndpointID]()}
				r.dropped = sets.New[netip.Addr]()
				r.do(wire.Request{Kind: wire.Start, Node: node, Network: "azure", CanUpdate: rapid.Bool().Draw(t, "updates")})
				for _, s := range r.services {
					if selected(s) {
						r.tell(wire.Service, s, false)
					}
				}
				for _, s := range r.slices {
					if selected(s) {
						r.tell(wire.Slice, s, false)
					}
				}
				r.do(wire.Request{Kind: wire.Synced})
				r.expectRight("at the start")
				for range rapid.IntRange(0, 3).Draw(t, "changes") {
					r.change()
					r.do(wire.Request{Kind: wire.Sync})
					r.expectRight("after a change")
				}
				r.expectFound(t, found)
			})
			for _, kind := range []verdict.BalancerKind{
				verdict.BalancerMissing, verdict.BalancerDangling, verdict.BalancerStale,
			} {
				NewWithT(t).Expect(found).To(HaveKey(kind))
			}
		})
	}
}
