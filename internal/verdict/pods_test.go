// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

func endsAt(moment time.Time) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: moment} }
}

// Only a running pod on this node with its own address can lack its network.
func TestTheStateOfAPod(t *testing.T) {
	attached := hns.Endpoint{Name: "web-eth0", Addresses: []netip.Addr{ip}, Namespace: "ns"}
	of := func(change func(*hns.Endpoint)) []hns.Endpoint {
		e := attached
		change(&e)
		return []hns.Endpoint{e}
	}
	detached := of(func(e *hns.Endpoint) { e.Namespace = "" })
	named := func(name string) []hns.Endpoint { return of(func(e *hns.Endpoint) { e.Name = name }) }
	noNode := func(p *corev1.Pod) { p.Spec.NodeName = "" }
	pending := func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }
	for name, tc := range map[string]struct {
		endpoints []hns.Endpoint
		pod       *corev1.Pod
		want      verdict.PodState
	}{
		"with its endpoint":                     {[]hns.Endpoint{attached}, pod("web"), verdict.PodAttached},
		"on another network":                    {of(func(e *hns.Endpoint) { e.Network = natNet }), pod("web"), verdict.PodAttached},
		"without endpoint":                      {nil, pod("web"), verdict.PodWithoutNetwork},
		"with a remote one":                     {of(func(e *hns.Endpoint) { e.Flags = hns.FlagRemote }), pod("web"), verdict.PodWithoutNetwork},
		"with another address":                  {of(func(e *hns.Endpoint) { e.Addresses = []netip.Addr{netip.IPv6Loopback()} }), pod("web"), verdict.PodWithoutNetwork},
		"with one that is not attached":         {detached, pod("web"), verdict.PodNotAttached},
		"with that beside its own":              {append(detached, attached), pod("web"), verdict.PodAttached},
		"with its own beside that":              {append([]hns.Endpoint{attached}, detached...), pod("web"), verdict.PodAttached},
		"on the source VIP":                     {named("sourcevip"), pod("web"), verdict.PodNotAttached},
		"on the source VIP of flannel":          {named("flannel.4096_sourcevip"), pod("web"), verdict.PodNotAttached},
		"on the source VIP of OpenShift":        {named("VIPEndpoint"), pod("web"), verdict.PodNotAttached},
		"on the source VIP of Calico":           {named("Calico_ep"), pod("web"), verdict.PodNotAttached},
		"on a bridge's address":                 {named("cbr0_ep"), pod("web"), verdict.PodNotAttached},
		"on the address of a bridge of GKE":     {named("cbr0"), pod("web"), verdict.PodNotAttached},
		"pending":                               {nil, pod("web", pending), verdict.PodStarting},
		"without address":                       {nil, pod("web", withoutAddress), verdict.PodStarting},
		"running without address":               {nil, pod("web", func(p *corev1.Pod) { p.Status.PodIPs = nil }), verdict.PodStarting},
		"pending, not attached yet":             {detached, pod("web", pending), verdict.PodStarting},
		"pending, attached":                     {[]hns.Endpoint{attached}, pod("web", pending), verdict.PodAttached},
		"on another node":                       {nil, pod("web", onOtherNode), verdict.PodElsewhere},
		"on another node, with an address here": {[]hns.Endpoint{attached}, pod("web", onOtherNode), verdict.PodElsewhere},
		"unscheduled":                           {nil, pod("web", noNode), verdict.PodUnscheduled},
		"unscheduled, for the host's network":   {nil, pod("web", noNode, hostNetwork), verdict.PodUnscheduled},
		"in the host's network":                 {nil, pod("web", hostNetwork), verdict.PodHostNetwork},
		"in the host's network of another node": {nil, pod("web", hostNetwork, onOtherNode), verdict.PodHostNetwork},
		"HostProcess":                           {nil, pod("web", hostProcess), verdict.PodHostNetwork},
		"succeeded":                             {[]hns.Endpoint{attached}, pod("web", succeeded), verdict.PodEnded},
		"failed":                                {nil, pod("web", failed), verdict.PodEnded},
		"being deleted":                         {nil, pod("web", deleting), verdict.PodDeleting},
		"being deleted, attached":               {[]hns.Endpoint{attached}, pod("web", deleting), verdict.PodAttached},
		"due for less than an hour":             {nil, pod("web", endsAt(now.Add(-time.Hour+1))), verdict.PodDeleting},
		"due for an hour":                       {nil, pod("web", endsAt(now.Add(-time.Hour))), verdict.PodEndingTooLong},
		"due for an hour, attached to nothing":  {detached, pod("web", endsAt(now.Add(-time.Hour))), verdict.PodEndingTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			var s verdict.Snapshot
			for _, e := range tc.endpoints {
				s.Endpoints = append(s.Endpoints, verdict.Endpoint{Endpoint: e})
			}
			state := verdict.LocalsOf(s).StateOf(cluster.PodOf(tc.pod), node, now)
			g.Expect(state).To(Equal(tc.want))
			g.Expect(state.LacksNetwork()).To(Equal(state == verdict.PodNotAttached || state == verdict.PodWithoutNetwork))
		})
	}
}
