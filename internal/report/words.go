// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/eviction"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Words has the sentences of a report on single objects, for the Events on them.
type Words struct {
	// Node is the name of the node, Config its configuration, and KubeProxy returns its current kube-proxy profile.
	Node      string
	Config    config.Config
	KubeProxy func() kubeproxy.Profile
}

func (w Words) report() Report { return newReport(w.Node, time.Time{}, w.Config, w.KubeProxy()) }

// Endpoint describes the verdict on an endpoint.
func (w Words) Endpoint(v verdict.Verdict) string {
	kind := "Local"
	if v.Endpoint.Remote() {
		kind = "Remote"
	}
	name := ""
	if v.Endpoint.Name != "" {
		name = fmt.Sprintf(" (%s)", v.Endpoint.Name)
	}
	if !v.Since.IsZero() {
		name += ", seen since " + v.Since.UTC().Format(time.RFC3339)
	}
	said := fmt.Sprintf("%s HNS endpoint %s%s, %s, on node %s: %s", kind, v.Endpoint.ID, name, v.Address(), w.Node,
		w.report().answerTo(EndpointOf(v)).sentences())
	if len(v.Elsewhere) > 0 {
		said += fmt.Sprintf(" Pod %s on node %s has the address too.", v.Elsewhere[0].Pod, v.Elsewhere[0].Node)
	}
	return said
}

// Shared says which local endpoints share an address.
func (Words) Shared(addr netip.Addr, endpoints []hns.EndpointID) string {
	return duplicate{Address: addr, Endpoints: endpoints}.answer().sentences()
}

// Pod describes the problem of a pod. networkGone is set if HNS has no pod network.
func (w Words) Pod(v eviction.Victim, networkGone bool) string {
	said := w.report().answerToPods(v.State, networkGone).ofPod(podOf(v)).sentences()
	if len(v.Pod.Addresses) > 0 {
		said = fmt.Sprintf("%s on node %s: %s", v.Pod.Addresses[0], w.Node, said)
	}
	return said
}

// Balancer describes the problem of a load balancer.
func (w Words) Balancer(v verdict.Balancer) string {
	b := BalancerOf(v)
	return fmt.Sprintf("On node %s: %s", w.Node, b.answer(w.report().Modes["reprogram"]).ofBalancer(b).sentences())
}

// sentences returns the answer as text.
func (a Answer) sentences() string {
	said := a.Because + " " + a.Next
	if a.Do != "" {
		said += " " + strings.TrimSuffix(a.Do, ".") + "."
	}
	return said
}
