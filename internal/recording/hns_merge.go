// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/hnsguard/hnsguard/internal/hns"
)

const oneMoment = "record all files on one node, at one moment"

// MergeHNS combines the files of one node, recorded at one moment. Files may overlap. A complete record replaces an
// incomplete one; complete ones that contradict each other are an error.
func MergeHNS(dumps ...HNS) (HNS, error) {
	all := newHNSBuilder()
	var errs []error
	for _, d := range dumps {
		all.EndpointsRecorded = all.EndpointsRecorded || d.EndpointsRecorded
		all.LoadBalancersRecorded = all.LoadBalancersRecorded || d.LoadBalancersRecorded
		for _, n := range d.Networks {
			errs = append(errs, all.addNetwork(n))
		}
		for _, e := range d.Endpoints {
			errs = append(errs, all.addEndpoint(e, d.Incomplete[e.ID]))
		}
		for _, lb := range d.LoadBalancers {
			errs = append(errs, all.addLoadBalancer(lb))
		}
	}
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) > 0 {
		first := errs[:min(len(errs), maxFaults)]
		return HNS{}, fmt.Errorf("merging recordings of HNS (%s): %w", oneMoment, errors.Join(first...))
	}
	return all.HNS, nil
}

// hnsBuilder is a dump in the making. It joins the records of one ID.
type hnsBuilder struct {
	HNS
	// The indices of the objects in the dump.
	networks      map[hns.NetworkID]int
	endpoints     map[hns.EndpointID]int
	loadBalancers map[hns.LoadBalancerID]int
}

func newHNSBuilder() *hnsBuilder {
	return &hnsBuilder{
		HNS:           HNS{Incomplete: map[hns.EndpointID]string{}},
		networks:      map[hns.NetworkID]int{},
		endpoints:     map[hns.EndpointID]int{},
		loadBalancers: map[hns.LoadBalancerID]int{},
	}
}

func (b *hnsBuilder) addNetwork(n hns.Network) error {
	i, known := b.networks[n.ID]
	if !known {
		b.networks[n.ID] = len(b.Networks)
		b.Networks = append(b.Networks, n)
		return nil
	}
	old := &b.Networks[i]
	if differ(old.Name, n.Name) || differ(old.Type, n.Type) {
		return fmt.Errorf("network %s is both %q (%s) and %q (%s)", n.ID, old.Name, old.Type, n.Name, n.Type)
	}
	old.Name, old.Type = cmp.Or(old.Name, n.Name), cmp.Or(old.Type, n.Type)
	return nil
}

func (b *hnsBuilder) addLoadBalancer(lb hns.LoadBalancer) error {
	i, known := b.loadBalancers[lb.ID]
	if !known {
		b.loadBalancers[lb.ID] = len(b.LoadBalancers)
		b.LoadBalancers = append(b.LoadBalancers, lb)
	} else if old := b.LoadBalancers[i]; !sameSet(old.Endpoints, lb.Endpoints) {
		return fmt.Errorf("load balancer %s has the endpoints %v and %v", lb.ID, old.Endpoints, lb.Endpoints)
	}
	return nil
}

func (b *hnsBuilder) addEndpoint(e hns.Endpoint, missing string) error {
	i, known := b.endpoints[e.ID]
	if !known {
		i = len(b.Endpoints)
		b.endpoints[e.ID] = i
		b.Endpoints = append(b.Endpoints, e)
		b.Incomplete[e.ID] = missing
	}
	old := &b.Endpoints[i]
	switch was := b.Incomplete[e.ID]; {
	case missing != "":
		return nil
	case was != "":
		*old = e
	case old.Remote() != e.Remote(), old.Network != e.Network, old.MAC != e.MAC,
		!sameSet(old.Addresses, e.Addresses), differ(old.Namespace, e.Namespace):
		return fmt.Errorf("endpoint %s has two records that differ: %+v and %+v", e.ID, *old, e)
	}
	delete(b.Incomplete, e.ID)
	// V1 and V2 show different signs of use. Any counts.
	old.Flags |= e.Flags
	old.Namespace = cmp.Or(old.Namespace, e.Namespace)
	old.SharedContainers = max(old.SharedContainers, e.SharedContainers)
	return nil
}

// differ reports whether two strings are both set and not equal.
func differ[S ~string](a, b S) bool { return a != "" && b != "" && a != b }

// sameSet reports whether two short lists hold the same elements in any order.
func sameSet[T comparable](a, b []T) bool {
	within := func(x, y []T) bool {
		return !slices.ContainsFunc(x, func(t T) bool { return !slices.Contains(y, t) })
	}
	return within(a, b) && within(b, a)
}
