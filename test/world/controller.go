// SPDX-License-Identifier: Apache-2.0

package world

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/stalerecord"
)

// servicePort is the name of the only port of Services.
const servicePort = "http"

// balancedPort is the number of the Services' port and of the pods' port behind it.
const balancedPort = 80

// slicesPerService is the number of slices that the controller writes for a Service, in addition to the mirror.
const slicesPerService = 2

// mirror is the slice of a Service that a foreign author writes, not the controller.
const mirror = slicesPerService

// entry is one endpoint in a slice.
type entry struct {
	pod                         string
	addr                        netip.Addr
	node                        string
	ready, serving, terminating bool
}

// sliceID identifies a slice of a Service.
type sliceID struct{ service, slice int }

// SliceController writes EndpointSlices: those of the EndpointSlice controller and those of a foreign author.
type SliceController struct {
	world   *World
	entries map[sliceID][]entry
	// mirrored are the actions on the foreign author's entries of a pod when the pod is gone.
	mirrored map[string][]func()
}

// flushService returns the Service of hnsguard's chart.
func flushService() *corev1.Service {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: guardNamespace, Name: stalerecord.Service}}
	service.Spec.ClusterIP = "10.96.0.250"
	service.Spec.ClusterIPs = []string{service.Spec.ClusterIP}
	service.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	service.Spec.Ports = []corev1.ServicePort{{
		Name: stalerecord.PortName, Port: 1, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(1),
	}}
	return service
}

func newSliceController(w *World) *SliceController {
	c := &SliceController{world: w, entries: map[sliceID][]entry{}, mirrored: map[string][]func(){}}
	for s := range w.Setup.Services {
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: c.serviceName(s)}}
		service.Spec.ClusterIP = netip.AddrFrom4([4]byte{10, 96, 0, byte(s + 1)}).String()
		service.Spec.ClusterIPs = []string{service.Spec.ClusterIP}
		service.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
		service.Spec.Ports = []corev1.ServicePort{{
			Name: servicePort, Port: balancedPort, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(balancedPort),
		}}
		w.API.Put(service)
	}
	w.API.Put(flushService())
	// Every cluster has this slice.
	w.API.Put(&discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.254"}}},
		Ports:       []discoveryv1.EndpointPort{{Name: new("https"), Port: new(int32(443)), Protocol: new(corev1.ProtocolTCP)}},
	})
	return c
}

// serviceName returns the name of a Service.
func (c *SliceController) serviceName(s int) string {
	if s < len(c.world.Setup.ServiceNames) {
		return c.world.Setup.ServiceNames[s]
	}
	return fmt.Sprintf("svc-%d", s)
}

func vipOf(service client.Object) netip.Addr {
	return netip.MustParseAddr(service.(*corev1.Service).Spec.ClusterIP)
}

// lag returns the delay until the controller sees a change of a pod.
func (c *SliceController) lag(p *Pod, what string) time.Duration {
	return c.world.within(c.world.Setup.ControllerLag, "controller", p.Name, what)
}

func (c *SliceController) podReady(p *Pod) {
	for _, s := range p.Services {
		id := sliceID{s, c.world.roll(slicesPerService, "slice", p.Name, c.serviceName(s))}
		c.world.After(c.lag(p, "ready"), ActorController, func() {
			if p.Deleting || p.Finished {
				return
			}
			// If its sandbox died, the pod has a new address.
			c.entries[id] = slices.DeleteFunc(c.entries[id], func(e entry) bool { return e.pod == p.Name })
			c.entries[id] = append(c.entries[id], entry{pod: p.Name, addr: p.Addr, node: p.Node, ready: true, serving: true})
			c.write(id)
		})
	}
}

// podUnready makes slices list the pod as not ready, until it is ready again. A foreign author drops it.
func (c *SliceController) podUnready(p *Pod) {
	c.world.After(c.lag(p, "unready"), ActorController, func() {
		if !p.Attached && !p.Deleting && !p.Finished {
			c.update(p, func(e *entry) { e.ready, e.serving, e.terminating = false, false, false })
		}
	})
	c.dropMirrored(p)
}

// podTerminating makes slices list the pod as terminating. It keeps serving until it is gone.
func (c *SliceController) podTerminating(p *Pod) {
	c.world.After(c.lag(p, "terminating"), ActorController, func() {
		c.update(p, func(e *entry) { e.ready, e.serving, e.terminating = false, true, true })
	})
}

// podGone makes slices drop the pod, each Service after its own delay.
func (c *SliceController) podGone(p *Pod) {
	for _, s := range p.Services {
		c.world.After(p.Drop+c.lag(p, "gone"+c.serviceName(s)), ActorController, func() { c.remove(p, s) })
	}
	c.dropMirrored(p)
}

func (c *SliceController) dropMirrored(p *Pod) {
	for _, drop := range c.mirrored[p.Name] {
		drop()
	}
	delete(c.mirrored, p.Name)
}

