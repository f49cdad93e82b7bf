// SPDX-License-Identifier: Apache-2.0

package report

import (
	"net/netip"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"

	"github.com/hnsguard/hnsguard/internal/hns"
)

// A recording of a part of the node looks like one of the whole node (invariant 2). What hnsguard itself reads is
// whole.

// partialHNS says why the recording of HNS seems to be partial; empty if it does not. The signs are a single address,
// or the absence of most remote endpoints that kube-proxy creates for EndpointSlices. Both are typical of a filter.
func (in Input) partialHNS() string {
	if in.HNS.Whole || len(in.HNS.Endpoints) == 0 || in.networkGone {
		return ""
	}
	recorded := sets.New[netip.Addr]()
	for _, e := range in.HNS.Endpoints {
		recorded.Insert(e.Addresses...)
	}
	if len(recorded) == 1 {
		return "HNS was recorded with endpoints of a single address"
	}
	listed := in.listedElsewhere()
	if missing := listed.Difference(recorded); 2*len(missing) > len(listed) {
		return "the HNS dump lacks the endpoints of most addresses that EndpointSlices list on other nodes"
	}
	return ""
}

// listedElsewhere returns the addresses for which kube-proxy creates remote endpoints.
func (in Input) listedElsewhere() sets.Set[netip.Addr] {
	listed := sets.New[netip.Addr]()
	for _, slice := range in.Cluster.Slices {
		if slice.Labels[discoveryv1.LabelServiceName] == "" {
			continue
		}
		for _, e := range slice.Endpoints {
			if ptr.Deref(e.NodeName, "") == in.Node || !ptr.Deref(e.Conditions.Ready, true) {
				continue
			}
			for _, text := range e.Addresses {
				if addr, err := hns.ParseAddr(text); err == nil {
					listed.Insert(addr)
				}
			}
		}
	}
	return listed
}

// partialCluster reports whether the EndpointSlices are older than HNS, so that new endpoints may be in use, or seem to
// be those of one namespace only. Every cluster has slices of its API server in "default", and usually others, such as
// those of its DNS.
func (in Input) partialCluster() bool {
	switch {
	case in.HNSRecorded.Sub(in.Now) >= time.Minute:
		return true
	case in.Cluster.Whole:
		return false
	}
	namespaces := sets.New[string]()
	for _, slice := range in.Cluster.Slices {
		namespaces.Insert(slice.Namespace)
	}
	return len(namespaces) == 1 || len(namespaces) > 1 && !namespaces.Has("default")
}
