// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"strings"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// loadBalancerRecord is what a record says of a load balancer, in the spelling of its format.
type loadBalancerRecord struct {
	place
	id        cell
	endpoints []cell
	vips      []cell
	ports     []hns.PortMapping
}

// loadBalancerV2 takes a load balancer in hcn's representation apart.
func (r *reader) loadBalancerV2(o object) loadBalancerRecord {
	rec := loadBalancerRecord{
		place:     o.place,
		id:        r.text(o, "ID"),
		endpoints: r.texts(o, "HostComputeEndpoints"),
		vips:      r.texts(o, "FrontendVIPs"),
	}
	for _, mapping := range r.objects(o, "PortMappings") {
		rec.ports = append(rec.ports, r.portMapping(mapping))
	}
	return rec
}

// policyList takes a V1 policy list apart. What hcn calls a load balancer is there a list with policies of type ELB.
// Lists of other policies are kept as well, without addresses and ports, because they refer to endpoints all the
// same.
func (r *reader) policyList(o object) loadBalancerRecord {
	rec := loadBalancerRecord{place: o.place, id: r.text(o, "ID")}
	for _, reference := range r.texts(o, "References") {
		if id, ok := r.referred(reference); ok {
			rec.endpoints = append(rec.endpoints, id)
		}
	}
	for _, policy := range r.objects(o, "Policies") {
		if !strings.EqualFold(r.text(policy, "Type").text, "ELB") {
			continue
		}
		rec.vips = append(rec.vips, r.texts(policy, "VIPs")...)
		rec.ports = append(rec.ports, r.portMapping(policy))
	}
	return rec
}

// referred is the endpoint ID in a reference of the form "/endpoints/<ID>".
func (r *reader) referred(reference cell) (cell, bool) {
	const prefix = "/endpoints/"
	if len(reference.text) < len(prefix) || !strings.EqualFold(reference.text[:len(prefix)], prefix) {
		r.faults.add(reference.place, "", "%q is no reference to an endpoint: want %s<ID>", reference.text, prefix)
		return cell{}, false
	}
	reference.text = reference.text[len(prefix):]
	return reference, true
}

func (r *reader) portMapping(o object) hns.PortMapping {
	return hns.PortMapping{
		Protocol:     uint32(r.number(o, "Protocol", 32)),
		InternalPort: uint16(r.number(o, "InternalPort", 16)),
		ExternalPort: uint16(r.number(o, "ExternalPort", 16)),
	}
}

// texts returns the elements of a list of strings.
func (r *reader) texts(o object, key string) []cell {
	var cells []cell
	for _, v := range r.list(o, key) {
		cells = append(cells, r.textOf(v))
	}
	return cells
}

// addLoadBalancer checks a record and keeps it. A frontend without an address, which is how kube-proxy asks for a node
// port, has an empty text in some formats and none in others.
func (r *reader) addLoadBalancer(rec loadBalancerRecord) {
	r.loadBalancersSeen = true
	lb := hns.LoadBalancer{
		ID:    required(r, rec.id, rec.place, hns.ParseID[hns.LoadBalancerID]),
		Ports: rec.ports,
	}
	for _, id := range rec.endpoints {
		lb.Endpoints = append(lb.Endpoints, parsed(r, id, hns.ParseID[hns.EndpointID]))
	}
	for _, vip := range rec.vips {
		if vip.text != "" {
			lb.FrontendVIPs = append(lb.FrontendVIPs, parsed(r, vip, hns.ParseAddr))
		}
	}
	if lb.ID == "" { // reported
		return
	}
	r.loadBalancers = append(r.loadBalancers, located[hns.LoadBalancer]{rec.place, lb})
}
