// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// The nodes of the demo's cluster.
const (
	windowsNode = "win-1"
	linuxNode   = "lin-1"
	otherNode   = "win-2"
)

// stage is what the actors act on: the API, the HNS of the Windows node, and the timeline.
type stage struct {
	api     *api
	service *hnstest.HNS
	network hns.Network
	log     *narrator
	made    map[string]hns.EndpointID // endpoints by the name that the scenario gives them
	// recorded are the resource versions of all slices at the time when kube-proxy recorded an address as terminated.
	recorded map[string]string
}

// The actors. Each line of the timeline names one.
const (
	actorCluster   = "cluster"
	actorKubeProxy = "kube-proxy"
	actorCNI       = "CNI"
	actorGuard     = "hnsguard"
	actorDemo      = "demo"
)

// linuxPodServes adds a pod on another node to a Service. kube-proxy creates its remote endpoint and a load balancer.
func (s *stage) linuxPodServes(ctx context.Context, endpoint, service, node string, addr netip.Addr) error {
	s.log.say(actorCluster, "pod %s-0 on %s has %s and serves Service %s", service, node, addr, service)
	if err := s.list(ctx, service, node, addr, false); err != nil {
		return err
	}
	made, err := s.service.CreateEndpoint(hnstest.EndpointSpec{
		Network: s.network.ID, Addresses: []netip.Addr{addr}, MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote,
	})
	if err != nil {
		return fmt.Errorf("creating kube-proxy's remote endpoint: %w", err)
	}
	s.made[endpoint] = made.ID
	s.log.say(actorKubeProxy, "created remote endpoint %s for %s on %s, and a load balancer that uses it",
		short(made.ID), addr, windowsNode)
	_, err = s.service.CreateLoadBalancer(hns.LoadBalancer{
		Endpoints: []hns.EndpointID{made.ID}, FrontendVIPs: []netip.Addr{vipOf(service)},
		Ports: []hns.PortMapping{{Protocol: 6, InternalPort: 80, ExternalPort: 80}},
	})
	return err
}

// list creates or updates the EndpointSlice of a Service.
func (s *stage) list(ctx context.Context, service, node string, addr netip.Addr, terminating bool) error {
	ready := !terminating
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: service + "-x1", Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{addr.String()}, NodeName: &node,
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready, Terminating: &terminating},
		}},
	}
	err := s.api.Create(ctx, slice)
	if client.IgnoreAlreadyExists(err) != nil || err == nil {
		return err
	}
	return s.update(ctx, slice)
}

func (s *stage) update(ctx context.Context, slice *discoveryv1.EndpointSlice) error {
	var present discoveryv1.EndpointSlice
	if err := s.api.Get(ctx, client.ObjectKeyFromObject(slice), &present); err != nil {
		return err
	}
	slice.ResourceVersion = present.ResourceVersion
	return s.api.Update(ctx, slice)
}

// terminates changes the slice: it lists the pod of the Service as terminating.
func (s *stage) terminates(ctx context.Context, service, node string, addr netip.Addr) error {
	s.log.say(actorCluster, "pod %s-0 on %s is being deleted; the EndpointSlice lists %s as terminating",
		service, node, addr)
	return s.list(ctx, service, node, addr, true)
}

// drops empties the slice of a Service. kube-proxy deletes the load balancer, but forgets the remote endpoint.
func (s *stage) drops(ctx context.Context, service string) error {
	if err := s.clearSlice(ctx, service); err != nil {
		return err
	}
	s.log.say(actorKubeProxy, "deleted the load balancer but left the remote endpoint behind (a bug of this version)")
	return nil
}

// dropsProperly empties the slice of a Service. kube-proxy deletes the load balancer and the remote endpoint, and keeps
// the address in its record.
func (s *stage) dropsProperly(ctx context.Context, endpoint, service string, addr netip.Addr) error {
	if err := s.clearSlice(ctx, service); err != nil {
		return err
	}
	if err := s.service.DeleteEndpoint(ctx, s.made[endpoint]); err != nil {
		return err
	}
	var err error
	s.recorded, err = s.versions(ctx)
	s.log.say(actorKubeProxy, "deleted the load balancer and the remote endpoint, but keeps %s in its record", addr)
	return err
}

