// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"fmt"
	"net/netip"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// networkRecord is what a record says of a network, in the spelling of its format.
type networkRecord struct {
	place
	id       cell
	name     string
	typ      string
	prefixes []cell
}

// networkV1 takes a network in the older representation apart.
func (r *reader) networkV1(o object) networkRecord {
	rec := r.network(o)
	for _, subnet := range r.objects(o, "Subnets") {
		rec.prefixes = append(rec.prefixes, r.text(subnet, "AddressPrefix"))
	}
	return rec
}

// networkV2 takes a network in hcn's representation apart.
func (r *reader) networkV2(o object) networkRecord {
	rec := r.network(o)
	for _, ipam := range r.objects(o, "Ipams") {
		for _, subnet := range r.objects(ipam, "Subnets") {
			rec.prefixes = append(rec.prefixes, r.text(subnet, "IpAddressPrefix"))
		}
	}
	return rec
}

// network takes apart what both representations share.
func (r *reader) network(o object) networkRecord {
	return networkRecord{
		place: o.place,
		id:    r.text(o, "ID"),
		name:  r.text(o, "Name").text,
		typ:   r.text(o, "Type").text,
	}
}

// addNetwork checks a record and keeps it.
func (r *reader) addNetwork(rec networkRecord) {
	n := hns.Network{
		ID:   required(r, rec.id, rec.place, hns.ParseID[hns.NetworkID]),
		Name: rec.name,
		Type: networkType(rec.typ),
	}
	for _, prefix := range rec.prefixes {
		if prefix.text != "" {
			n.Subnets = append(n.Subnets, parsed(r, prefix, parsePrefix))
		}
	}
	if n.ID == "" { // reported
		return
	}
	r.networks = append(r.networks, located[hns.Network]{rec.place, n})
}

func parsePrefix(s string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("parsing address range: %w", err)
	}
	return prefix.Masked(), nil
}
