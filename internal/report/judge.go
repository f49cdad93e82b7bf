// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// ErrCannotJudge says that the input does not suffice to judge any endpoint.
var ErrCannotJudge = errors.New("cannot judge")

const recordCluster = "kubectl get nodes,pods,endpointslices,services -A -o json"

// Input is what a node is judged by. A live node is read into the same form as a recorded one.
type Input struct {
	// Node is the name of the Windows node.
	Node      string
	Config    config.Config
	KubeProxy kubeproxy.Profile
	HNS       recording.HNS
	Cluster   recording.Cluster
	// Filter selects the endpoints to report. Without it all are.
	Filter Filter
	Now    time.Time
}

// Judge gives every endpoint its verdict and reports those that the filter selects.
func Judge(in Input) (Report, error) {
	if err := in.validate(); err != nil {
		return Report{}, err
	}
	complete, rows := in.split()
	network := hns.Network{}
	if len(complete) > 0 {
		var err error
		if network, err = inventory.PodNetwork(in.Config.Network, in.HNS.Networks, complete); err != nil {
			return Report{}, fmt.Errorf("%w: %w%s", ErrCannotJudge, err, in.recordNetworks())
		}
		rows = append(rows, in.decide(network, complete)...)
	}
	return in.report(network, rows), nil
}

// recordNetworks says how the networks are recorded, if they were not: endpoints show no more of them than their IDs.
func (in Input) recordNetworks() string {
	if slices.ContainsFunc(in.HNS.Networks, func(n hns.Network) bool { return n.Type != "" }) {
		return ""
	}
	return "\nRecord the networks too, and pass them as another dump: " +
		"Get-HnsNetwork | ConvertTo-Json -Depth 10 > networks.json"
}

// validate refuses a node without HNS (invariant 5), input that lacks what every verdict depends on (invariant 2),
// and a filter that names what is unknown.
func (in Input) validate() error {
	if err := in.validateNode(); err != nil {
		return err
	}
	var errs []error
	if !in.HNS.EndpointsRecorded {
		errs = append(errs, fmt.Errorf("%w: the HNS dump has no endpoints; record them with "+
			"Get-HnsEndpoint | ConvertTo-Json -Depth 10", ErrCannotJudge))
	}
	if !in.Cluster.PodsRecorded || !in.Cluster.SlicesRecorded {
		errs = append(errs, fmt.Errorf("%w: the cluster dump has no Pods or no EndpointSlices; record them with %s",
			ErrCannotJudge, recordCluster))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return in.Filter.validate(in.Cluster)
}

// split returns the endpoints that can be judged, and the rows of those that cannot (invariant 2).
func (in Input) split() (complete []verdict.Endpoint, unknown []Row) {
	var obscured []hns.Endpoint // local endpoints, or endpoints of unknown kind
	for _, e := range in.HNS.Endpoints {
		if in.HNS.Incomplete[e.ID] != "" && !e.Remote() {
			obscured = append(obscured, e)
		}
	}
	for _, e := range in.HNS.Endpoints {
		if missing := in.HNS.Incomplete[e.ID]; missing != "" {
			unknown = append(unknown, unknownRow(e, "not recorded: "+missing))
			continue
		}
		if i := slices.IndexFunc(obscured, func(o hns.Endpoint) bool { return mayShare(e, o) }); e.Remote() && i >= 0 {
			unknown = append(unknown, unknownRow(e, fmt.Sprintf("endpoint %s may have the address", obscured[i].ID)))
			continue
		}
		complete = append(complete, verdict.Endpoint{Endpoint: e})
	}
	return complete, unknown
}

// mayShare reports whether an incomplete endpoint may have an address of another one.
func mayShare(e, incomplete hns.Endpoint) bool {
	return len(incomplete.Addresses) == 0 || slices.ContainsFunc(incomplete.Addresses, e.Has)
}

// decide judges the endpoints. If the version of kube-proxy is unknown, a verdict that depends on it is too.
func (in Input) decide(network hns.Network, endpoints []verdict.Endpoint) []Row {
	evidence := in.evidence(network, endpoints)
	verdicts := verdict.Decide(evidence)
	evidence.KubeProxy = kubeproxy.Profile{}
	sound := verdict.Decide(evidence)
	rows := make([]Row, len(verdicts))
	for i, v := range verdicts {
		if rows[i] = RowOf(v); !in.KubeProxy.Known && v.Kind != sound[i].Kind {
			rows[i].Verdict = string(KindUnknown)
			rows[i].Reason = fmt.Sprintf("%s or %s, by the version of kube-proxy", v.Kind, sound[i].Kind)
		}
	}
	return rows
}

// evidence is what the guard would decide on, had it gathered all that takes time (invariant 3).
func (in Input) evidence(network hns.Network, endpoints []verdict.Endpoint) verdict.Evidence {
	snapshot := verdict.Snapshot{
		Taken: in.Now, Network: network, Endpoints: endpoints,
		LoadBalancers: in.HNS.LoadBalancers, LoadBalancersKnown: in.HNS.LoadBalancersRecorded, LoadBalancersRead: in.Now,
	}
	addresses := snapshot.Addresses()
	unclaimed := make(map[hns.EndpointID]time.Time, len(endpoints))
	for _, e := range endpoints {
		unclaimed[e.ID] = in.Now.Add(-in.Config.Orphan.GracePeriod.Duration)
	}
	return verdict.Evidence{
		Snapshot: snapshot, Cluster: in.view(addresses), KubeProxy: in.KubeProxy,
		Policy: verdict.Policy{
			Exclusions: in.Config.ExcludedPrefixes(), OrphanGrace: in.Config.Orphan.GracePeriod.Duration,
		},
		Forgotten:      sets.New(addresses...),
		UnclaimedSince: unclaimed, Now: in.Now,
	}
}

func (in Input) view(addresses []netip.Addr) cluster.View {
	index := cluster.NewIndex(in.Node)
	for _, pod := range in.Cluster.Pods {
		index.SetPod(pod)
	}
	for _, slice := range in.Cluster.Slices {
		index.SetSlice(cluster.SliceOf(slice))
	}
	for _, service := range in.Cluster.Services {
		index.SetService(service)
	}
	if in.Cluster.ServicesRecorded {
		index.WatchServices()
	}
	return index.View(addresses)
}