// update changes the entries of a pod in all slices of the controller.
func (c *SliceController) update(p *Pod, change func(*entry)) {
	for _, id := range c.ids() {
		changed := false
		for at := range c.entries[id] {
			if e := &c.entries[id][at]; e.pod == p.Name && id.slice != mirror {
				change(e)
				changed = true
			}
		}
		if changed {
			c.write(id)
		}
	}
}

func (c *SliceController) remove(p *Pod, service int) {
	for slice := range slicesPerService {
		id := sliceID{service, slice}
		before := len(c.entries[id])
		c.entries[id] = slices.DeleteFunc(c.entries[id], func(e entry) bool { return e.pod == p.Name })
		if len(c.entries[id]) != before {
			c.write(id)
		}
	}
}

// Repack moves the entries of one slice of a Service to the other one, with a gap in which no slice lists them.
func (c *SliceController) Repack(service int, gap time.Duration) {
	from, to := sliceID{service, 0}, sliceID{service, 1}
	if len(c.entries[from]) == 0 {
		from, to = to, from
	}
	moved := c.entries[from]
	if len(moved) == 0 {
		return
	}
	c.world.tell(ActorController, "repacks %s: %v leave slice %d for slice %d", c.serviceName(service), moved, from.slice, to.slice)
	c.entries[from] = nil
	c.write(from)
	c.world.After(gap, ActorController, func() {
		for _, e := range moved {
			p := c.world.Pods[e.pod]
			switch {
			case p != nil && (p.Gone || p.Finished || p.Addr != e.addr):
				continue // dropped meanwhile
			case p != nil && p.Deleting:
				e.ready, e.serving, e.terminating = false, true, true
			case p != nil && !p.Attached && !p.Host:
				e.ready, e.serving, e.terminating = false, false, false
			}
			c.entries[to] = append(c.entries[to], e)
		}
		c.write(to)
	})
}

// Mirror makes a foreign author list a pod too, until some time after it is gone.
func (c *SliceController) Mirror(p *Pod, service int, until time.Duration) {
	if !p.Attached || p.Deleting || p.Finished {
		return
	}
	id := sliceID{service, mirror}
	c.entries[id] = append(c.entries[id], entry{pod: p.Name, addr: p.Addr, node: p.Node, ready: true, serving: true})
	c.write(id)
	c.mirrored[p.Name] = append(c.mirrored[p.Name], func() {
		c.world.After(until, ActorController, func() {
			c.entries[id] = slices.DeleteFunc(c.entries[id], func(e entry) bool { return e.pod == p.Name })
			c.write(id)
		})
	})
}

// External makes a foreign author list an address outside of the cluster.
func (c *SliceController) External(service int, addr netip.Addr, listed bool) {
	id := sliceID{service, mirror}
	c.entries[id] = slices.DeleteFunc(c.entries[id], func(e entry) bool { return e.addr == addr })
	if listed {
		c.entries[id] = append(c.entries[id], entry{addr: addr, ready: true, serving: true})
	}
	c.write(id)
}

// Touch changes a slice without changing its entries.
func (c *SliceController) Touch(service int) { c.write(sliceID{service, 0}) }

// ids returns the IDs of all slices, in order.
func (c *SliceController) ids() []sliceID {
	var all []sliceID
	for s := range c.world.Setup.Services {
		for slice := range slicesPerService + 1 {
			all = append(all, sliceID{s, slice})
		}
	}
	return all
}

// write writes the current state of a slice.
func (c *SliceController) write(id sliceID) {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: fmt.Sprintf("%s-%c", c.serviceName(id.service), 'a'+id.slice),
			Labels: map[string]string{discoveryv1.LabelServiceName: c.serviceName(id.service)},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{
			Name: new(servicePort), Port: new(int32(80)), Protocol: new(corev1.ProtocolTCP),
		}},
	}
	for _, e := range c.entries[id] {
		slice.Endpoints = append(slice.Endpoints, endpointOf(e))
	}
	c.world.tell(ActorController, "EndpointSlice %s lists %s", slice.Name, listed(c.entries[id]))
	c.world.API.Put(slice)
}

func endpointOf(e entry) discoveryv1.Endpoint {
	endpoint := discoveryv1.Endpoint{
		Addresses: []string{e.addr.String()},
		Conditions: discoveryv1.EndpointConditions{
			Ready: new(e.ready), Serving: new(e.serving), Terminating: new(e.terminating),
		},
	}
	if e.node != "" {
		endpoint.NodeName = new(e.node)
	}
	if e.pod != "" {
		endpoint.TargetRef = &corev1.ObjectReference{
			Kind: "Pod", Namespace: namespace, Name: e.pod, UID: types.UID("uid-" + e.pod),
		}
	}
	return endpoint
}

func (e entry) String() string {
	state := "ready"
	switch {
	case e.terminating:
		state = "terminating"
	case !e.ready:
		state = "not ready"
	}
	return fmt.Sprintf("%s on %s (%s)", e.addr, e.node, state)
}

// listed returns the entries of a slice as text.
func listed(entries []entry) string {
	if len(entries) == 0 {
		return "nothing"
	}
	all := make([]string, 0, len(entries))
	for _, e := range entries {
		all = append(all, e.String())
	}
	return strings.Join(all, ", ")
}
