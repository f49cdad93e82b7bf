// SPDX-License-Identifier: Apache-2.0

package distributions_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// Invariant 1.
func TestTheNetworkIsFoundByItsName(t *testing.T) {
	for _, n := range nodes() {
		t.Run(n.file, func(t *testing.T) {
			g := NewWithT(t)
			networks := n.dump(t).Networks
			for range 2 {
				// HNS guarantees no order, and before the first Service kube-proxy has no endpoint.
				slices.Reverse(networks)
				got, err := inventory.PodNetwork("", networks, nil)
				if n.rests() {
					g.Expect(err).To(MatchError(inventory.ErrNoPodNetwork))
					continue
				}
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(got.Name).To(Equal(n.network))
				g.Expect(got.Type).To(Equal(n.kind), "in whatever case its maker wrote it")
			}
		})
	}
}

// Invariant 1: every CNI allows another name for its network.
func TestTheNetworkIsFoundByItsTypeUnderAnotherName(t *testing.T) {
	for _, n := range nodes() {
		if n.rests() {
			continue
		}
		t.Run(n.file, func(t *testing.T) {
			g := NewWithT(t)
			networks := n.dump(t).Networks
			at := slices.IndexFunc(networks, func(other hns.Network) bool { return other.Name == n.network })
			networks[at].Name = "corp-pods"
			got, err := inventory.PodNetwork("", networks, nil)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(got.Name).To(Equal("corp-pods"))
		})
	}
}

// Invariant 1: a fresh node has only the networks of its scripts, or none.
func TestNoOtherNetworkIsTakenBeforeTheFirstPod(t *testing.T) {
	for _, n := range nodes() {
		t.Run(n.file, func(t *testing.T) {
			networks := slices.DeleteFunc(n.dump(t).Networks, func(other hns.Network) bool { return other.Name == n.network })
			_, err := inventory.PodNetwork("", networks, nil)
			NewWithT(t).Expect(err).To(MatchError(inventory.ErrNoPodNetwork))
		})
	}
}

// Invariant 2.
func TestKubeProxysEndpointsAreTold(t *testing.T) {
	for _, n := range nodes() {
		t.Run(n.file, func(t *testing.T) {
			want := slices.Concat(n.web, n.backend, n.orphan)
			if n.distribution() == "eks" {
				want = append(want, "172.0.32.0")
			}
			var got []string
			for _, e := range n.dump(t).Endpoints {
				if kubeproxy.Owns(e) {
					got = append(got, e.Addresses[0].String())
				}
			}
			NewWithT(t).Expect(got).To(ConsistOf(want))
		})
	}
}

// Invariant 2.
func TestVerdicts(t *testing.T) {
	for _, n := range nodes() {
		t.Run(n.file, func(t *testing.T) {
			g := NewWithT(t)
			in := report.Input{
				Node: windowsNode, Config: config.Default(), KubeProxy: kubeproxy.ProfileOf("v1.34.0"), HNS: n.dump(t),
				Cluster: n.cluster(), Now: time.Date(2026, 3, 1, 3, 0, 0, 0, time.UTC),
			}
			found, err := report.Judge(in)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(found.Wrong()).To(Equal(!n.rests()))
			if g.Expect(found.Network == nil).To(Equal(n.rests())); n.rests() {
				g.Expect(found.Summary).To(ContainSubstring("there is nothing to guard"))
				return
			}
			got := map[string]string{}
			for _, row := range found.Endpoints {
				got[row.Addresses[0].String()+" "+row.Kind] = string(row.Verdict) + ": " + string(row.Reason)
			}
			g.Expect(got).To(Equal(n.verdicts()))
			g.Expect(found.Network.Name).To(Equal(n.network))
			g.Expect(found.Counts[verdict.Conflict]+found.Counts[verdict.Orphan]).To(Equal(len(n.web)+len(n.orphan)), "the duplicates and the orphans, and nothing else")
			for endpoint, said := range got {
				removable := verdict.Kind(strings.Split(said, ":")[0]).Removes()
				_, spared := n.more[endpoint]
				g.Expect(removable && spared).To(BeFalse(), "%s is %s", endpoint, said)
			}
		})
	}
}
