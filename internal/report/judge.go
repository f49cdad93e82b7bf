// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
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

const (
	recordCluster  = "kubectl get nodes,pods,endpointslices,services -A -o json"
	recordNetworks = "\nRecord the networks too, and pass them as another dump: " +
		"Get-HnsNetwork | ConvertTo-Json -Depth 10 > networks.json"
)

// Input is the data by which a node is judged. A live node is read into the same form as a recorded one.
type Input struct {
	// Node is the name of the Windows node.
	Node      string
	Config    config.Config
	KubeProxy kubeproxy.Profile
	HNS       recording.HNS
	Cluster   recording.Cluster
	// Filter selects the endpoints to report. All by default.
	Filter Filter
	// Now is when the cluster was read or recorded.
	Now time.Time
	// HNSRecorded is when HNS was recorded.
	// Default: the same time.
	HNSRecorded time.Time

	// networkGone is set if networks were recorded, but none that pods could be on.
	networkGone bool
}

// Judge returns a report with the verdicts on the endpoints that the filter selects.
func Judge(in Input) (Report, error) {
	if err := errors.Join(in.validateNode(), in.validate()); err != nil {
		return Report{}, err
	}
	complete, rows := in.split()
	network := hns.Network{}
	if len(complete) > 0 {
		var err error
		network, err = inventory.PodNetwork(in.Config.Network, in.HNS.Networks, complete)
		in.networkGone = errors.Is(err, inventory.ErrNoPodNetwork) && in.networksRecorded()
		if err != nil && !in.networkGone {
			return Report{}, in.noNetwork(err)
		}
		rows = append(rows, in.decide(network, complete)...)
	}
	slices.SortFunc(rows, Endpoint.Compare)
	return in.report(network, rows), nil
}

// noNetwork returns the error of a missing network. If networks were not recorded, it says how to record them: an
// endpoint shows only the ID of its network.
func (in Input) noNetwork(err error) error {
	if in.networksRecorded() {
		return fmt.Errorf("%w: %w", ErrCannotJudge, err)
	}
	return fmt.Errorf("%w: %w%s", ErrCannotJudge, err, recordNetworks)
}

// networksRecorded reports whether networks were recorded, beyond the IDs in V2 endpoints.
func (in Input) networksRecorded() bool {
	return slices.ContainsFunc(in.HNS.Networks, func(n hns.Network) bool { return n.Type != "" })
}

// mostNodes is the maximum number of nodes that an error names.
const mostNodes = 10

// validateNode rejects a node that is known not to run Windows, or that the cluster does not have (invariant 5).
func (in Input) validateNode() error {
	windows := ""
	var names []string
	for _, node := range in.Cluster.Nodes {
		if node.Status.NodeInfo.OperatingSystem == "windows" {
			names = append(names, node.Name)
			windows = "; the recorded Windows nodes are " + enumerate(names, mostNodes)
		}
	}
	pods := sets.New[string]()
	for _, pod := range in.Cluster.Pods {
		pods.Insert(pod.Spec.NodeName)
	}
	pods.Delete("")
	node, found := in.node(in.Node)
	switch system := node.OperatingSystem; {
	case system != "" && system != "windows":
		return fmt.Errorf("node %q runs %s, and only Windows nodes have HNS%s", in.Node, system, windows)
	case in.Cluster.NodesRecorded && !found:
		return fmt.Errorf("there is no Node %q%s", in.Node, windows)
	case !found && len(pods) > 0 && !pods.Has(in.Node):
		return fmt.Errorf("there is no Pod on node %q; there are Pods on %s", in.Node, enumerate(sets.List(pods), mostNodes))
	default:
		return nil
	}
}

// node returns the system information of a recorded Node.
func (in Input) node(name string) (corev1.NodeSystemInfo, bool) {
	i := slices.IndexFunc(in.Cluster.Nodes, func(n *corev1.Node) bool { return n.Name == name })
	if i < 0 {
		return corev1.NodeSystemInfo{}, false
	}
	return in.Cluster.Nodes[i].Status.NodeInfo, true
}

