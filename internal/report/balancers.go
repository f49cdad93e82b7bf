// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Balancer is an HNS load balancer, or one that is missing.
type Balancer struct {
	Verdict verdict.BalancerKind `json:"verdict"`
	// ID is empty if the load balancer is missing.
	ID hns.LoadBalancerID `json:"id,omitempty"`
	// Frontend is, for example, "10.0.0.7:80/TCP" or "node port 30080/TCP". VIP is its address, if any.
	Frontend string     `json:"frontend"`
	VIP      netip.Addr `json:"vip,omitzero"`
	Service  string     `json:"service,omitempty"`
	// Gone are the backends that HNS no longer has, Dead the addresses that kube-proxy no longer uses, and Lacking the
	// addresses that are missing among the backends.
	Gone    []hns.EndpointID `json:"gone,omitempty"`
	Dead    []netip.Addr     `json:"dead,omitempty"`
	Lacking []netip.Addr     `json:"lacking,omitempty"`
	// BesideLeak is set if a local endpoint that was left behind has an address of the Service.
	BesideLeak bool `json:"besideLeakedLocal,omitempty"`
	// Answer explains the verdict. It is set only in explanations.
	*Answer
}

// BalancerOf returns the report on a verdict.
func BalancerOf(v verdict.Balancer) Balancer {
	b := Balancer{
		Verdict: v.Kind, ID: v.ID, Frontend: v.Frontend.String(), Gone: v.Gone, Dead: v.Dead, Lacking: v.Lacking,
		BesideLeak: v.BesideLeak,
	}
	if !v.Frontend.VIP.IsUnspecified() {
		b.VIP = v.Frontend.VIP
	}
	if v.Service != (types.NamespacedName{}) {
		b.Service = v.Service.String()
	}
	return b
}

// judgeBalancers returns the verdict on every load balancer, and a note if not all can be judged.
func (in Input) judgeBalancers(network hns.Network, rows []Endpoint) (all []Balancer, note string) {
	if !in.HNS.LoadBalancersRecorded {
		return nil, "load balancers cannot be judged: they were not recorded; record them with " +
			"Get-HnsPolicyList | ConvertTo-Json -Depth 10 > policies.json"
	}
	evidence := verdict.BalancerEvidence{
		Node: in.Node, Leaked: sets.New[hns.EndpointID](), Obscured: sets.KeySet(in.HNS.Incomplete),
		KubeProxy: in.KubeProxy.Known, Processed: math.MaxUint64,
		Snapshot: verdict.Snapshot{Network: network, LoadBalancers: in.HNS.LoadBalancers, LoadBalancersKnown: true},
	}
	for _, e := range in.HNS.Endpoints {
		evidence.Snapshot.Endpoints = append(evidence.Snapshot.Endpoints, verdict.Endpoint{Endpoint: e})
	}
	for _, row := range rows {
		if row.Reason == verdict.ReasonLocalLeaked {
			evidence.Leaked.Insert(row.ID)
		}
	}
	if evidence.ServicesKnown = in.wholeCluster(); !evidence.ServicesKnown {
		note = "which load balancers are missing or stale cannot be judged: not all Services and EndpointSlices were " +
			"recorded; record them with " + recordCluster
	}
	index := cluster.NewIndex(in.Node)
	for _, slice := range in.Cluster.Slices {
		index.SetSlice(cluster.SliceOf(slice))
	}
	index.ReplaceServices(in.Cluster.Services)
	evidence.Backings = index.Backings()
	for _, v := range verdict.JudgeBalancers(evidence) {
		all = append(all, BalancerOf(v))
	}
	return all, note
}

// wholeCluster reports whether the recording seems to have the Services and slices of all namespaces: every cluster has
// those of its own API.
func (in Input) wholeCluster() bool {
	return serviceIn(in.Cluster, types.NamespacedName{Namespace: corev1.NamespaceDefault, Name: "kubernetes"}) &&
		slices.ContainsFunc(in.Cluster.Slices, func(s *discoveryv1.EndpointSlice) bool {
			return s.Namespace == corev1.NamespaceDefault && s.Name == "kubernetes"
		})
}

func serviceIn(dump recording.Cluster, name types.NamespacedName) bool {
	return slices.ContainsFunc(dump.Services, func(s *corev1.Service) bool {
		return s.Namespace == name.Namespace && s.Name == name.Name
	})
}

