// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"strings"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// endpointRecord is what a record says of an endpoint, in the spelling of its format.
type endpointRecord struct {
	place
	id, name    cell
	network     cell
	networkName string
	networkType string
	namespace   cell
	addresses   []cell
	mac         cell
	flags       uint64
	shared      int
	state       uint64
	gaps        Gap
}

// The V1 states of an endpoint that a container uses. Of the others, Created (1) and Detached (4) say that none does
// and Uninitialized (0), Degraded (5), Destroyed (6) and whatever a later HNS may add say nothing.
const (
	stateAttached        = 2
	stateAttachedSharing = 3
)

// endpointV1 takes an endpoint in the older representation apart.
func (r *reader) endpointV1(o object) endpointRecord {
	rec := endpointRecord{
		place:       o.place,
		id:          r.text(o, "ID"),
		name:        r.text(o, "Name"),
		network:     r.text(o, "VirtualNetwork"),
		networkName: r.text(o, "VirtualNetworkName").text,
		networkType: r.text(o, "Type").text,
		addresses:   []cell{r.text(o, "IPAddress"), r.text(o, "IPv6Address")},
		mac:         r.text(o, "MacAddress"),
		flags:       r.number(o, "Flags", 32),
		shared:      len(r.list(o, "SharedContainers")),
		state:       r.number(o, "State", 32),
	}
	if ns, ok := r.child(o, "Namespace"); ok {
		rec.namespace = r.text(ns, "ID")
	}
	remote := r.boolean(o, "IsRemoteEndpoint")
	switch {
	case remote:
		rec.flags |= uint64(hns.FlagRemote)
	case rec.flags&uint64(hns.FlagRemote) != 0:
		rec.flags &^= uint64(hns.FlagRemote)
		rec.gaps |= GapKind
	}
	return rec
}

// endpointV2 takes an endpoint in hcn's representation apart.
func (r *reader) endpointV2(o object) endpointRecord {
	rec := endpointRecord{
		place:     o.place,
		id:        r.text(o, "ID"),
		name:      r.text(o, "Name"),
		network:   r.text(o, "HostComputeNetwork"),
		namespace: r.text(o, "HostComputeNamespace"),
		mac:       r.text(o, "MacAddress"),
		flags:     r.number(o, "Flags", 32),
		state:     r.number(o, "State", 32),
	}
	for _, ip := range r.objects(o, "IpConfigurations") {
		rec.addresses = append(rec.addresses, r.text(ip, "IpAddress"))
	}
	if health, ok := r.child(o, "Health"); ok {
		if extra, ok := r.child(health, "Extra"); ok {
			rec.shared = len(r.list(extra, "SharedContainers"))
		}
	}
	return rec
}

// addEndpoint checks a record and keeps it, together with the network that it names.
func (r *reader) addEndpoint(rec endpointRecord) {
	r.endpointsSeen = true
	e := hns.Endpoint{
		ID:               required(r, rec.id, rec.place, hns.ParseID[hns.EndpointID]),
		Name:             rec.name.text,
		Network:          parsed(r, rec.network, hns.ParseOptionalID[hns.NetworkID]),
		Namespace:        parsed(r, rec.namespace, hns.ParseOptionalID[hns.NamespaceID]),
		MAC:              parsed(r, rec.mac, hns.ParseMAC),
		Flags:            hns.EndpointFlags(rec.flags),
		SharedContainers: rec.shared,
	}
	for _, ip := range rec.addresses {
		if ip.text != "" {
			e.Addresses = append(e.Addresses, parsed(r, ip, hns.ParseAddr))
		}
	}
	if used := rec.state == stateAttached || rec.state == stateAttachedSharing; used && !e.Attached() {
		e.SharedContainers = 1
	}
	if e.ID == "" { // reported
		return
	}
	if e.Network != "" {
		n := hns.Network{ID: e.Network, Name: rec.networkName, Type: networkType(rec.networkType)}
		r.networks = append(r.networks, located[hns.Network]{rec.place, n})
	}
	facts := endpointFacts{endpoint: e, gaps: rec.gaps, networkName: rec.networkName}
	r.endpoints = append(r.endpoints, located[endpointFacts]{rec.place, facts})
}

// parsed reads a cell with one of package hns's parsers and reports a text that it refuses.
func parsed[T any](r *reader, c cell, parse func(string) (T, error)) T {
	v, err := parse(strings.TrimSpace(c.text))
	if err != nil {
		remedy := ""
		if strings.HasSuffix(c.text, "...") || strings.HasSuffix(c.text, "…") {
			remedy = "the console cut it off: " + remedyJSON
		}
		r.faults.add(c.place, remedy, "%v", err)
	}
	return v
}

// required is parsed for the ID of an object, which must be there.
func required[T ~string](r *reader, c cell, object place, parse func(string) (T, error)) T {
	if strings.TrimSpace(c.text) == "" {
		r.faults.add(object, "", "it has no ID")
		return ""
	}
	return parsed(r, c, parse)
}

// networkType finds the spelling of hcn for a type that V1 may have spelt "l2bridge". Others stay as they are.
func networkType(s string) hns.NetworkType {
	for _, t := range []hns.NetworkType{
		hns.NetworkL2Bridge, hns.NetworkL2Tunnel, hns.NetworkOverlay, hns.NetworkNAT,
		hns.NetworkTransparent, hns.NetworkICS,
	} {
		if strings.EqualFold(s, string(t)) {
			return t
		}
	}
	return hns.NetworkType(s)
}