// validate rejects input that lacks what every verdict depends on (invariant 2), and a filter with unknown names.
func (in Input) validate() error {
	var errs []error
	if !in.HNS.EndpointsRecorded {
		errs = append(errs, fmt.Errorf("%w: the HNS dump has no endpoints; record them with "+
			"Get-HnsEndpoint | ConvertTo-Json -Depth 10 > endpoints.json; if HNS has none, pass the empty file and the networks",
			ErrCannotJudge))
	}
	if !in.Cluster.PodsRecorded || !in.Cluster.SlicesRecorded {
		errs = append(errs, fmt.Errorf("%w: the cluster dump has no Pods or no EndpointSlices; record them with %s",
			ErrCannotJudge, recordCluster))
	}
	for _, name := range in.Filter.Pods {
		if podIn(in.Cluster, name) || in.Filter.OrServices && serviceIn(in.Cluster, name) {
			continue
		}
		what := "Pod"
		if in.Filter.OrServices {
			what = "Pod or Service"
		}
		errs = append(errs, fmt.Errorf("there is no %s %s in the cluster dump", what, name))
	}
	return errors.Join(errs...)
}

// split returns the endpoints that can be judged, and the report on those that cannot (invariant 2).
func (in Input) split() (complete []verdict.Endpoint, unknown []Endpoint) {
	var obscured []hns.Endpoint // local endpoints, or endpoints of unknown kind
	for _, e := range in.HNS.Endpoints {
		if in.HNS.Incomplete[e.ID] != "" && !e.Remote() {
			obscured = append(obscured, e)
		}
	}
	for _, e := range in.HNS.Endpoints {
		if missing := in.HNS.Incomplete[e.ID]; missing != "" {
			unknown = append(unknown, unknownEndpoint(e, "not recorded: "+missing))
			continue
		}
		i := slices.IndexFunc(obscured, func(o hns.Endpoint) bool { return mayHave(o, e.Addresses) })
		if e.Remote() && i >= 0 {
			unknown = append(unknown, unknownEndpoint(e, fmt.Sprintf("endpoint %s may have the address", obscured[i].ID)))
			continue
		}
		complete = append(complete, verdict.Endpoint{Endpoint: e})
	}
	return complete, unknown
}

// mayHave reports whether an incompletely recorded endpoint may have one of the addresses.
func mayHave(e hns.Endpoint, addresses []netip.Addr) bool {
	return len(e.Addresses) == 0 || slices.ContainsFunc(addresses, e.Has)
}

// decide judges the endpoints. A verdict that depends on an unknown version of kube-proxy is unknown too.
func (in Input) decide(network hns.Network, endpoints []verdict.Endpoint) []Endpoint {
	evidence := in.evidence(network, endpoints)
	verdicts := verdict.Decide(evidence)
	evidence.KubeProxy = kubeproxy.Profile{}
	sound := verdict.Decide(evidence)
	rows := make([]Endpoint, len(verdicts))
	for i, v := range verdicts {
		if rows[i] = EndpointOf(v); !in.KubeProxy.Known && v.Kind != sound[i].Kind {
			rows[i].Verdict = KindUnknown
			rows[i].Reason = verdict.Reason(fmt.Sprintf("%s or %s, by the version of kube-proxy", v.Kind, sound[i].Kind))
		}
	}
	return rows
}

// evidence returns the evidence that the guard would have after gathering everything that takes time (invariant 3).
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
		Record:         verdict.Record{KnownIPv4: true, KnownIPv6: true},
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
	if in.Cluster.ServicesRecorded {
		index.ReplaceServices(nil)
	}
	for _, service := range in.Cluster.Services {
		index.SetService(service)
	}
	view := index.View(addresses)
	if in.partialCluster() {
		view.Slices = 0 // a slice that was not recorded may list an address
	}
	return view
}