// versions returns the resource versions of all slices.
func (s *stage) versions(ctx context.Context) (map[string]string, error) {
	var all discoveryv1.EndpointSliceList
	if err := s.api.List(ctx, &all); err != nil {
		return nil, err
	}
	versions := map[string]string{}
	for _, slice := range all.Items {
		versions[slice.Name] = slice.ResourceVersion
	}
	return versions, nil
}

// syncs is kube-proxy's periodic sync: it deletes any endpoint that has the recorded address, unless an EndpointSlice
// has changed since. A real sync comes every 30 seconds; this one comes as soon as a slice has changed, or after
// [syncWait].
func (s *stage) syncs(ctx context.Context, addr netip.Addr) error {
	for range 50 {
		now, err := s.versions(ctx)
		if err != nil {
			return err
		}
		if !maps.Equal(now, s.recorded) {
			s.log.say(actorKubeProxy, "syncs 30 seconds later: an EndpointSlice has changed, so its record is empty")
			return nil
		}
		s.log.clock.Sleep(syncWait / 50)
	}
	for _, e := range s.service.State().Endpoints {
		if e.Has(addr) {
			s.log.say(actorKubeProxy, "syncs 30 seconds later: deletes endpoint %s, because %s is in its record",
				short(e.ID), addr)
			return s.service.DeleteEndpoint(ctx, e.ID)
		}
	}
	return nil
}

// syncWait is longer than hnsguard takes to flush.
const syncWait = 5 * time.Second

// clearSlice empties the slice of a Service and deletes its load balancer.
func (s *stage) clearSlice(ctx context.Context, service string) error {
	s.log.say(actorCluster, "pod %s-0 is gone; its address is free", service)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: service + "-x1", Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	if err := s.update(ctx, slice); err != nil {
		return err
	}
	for _, lb := range s.service.State().LoadBalancers {
		if len(lb.FrontendVIPs) == 1 && lb.FrontendVIPs[0] == vipOf(service) {
			if err := s.service.DeleteLoadBalancer(lb.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// windowsPodScheduled binds a pod to the Windows node.
func (s *stage) windowsPodScheduled(ctx context.Context, name string) error {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(uuid.NewString())},
		Spec:       corev1.PodSpec{NodeName: windowsNode},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
	s.log.say(actorCluster, "pod %s is scheduled to %s", name, windowsNode)
	return s.api.Create(ctx, pod)
}

func (s *stage) podReportsAddress(ctx context.Context, name string, addr netip.Addr) error {
	s.log.say(actorCluster, "pod %s reports %s and runs", name, addr)
	var pod corev1.Pod
	if err := s.api.Get(ctx, client.ObjectKey{Namespace: "shop", Name: name}, &pod); err != nil {
		return err
	}
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: addr.String(), PodIPs: []corev1.PodIP{{IP: addr.String()}},
	}
	return s.api.Status().Update(ctx, &pod)
}

// localEndpoint creates the local endpoint of a pod, as its CNI does. It is attached, or not if the CNI has left it
// behind.
func (s *stage) localEndpoint(endpoint, name string, addr netip.Addr, attach bool) error {
	made, err := s.service.CreateEndpoint(hnstest.EndpointSpec{
		Network: s.network.ID, Name: name + "_eth0", Addresses: []netip.Addr{addr}, MAC: hns.MAC{0, 0x15, 0x5d, 1, 2, 3},
	})
	if err != nil {
		return fmt.Errorf("creating the CNI's local endpoint: %w", err)
	}
	s.made[endpoint] = made.ID
	if !attach {
		s.log.say(actorCNI, "left local endpoint %s for %s behind", short(made.ID), addr)
		return nil
	}
	s.log.say(actorCNI, "created local endpoint %s for pod %s with %s", short(made.ID), name, addr)
	return s.service.Attach(made.ID, s.service.CreateNamespace())
}

// vipOf derives an address from the name of a Service.
func vipOf(service string) netip.Addr {
	sum := byte(0)
	for _, b := range []byte(service) {
		sum += b
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, sum})
}

func short(id hns.EndpointID) string { return strings.SplitN(string(id), "-", 2)[0] }
