// SPDX-License-Identifier: Apache-2.0

package loadbalancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// expectation is why kube-proxy has to program a load balancer for a frontend: a Service has it, and one of its slices
// an endpoint for it. Two that are equal say that neither object has changed in between. The zero value is that there
// is no reason.
type expectation struct {
	service                   types.NamespacedName
	serviceUID, sliceUID      types.UID
	serviceVersion, sliceVers string
}

func (e expectation) known() bool { return e != expectation{} }

// object is what is needed of the Service to report and disturb it.
func (e expectation) object() *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: e.service.Namespace, Name: e.service.Name, UID: e.serviceUID,
	}}
}

// expect asks the API server why a frontend should be there. The reason that was given before is given again if it
// still holds.
func (r *Reprogrammer) expect(
	ctx context.Context, front Frontend, before expectation, snapshot verdict.Snapshot,
) (expectation, error) {
	service, err := r.serviceOf(ctx, front.VIP)
	if errors.Is(err, errNoService) {
		return expectation{}, nil
	}
	if err != nil {
		return expectation{}, err
	}
	port, has := portOf(service, front)
	if !has || !programmed(service) {
		return expectation{}, nil
	}
	all, err := r.slicesOf(ctx, service)
	if err != nil {
		return expectation{}, err
	}
	var found expectation
	use := usable{
		node: r.opts.Node, front: front, port: port, snapshot: snapshot,
		localOnly: service.Spec.InternalTrafficPolicy != nil &&
			*service.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal,
	}
	for i := range all {
		slice := &all[i]
		if !use.has(slice) {
			continue
		}
		reason := expectation{
			service: client.ObjectKeyFromObject(service), serviceUID: service.UID, serviceVersion: service.ResourceVersion,
			sliceUID: slice.UID, sliceVers: slice.ResourceVersion,
		}
		if reason == before {
			return before, nil
		}
		found = cmp.Or(found, reason)
	}
	return found, nil
}

// slicesOf reads the EndpointSlices of a Service from the API server.
func (r *Reprogrammer) slicesOf(ctx context.Context, service *corev1.Service) ([]discoveryv1.EndpointSlice, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var all discoveryv1.EndpointSliceList
	if err := r.opts.Server.List(ctx, &all, client.InNamespace(service.Namespace),
		client.MatchingLabels{discoveryv1.LabelServiceName: service.Name}); err != nil {
		return nil, fmt.Errorf("reading the EndpointSlices of Service %s/%s from the API server: %w",
			service.Namespace, service.Name, err)
	}
	return all.Items, nil
}

// programmed reports whether kube-proxy programs the Service at all. Source: NewServiceChangeTracker and
// ShouldSkipService in pkg/proxy, and the label selector in cmd/kube-proxy.
func programmed(service *corev1.Service) bool {
	_, otherProxy := service.Labels[cluster.LabelServiceProxyName]
	_, headless := service.Labels[corev1.IsHeadlessService]
	return !otherProxy && !headless && service.Spec.Type != corev1.ServiceTypeExternalName &&
		service.DeletionTimestamp.IsZero()
}

// portOf returns the port of a Service that a frontend is for.
func portOf(service *corev1.Service, front Frontend) (corev1.ServicePort, bool) {
	at := slices.IndexFunc(service.Spec.Ports, func(p corev1.ServicePort) bool {
		return p.Port == int32(front.Port) && protocolNumber(p.Protocol) == front.Protocol
	})
	if at < 0 {
		return corev1.ServicePort{}, false
	}
	return service.Spec.Ports[at], true
}

// protocolNumber is the number of a protocol that kube-proxy programs on Windows; zero for others.
func protocolNumber(p corev1.Protocol) uint32 {
	switch p {
	case corev1.ProtocolTCP, "":
		return 6
	case corev1.ProtocolUDP:
		return 17
	case corev1.ProtocolSCTP:
	}
	return 0
}

// usable says which slices have an endpoint that kube-proxy on this node builds the load balancer of a frontend on.
type usable struct {
	node     string
	front    Frontend
	port     corev1.ServicePort
	snapshot verdict.Snapshot
	// localOnly is set if the Service sends traffic from the node to endpoints of the node only.
	localOnly bool
}

func (u usable) has(slice *discoveryv1.EndpointSlice) bool {
	_, otherProxy := slice.Labels[cluster.LabelServiceProxyName]
	if otherProxy || !slices.ContainsFunc(slice.Ports, u.samePort) {
		return false
	}
	for addr, l := range cluster.Listings(slice) {
		if addr.Is4() != u.front.VIP.Is4() || !l.Ready || !l.Serving || l.Terminating {
			continue
		}
		if l.Elsewhere(u.node) {
			if !u.localOnly {
				return true
			}
			continue
		}
		// kube-proxy leaves out an endpoint of the node that is not in HNS: one in the host's network, or a victim.
		if slices.ContainsFunc(u.snapshot.Endpoints, func(e verdict.Endpoint) bool { return !e.Remote() && e.Has(addr) }) {
			return true
		}
	}
	return false
}

// samePort reports whether a slice's port is that of the Service: kube-proxy goes by name and protocol.
func (u usable) samePort(p discoveryv1.EndpointPort) bool {
	name, protocol := "", corev1.ProtocolTCP
	if p.Name != nil {
		name = *p.Name
	}
	if p.Protocol != nil {
		protocol = *p.Protocol
	}
	return p.Port != nil && *p.Port != 0 && name == u.port.Name && protocolNumber(protocol) == u.front.Protocol
}