// report builds the report on what the filter selects.
func (in Input) report(network hns.Network, all []Endpoint) Report {
	in.Filter = in.Filter.withAddresses(in.HNS.Endpoints)
	r := newReport(in.Node, in.Now, in.Config, in.KubeProxy)
	r.Network = networkOf(network)
	r.count(all)
	balancers, unjudged := in.judgeBalancers(network, all)
	slices.SortStableFunc(balancers, func(a, b Balancer) int { return a.Verdict.Compare(b.Verdict) })
	for _, b := range balancers {
		r.LoadBalancerCounts[b.Verdict]++
	}
	r.LoadBalancers = in.selectBalancers(balancers)
	var note string
	r.Pods, note = in.pods()
	for _, e := range all {
		if in.Filter.selects(e, r.Pods) {
			r.Endpoints = append(r.Endpoints, e)
		}
	}
	r.Omitted, r.Answers = len(all)-len(r.Endpoints), r.answersTo(r.Endpoints)
	r.find(in.networkGone && slices.ContainsFunc(r.Pods, Pod.lacks))
	r.Summary = r.summarize(in.networkGone)
	r.Notes = in.notes(r)
	for _, note := range append(in.balancerNotes(balancers, r.LoadBalancers), note, unjudged) {
		if note != "" {
			r.Notes = append(r.Notes, note)
		}
	}
	return r
}

// notes returns what the reader must know to understand the report.
func (in Input) notes(r Report) []string {
	rows, notes := r.Endpoints, in.Cluster.Notes()
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if node, _ := in.node(in.Node); node.OperatingSystem == "" {
		add("nothing in the cluster dump shows that %s is a Windows node; record Nodes too, with %s", in.Node, recordCluster)
	}
	if n := len(in.HNS.Incomplete); n > 0 {
		add("the records of %d endpoints are incomplete; record whole endpoints, without Select-Object: "+
			"Get-HnsEndpoint | ConvertTo-Json -Depth 10", n)
	}
	if unknown := r.unknownPods(); len(unknown) > 0 {
		add("%s of this node cannot be judged: %s. Record all endpoints, at the same moment as the cluster: "+
			"Get-HnsEndpoint | ConvertTo-Json -Depth 10", plural(len(unknown), "pod~"), unknown[0].Why)
	}
	said := sets.New[verdict.Reason]()
	for _, row := range rows {
		if answer, known := answers()[row.Reason]; known && row.undecided() && !said.Has(row.Reason) {
			said.Insert(row.Reason)
			add("%s: %s %s", row.Reason, answer.Because, strings.TrimSuffix(answer.Do, "."))
		}
	}
	if !in.KubeProxy.Known {
		add("%s", in.unknownVersion())
	}
	if slices.ContainsFunc(rows, func(e Endpoint) bool { return e.Verdict == verdict.Orphan }) {
		add("orphans are due for removal when their address has been unused for %s, which a single scan cannot see",
			in.Config.Orphan.GracePeriod.Duration)
	}
	if in.KubeProxy.StaleRecord && slices.ContainsFunc(rows, Endpoint.removable) {
		add("do not delete these endpoints by hand: this kube-proxy may remember their addresses, and delete the Pods' own " +
			"endpoints then. hnsguard waits until kube-proxy has forgotten the addresses, which a single scan cannot see")
	}
	return notes
}

// unknownVersion says how to find the version of kube-proxy. The Node's status is only a hint: kubelets before 1.33
// report their own version as that of kube-proxy.
func (in Input) unknownVersion() string {
	note := "the version of kube-proxy is unknown; pass --kube-proxy-version"
	node, _ := in.node(in.Node)
	hint := cmp.Or(node.KubeProxyVersion, node.KubeletVersion) //nolint:staticcheck // kubelets up to 1.32 set it
	if kubeproxy.ProfileOf(hint).Known {
		note += fmt.Sprintf(" (the kubelet is %s; its kube-proxy often has the same version, but verify it)", hint)
	}
	return note
}
