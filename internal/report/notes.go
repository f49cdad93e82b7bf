// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// notes say what a reader has to know to understand the rows.
func (in Input) notes(rows []Row) []string {
	notes := in.Cluster.Notes()
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	because := func(reason verdict.Reason) bool {
		return slices.ContainsFunc(rows, func(r Row) bool { return r.Reason == string(reason) })
	}
	if in.nodeOS() == "" {
		add("nothing in the cluster dump shows that %s is a Windows node; record Nodes too, with %s", in.Node, recordCluster)
	}
	if n := len(in.HNS.Incomplete); n > 0 {
		add("the records of %d endpoints are incomplete; record whole endpoints, without Select-Object: "+
			"Get-HnsEndpoint | ConvertTo-Json -Depth 10", n)
	}
	if because(verdict.ReasonLoadBalancersUnknown) {
		add("load balancers were not recorded, and an endpoint that one refers to is no orphan; record them with " +
			"Get-HnsPolicyList | ConvertTo-Json -Depth 10")
	}
	if because(verdict.ReasonServicesUnknown) {
		add("Services were not recorded, and on an overlay network their addresses have endpoints; record them with %s",
			recordCluster)
	}
	if because(verdict.ReasonNoSlices) {
		add("the cluster dump has no EndpointSlice, not even that of the API server; record it again with %s", recordCluster)
	}
	if !in.KubeProxy.Known {
		add("%s", in.unknownVersion())
	}
	if slices.ContainsFunc(rows, func(r Row) bool { return r.Verdict == string(verdict.Orphan) }) {
		add("orphans are due for removal when their address has been unused for %s, which a single scan cannot see",
			in.Config.Orphan.GracePeriod.Duration)
	}
	if in.KubeProxy.StaleRecord && slices.ContainsFunc(rows, Row.removable) {
		add("do not delete these endpoints by hand: this kube-proxy may remember their addresses, and delete the Pods' own " +
			"endpoints then. hnsguard waits until kube-proxy has forgotten the addresses, which a single scan cannot see")
	}
	return notes
}

// unknownVersion says how to find the version of kube-proxy. The Node is a hint and no proof: kubelets before 1.33
// report their own version as that of kube-proxy.
func (in Input) unknownVersion() string {
	note := "the version of kube-proxy is unknown; pass --kube-proxy-version"
	node, found := in.node()
	hint := node.KubeProxyVersion //nolint:staticcheck // deprecated, but kubelets up to 1.32 set it
	if hint == "" {
		hint = node.KubeletVersion
	}
	if found && kubeproxy.ProfileOf(hint).Known {
		note += fmt.Sprintf(" (the kubelet is %s; its kube-proxy often has the same version, but verify it)", hint)
	}
	return note
}
