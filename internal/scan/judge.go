// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/clusterdump"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/hnsdump"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Input is what there is to judge by. A live node is handed in as the recording of this moment.
type Input struct {
	// Node is the name of the Windows node.
	Node      string
	Config    config.Config
	KubeProxy kubeproxy.Profile
	HNS       hnsdump.Dump
	Cluster   clusterdump.Dump
	Now       time.Time
}

// Judge gives every endpoint its verdict.
func Judge(in Input) (Report, error) {
	if err := in.validate(); err != nil {
		return Report{}, err
	}
	known, unknown := in.split()
	if len(known) == 0 {
		return in.report(hns.Network{}, nil, unknown), nil
	}
	network, err := inventory.PodNetwork(in.Config.Network, in.HNS.Networks, known)
	if err != nil {
		return Report{}, err
	}
	snapshot := inventory.Snapshot{
		Taken: in.Now, Network: network, Endpoints: known,
		LoadBalancers: in.HNS.LoadBalancers, LoadBalancersKnown: in.HNS.LoadBalancersRecorded,
		LoadBalancersRead: in.Now,
	}
	long := make(map[hns.EndpointID]time.Time, len(known))
	for _, e := range known {
		long[e.ID] = in.Now.Add(-in.Config.Orphan.GracePeriod.Duration) // invariant 3
	}
	verdicts := verdict.Decide(verdict.Evidence{
		Snapshot: snapshot, Cluster: in.view(snapshot.Addresses()), KubeProxy: in.KubeProxy,
		Policy: verdict.Policy{
			Exclusions: in.Config.ExcludedPrefixes(), OrphanGrace: in.Config.Orphan.GracePeriod.Duration,
		},
		UnclaimedSince: long, Now: in.Now,
		Forgotten: sets.New(snapshot.Addresses()...), // invariant 4
	})
	return in.report(network, verdicts, unknown), nil
}

// validate refuses input that leaves something out on which everything depends (invariant 2).
func (in Input) validate() error {
	var errs []error
	if !in.HNS.EndpointsRecorded {
		errs = append(errs, errors.New("nothing that was recorded of HNS says anything about endpoints"))
	}
	if !in.Cluster.PodsRecorded || !in.Cluster.SlicesRecorded {
		errs = append(errs, errors.New("what was recorded of the cluster has no pods or no EndpointSlices; record it with "+
			"kubectl get pods,endpointslices,services -A -o json"))
	}
	if nodes := in.nodes(); len(nodes) > 0 && !nodes.Has(in.Node) {
		errs = append(errs, fmt.Errorf("no pod is on node %q; there are pods on %s",
			in.Node, strings.Join(sets.List(nodes), ", ")))
	}
	return errors.Join(errs...)
}

func (in Input) nodes() sets.Set[string] {
	nodes := sets.New[string]()
	for _, pod := range in.Cluster.Pods {
		if pod.Spec.NodeName != "" {
			nodes.Insert(pod.Spec.NodeName)
		}
	}
	return nodes
}

// split tells the endpoints that can be judged from those of which too little was recorded.
func (in Input) split() (known []inventory.Endpoint, unknown []hns.Endpoint) {
	for _, e := range in.HNS.Endpoints {
		if in.HNS.Incomplete[e.ID] != "" {
			unknown = append(unknown, e)
			continue
		}
		known = append(known, inventory.Endpoint{Endpoint: e})
	}
	return known, unknown
}

func (in Input) view(addresses []netip.Addr) cluster.View {
	index := cluster.NewIndex(in.Node)
	for _, pod := range in.Cluster.Pods {
		index.SetPod(pod)
	}
	for _, slice := range in.Cluster.Slices {
		index.SetSlice(slice)
	}
	for _, service := range in.Cluster.Services {
		index.SetService(service)
	}
	if in.Cluster.ServicesRecorded {
		index.WatchServices()
	}
	return index.View(addresses)
}

func (in Input) report(network hns.Network, verdicts []verdict.Verdict, unknown []hns.Endpoint) Report {
	r := Report{
		Node: in.Node, Network: network.Name, KubeProxy: in.KubeProxy.Version, KubeProxyKnown: in.KubeProxy.Known,
		KubeProxyFaults: in.KubeProxy.Faults(),
		Mode:            string(in.Config.Mode), Notes: in.notes(verdicts, unknown),
	}
	for _, v := range verdicts {
		r.Endpoints = append(r.Endpoints, rowOf(v))
		if v.Kind.Removes() {
			r.Removable++
		}
	}
	for _, e := range unknown {
		r.Endpoints = append(r.Endpoints, unknownRow(e, in.HNS.Incomplete[e.ID]))
	}
	slices.SortStableFunc(r.Endpoints, func(a, b Row) int {
		return cmp.Or(cmp.Compare(urgency(a.Verdict), urgency(b.Verdict)), compareAddresses(a, b), cmp.Compare(a.ID, b.ID))
	})
	return r
}

// notes say what the reader has to know to understand the verdicts.
func (in Input) notes(verdicts []verdict.Verdict, unknown []hns.Endpoint) []string {
	notes := in.Cluster.Notes()
	if len(unknown) > 0 {
		notes = append(notes, fmt.Sprintf("%d endpoints cannot be judged, because the recording does not tell enough of "+
			"them; record them with Get-HnsEndpoint | ConvertTo-Json -Depth 20", len(unknown)))
	}
	if !in.HNS.LoadBalancersRecorded {
		notes = append(notes, "load balancers were not recorded, so that nothing can be called an orphan; "+
			"record them with Get-HnsPolicyList | ConvertTo-Json -Depth 20")
	}
	if in.KubeProxy.StaleRecord && slices.ContainsFunc(verdicts, func(v verdict.Verdict) bool { return v.Kind.Removes() }) {
		notes = append(notes, "this kube-proxy may remember the addresses: do not delete the endpoints by hand. hnsguard holds "+
			"them until kube-proxy is known to have forgotten them, because it may delete the pods' own endpoints otherwise")
	}
	if !in.KubeProxy.Known {
		notes = append(notes, "kube-proxy's version is unknown, so that it is taken to have every known fault; "+
			"give it with --kube-proxy-version")
	}
	if slices.ContainsFunc(verdicts, verdict.Verdict.Unclaimed) {
		notes = append(notes, fmt.Sprintf("orphans are removed when nobody has used their address for %s; "+
			"a single look cannot tell since when nobody has", in.Config.Orphan.GracePeriod.Duration))
	}
	return notes
}

// urgency puts first what somebody should look at.
func urgency(kind string) int {
	order := []verdict.Kind{
		verdict.Conflict, verdict.EarlyConflict, verdict.Orphan, verdict.Held, verdict.Contested, verdict.LeakedLocal,
		verdict.OrphanPending, KindUnknown, verdict.Protected, verdict.Foreign, verdict.InUse, verdict.Local,
	}
	return slices.Index(order, verdict.Kind(kind))
}

func compareAddresses(a, b Row) int {
	first := func(r Row) netip.Addr {
		if len(r.Addresses) == 0 {
			return netip.Addr{}
		}
		return r.Addresses[0]
	}
	return first(a).Compare(first(b))
}
