// SPDX-License-Identifier: Apache-2.0

package report_test

import (
	"net/netip"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

func words(change func(*config.Config)) report.Words {
	c := config.Default()
	change(&c)
	return report.Words{
		Node: "win-1", Config: c, KubeProxy: func() kubeproxy.Profile { return kubeproxy.ProfileOf("v1.32.3") },
	}
}

// Invariant 16: an Event has room for 1024 characters.
func TestEventsSayWhatTheReportSays(t *testing.T) {
	const most = 1024
	g := NewWithT(t)
	observing := words(func(c *config.Config) { c.Mode = config.Observe })
	for _, kind := range verdict.Kinds() {
		for _, reason := range everyReason(g) {
			v := conflict()
			v.Kind, v.Reason = kind, reason
			g.Expect(len(observing.Endpoint(v))).To(BeNumerically("<", most), "%s, %s", kind, reason)
		}
	}
	said := observing.Endpoint(conflict())
	g.Expect(said).To(HavePrefix("Remote HNS endpoint id-1, 10.240.0.11, on node win-1: A running pod on this node has"))
	g.Expect(said).To(ContainSubstring("it only observes (mode: observe)"))

	n := newNode()
	n.victims = victims()
	n.Complete(passOf(conflict()), start())
	enforcing := words(func(*config.Config) {})
	found := n.Report().Findings
	g.Expect(found).To(HaveLen(2))
	g.Expect(enforcing.Pod(victims()[0], false)).To(SatisfyAll(
		HavePrefix("10.240.0.12 on node win-1: "), ContainSubstring(found[0].Because), ContainSubstring(found[0].Next)))
	g.Expect(enforcing.Pod(victims()[0], true)).To(ContainSubstring("drain the node"))
	g.Expect(enforcing.Endpoint(conflict())).To(SatisfyAll(
		ContainSubstring(found[1].Because), ContainSubstring(found[1].Next)))
	missing := verdict.Balancer{
		Kind: verdict.BalancerMissing, Frontend: verdict.Frontend{VIP: netip.MustParseAddr("10.0.0.7"), Protocol: 6, Port: 80},
	}
	g.Expect(enforcing.Balancer(missing)).To(And(
		ContainSubstring("no load balancer for 10.0.0.7:80/TCP"), HaveSuffix("it creates all load balancers again.")))
	g.Expect(enforcing.Shared(netip.MustParseAddr("10.240.0.12"), []hns.EndpointID{"a", "b"})).To(HavePrefix("The endpoints a, b all have the address 10.240.0.12"))
}

func TestAHostileReportIsRefused(t *testing.T) {
	g := NewWithT(t)
	many := func(n int, element string) []byte {
		return []byte(`{"endpoints":[` + strings.Repeat(element+",", n-1) + element + "]}")
	}
	_, err := report.Parse(many(5<<20, "{}")) // 2 GB when it is decoded
	g.Expect(err).To(MatchError("reading the agent's report: it has more than 500000 parts"))
	const used = `{"id":"a","addresses":["10.0.0.1"],"network":"n","kind":"remote","owner":"","verdict":"valid","reason":"r",` +
		`"slices":["a/a","a/b","a/c","a/d","a/e"],"loadBalancers":["a","b","c","d","e"]}`
	_, err = report.Parse(many(20_000, used))
	g.Expect(err).To(MatchError(ContainSubstring("want kind")))
}
