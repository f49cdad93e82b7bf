// SPDX-License-Identifier: Apache-2.0

package recorded

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// Merge puts together what several files say of one node at one moment. Files may overlap: what one leaves open another
// may tell. Where two contradict each other they are not of one node and one moment, which is an error.
func Merge(dumps ...Dump) (Dump, error) {
	c := newCollector()
	var errs []error
	for _, d := range dumps {
		c.dump.EndpointsRecorded = c.dump.EndpointsRecorded || d.EndpointsRecorded
		c.dump.LoadBalancersRecorded = c.dump.LoadBalancersRecorded || d.LoadBalancersRecorded
		for _, n := range d.Networks {
			errs = append(errs, c.addNetwork(n))
		}
		for _, e := range d.Endpoints {
			errs = append(errs, c.addEndpoint(e, d.Gaps[e.ID]))
		}
		for _, lb := range d.LoadBalancers {
			errs = append(errs, c.addLoadBalancer(lb))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Dump{}, fmt.Errorf("putting recorded files together (%s): %w", remedyOneState, err)
	}
	return c.dump, nil
}

// collector gathers objects and joins those of one ID.
type collector struct {
	dump          Dump
	networks      map[hns.NetworkID]int
	endpoints     map[hns.EndpointID]int
	loadBalancers map[hns.LoadBalancerID]int
}

func newCollector() *collector {
	return &collector{
		dump:          Dump{Gaps: map[hns.EndpointID]Gap{}},
		networks:      map[hns.NetworkID]int{},
		endpoints:     map[hns.EndpointID]int{},
		loadBalancers: map[hns.LoadBalancerID]int{},
	}
}

func (c *collector) addNetwork(n hns.Network) error {
	i, known := c.networks[n.ID]
	if !known {
		c.networks[n.ID] = len(c.dump.Networks)
		c.dump.Networks = append(c.dump.Networks, n)
		return nil
	}
	old := &c.dump.Networks[i]
	switch {
	case differ(old.Name, n.Name):
		return fmt.Errorf("network %s is called both %q and %q", n.ID, old.Name, n.Name)
	case differ(old.Type, n.Type):
		return fmt.Errorf("network %s is both of type %s and %s", n.ID, old.Type, n.Type)
	case len(old.Subnets) > 0 && len(n.Subnets) > 0 && !sameSet(old.Subnets, n.Subnets):
		return fmt.Errorf("network %s has both the subnets %v and %v", n.ID, old.Subnets, n.Subnets)
	}
	old.Name = either(old.Name, n.Name)
	old.Type = either(old.Type, n.Type)
	if len(old.Subnets) == 0 {
		old.Subnets = n.Subnets
	}
	return nil
}

func (c *collector) addLoadBalancer(lb hns.LoadBalancer) error {
	i, known := c.loadBalancers[lb.ID]
	if !known {
		c.loadBalancers[lb.ID] = len(c.dump.LoadBalancers)
		c.dump.LoadBalancers = append(c.dump.LoadBalancers, lb)
		return nil
	}
	old := &c.dump.LoadBalancers[i]
	if !sameSet(old.Endpoints, lb.Endpoints) {
		return fmt.Errorf("load balancer %s has both the backends %v and %v", lb.ID, old.Endpoints, lb.Endpoints)
	}
	if len(old.FrontendVIPs) == 0 {
		old.FrontendVIPs = lb.FrontendVIPs
	}
	if len(old.Ports) == 0 {
		old.Ports = lb.Ports
	}
	return nil
}

func (c *collector) addEndpoint(e hns.Endpoint, gaps Gap) error {
	i, known := c.endpoints[e.ID]
	if !known {
		c.endpoints[e.ID] = len(c.dump.Endpoints)
		c.dump.Endpoints = append(c.dump.Endpoints, e)
		c.setGaps(e.ID, gaps)
		return nil
	}
	old, open := &c.dump.Endpoints[i], c.dump.Gaps[e.ID]
	for _, f := range facts() {
		switch {
		case gaps.Has(f.gap):
		case open.Has(f.gap):
			f.take(old, e)
			open &^= f.gap
		case !f.same(*old, e):
			return fmt.Errorf("endpoint %s has two records that differ in %s", e.ID, f.name)
		}
	}
	// Beyond the facts, records add up: not every format prints the other flags, the name or each sign of being used.
	old.Flags |= e.Flags
	old.Name = either(old.Name, e.Name)
	old.Namespace = either(old.Namespace, e.Namespace)
	old.SharedContainers = max(old.SharedContainers, e.SharedContainers)
	c.setGaps(e.ID, open)
	return nil
}

func (c *collector) setGaps(id hns.EndpointID, gaps Gap) {
	if gaps == 0 {
		delete(c.dump.Gaps, id)
		return
	}
	c.dump.Gaps[id] = gaps
}

// fact is one thing about an endpoint that a format may leave open.
type fact struct {
	gap  Gap
	name string
	same func(a, b hns.Endpoint) bool
	take func(into *hns.Endpoint, from hns.Endpoint)
}

func facts() []fact {
	return []fact{
		{
			GapKind, "whether it is remote",
			func(a, b hns.Endpoint) bool { return a.Remote() == b.Remote() },
			func(into *hns.Endpoint, from hns.Endpoint) { into.Flags |= from.Flags },
		},
		{
			GapNetwork, "its network",
			func(a, b hns.Endpoint) bool { return a.Network == b.Network },
			func(into *hns.Endpoint, from hns.Endpoint) { into.Network = from.Network },
		},
		{
			GapAddresses, "its addresses",
			func(a, b hns.Endpoint) bool { return sameSet(a.Addresses, b.Addresses) },
			func(into *hns.Endpoint, from hns.Endpoint) { into.Addresses = from.Addresses },
		},
		{
			GapMAC, "its hardware address",
			func(a, b hns.Endpoint) bool { return a.MAC == b.MAC },
			func(into *hns.Endpoint, from hns.Endpoint) { into.MAC = from.MAC },
		},
		{
			GapAttachment, "whether a container uses it",
			func(a, b hns.Endpoint) bool { return !differ(a.Namespace, b.Namespace) },
			func(*hns.Endpoint, hns.Endpoint) {}, // added up in any case
		},
	}
}

// differ reports whether two strings both say something, and not the same.
func differ[S ~string](a, b S) bool { return a != "" && b != "" && a != b }

// either returns the first string that says something.
func either[S ~string](a, b S) S {
	if a != "" {
		return a
	}
	return b
}

// sameSet reports whether two lists hold the same things in any order. Both are short.
func sameSet[T comparable](a, b []T) bool {
	within := func(x, y []T) bool {
		return !slices.ContainsFunc(x, func(t T) bool { return !slices.Contains(y, t) })
	}
	return within(a, b) && within(b, a)
}