// balancerNotes returns the notes on load balancers.
func (in Input) balancerNotes(all []Balancer, shown []Balancer) (notes []string) {
	broken := func(b Balancer) bool { return b.Verdict.Broken() }
	unprocessed := func(b Balancer) bool {
		return b.Verdict == verdict.BalancerMissing || b.Verdict == verdict.BalancerStale
	}
	if slices.ContainsFunc(shown, unprocessed) {
		notes = append(notes, "kube-proxy programs a Service within seconds of its last change, which a single scan cannot "+
			"see: look again before you act on a load balancer that is missing or stale")
	}
	if n := len(slices.DeleteFunc(slices.Clone(all), func(b Balancer) bool { return !broken(b) })); n > 0 &&
		in.Filter.explains() && !slices.ContainsFunc(shown, broken) {
		notes = append(notes, "this node has "+plural(n, "broken load balancer~")+", which 'hnsguard scan' names")
	}
	return notes
}

// selectBalancers returns the broken load balancers, or all those of the target of an explanation.
func (in Input) selectBalancers(all []Balancer) []Balancer {
	selected := []Balancer{}
	for _, b := range all {
		if in.Filter.selectsBalancer(b) {
			selected = append(selected, b)
		}
	}
	return selected
}

// selectsBalancer reports whether the filter selects a load balancer: by its Service, its address, or the address of a
// dead or lacking backend.
func (f Filter) selectsBalancer(b Balancer) bool {
	named := func(name types.NamespacedName) bool { return name.String() == b.Service }
	switch {
	case len(f.Verdicts) > 0:
		return false
	case len(f.Pods) > 0 && slices.ContainsFunc(f.Pods, named), slices.Contains(f.Addresses, b.VIP):
		return true
	case len(f.Addresses) > 0:
		return intersect(f.Addresses, b.Dead) || intersect(f.Addresses, b.Lacking)
	default:
		return f.Endpoint == "" && len(f.Pods) == 0 && b.Verdict.Broken()
	}
}

// key and title identify the finding about such load balancers, and target is the argument that explains this one.
func (b Balancer) key() findingKey {
	return findingKey{FindingLoadBalancer, string(b.Verdict), fmt.Sprint(b.BesideLeak)}
}

func (b Balancer) title() string {
	if b.Verdict == verdict.BalancerOnLeakedLocal {
		return "load balancer~ on a leaked local endpoint"
	}
	return "load balancer~ " + string(b.Verdict)
}

func (b Balancer) target() string { return cmp.Or(b.Service, b.Frontend) }

// problem says what is wrong with the load balancer; empty if nothing is.
func (b Balancer) problem() string {
	switch b.Verdict {
	case verdict.BalancerDangling:
		return "A load balancer names endpoints that HNS does not have any more: connections to it are lost."
	case verdict.BalancerMissing:
		return "The Service has endpoints that kube-proxy on this node has to use, and HNS has no load balancer for this " +
			"address and port: connections to it are lost."
	case verdict.BalancerStale:
		return "A load balancer sends to addresses that no EndpointSlice of the Service lists as ready, or does not send " +
			"to ready ones."
	case verdict.BalancerOnLeakedLocal:
		return "A load balancer sends to a local endpoint that was left behind, and another node has its address: " +
			"connections are lost."
	case verdict.BalancerUnknown, verdict.BalancerForeign, verdict.BalancerRight:
	}
	return ""
}

// answer returns the meaning of the verdict in a mode of reprogramming.
func (b Balancer) answer(reprogram config.Mode) Answer {
	const restart = "Restart kube-proxy on this node: it creates all load balancers again."
	a := Answer{Because: b.problem(), Next: nothing}
	switch {
	case b.Verdict == verdict.BalancerUnknown:
		a.Because = "What its backends have to be is not known for certain."
	case b.Verdict == verdict.BalancerForeign:
		a.Because = "No Service that kube-proxy programs has this address and port."
	case b.Verdict == verdict.BalancerRight:
		a.Because = "Its backends are those that kube-proxy has to use."
	case b.BesideLeak || b.Verdict == verdict.BalancerOnLeakedLocal:
		a.Next = "hnsguard reports it. To program the Service again does not help while the local endpoint is there."
		a.Do = "Follow " + version.RunbookURL("HNSGuardLeakedLocalEndpoints")
	case reprogram == config.Enforce:
		a.Next = "hnsguard makes kube-proxy program the Service again, unless that would not help."
		a.Do = "If that does not help: " + restart
	default:
		a.Next = "hnsguard reports it. It makes kube-proxy program the Service again where reprogram.mode is enforce."
		a.Do = restart
	}
	return a
}

// ofBalancer inserts the names of the load balancer.
func (a Answer) ofBalancer(b Balancer) Answer {
	name := "The load balancer for " + b.Frontend
	if b.Service != "" {
		name += " of Service " + b.Service
	}
	a.Because = strings.NewReplacer("A load balancer", name, "The Service", "Service "+b.Service,
		"this address and port", b.Frontend).Replace(a.Because)
	return a
}
