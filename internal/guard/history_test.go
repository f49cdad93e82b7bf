// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/history"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/verdict"
	"github.com/hnsguard/hnsguard/test/nodetest"
)

func entry(act history.Act, result string, more ...OmegaMatcher) OmegaMatcher {
	return And(HaveField("Act", act), HaveField("Result", result), And(more...))
}

func TestTheHistoryTellsWhyAnEndpointWent(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.Remote("10.240.0.99") // an endpoint in use is not recorded
	n.Slice("svc", "lin-1", "10.240.0.99")
	n.pass()
	g.Expect(n.history.Entries()).To(BeEmpty())

	n.Wait(time.Second)
	remote, _ := n.Conflict("web", ip)
	n.pass()
	n.Wait(time.Second)
	n.pass()
	g.Expect(n.history.Entries()).To(HaveExactElements(
		entry(history.Removal, "removed", HaveField("Endpoint", remote), HaveField("AfterSeconds", 0.0)),
		entry(history.Decision, "", HaveField("Endpoint", remote), HaveField("Verdict", verdict.Conflict),
			HaveField("Reason", verdict.ReasonLivePod), HaveField("Pods", ConsistOf("default/web"))),
	))
}

func TestTheEndOfAConflictIsInTheHistoryToo(t *testing.T) {
	g := NewWithT(t)
	n := newNodeWith(t, nodetest.Options{Config: []func(*config.Config){func(c *config.Config) { c.Mode = config.Observe }}})
	remote, _ := n.Conflict("web", ip)
	n.pass()
	n.PodGone("web")
	n.Slice("svc", "lin-1", ip)
	n.pass()
	g.Expect(n.history.Entries()).To(ConsistOf(
		entry(history.Decision, "", HaveField("Verdict", verdict.Conflict), HaveField("Endpoint", remote)),
		entry(history.Decision, "", HaveField("Verdict", verdict.LeakedLocal), HaveField("Endpoint", remote)),
		entry(history.Decision, "", HaveField("Reason", verdict.ReasonLocalLeaked)),
	))
}

func TestAnOutageOfHNSIsOneEntry(t *testing.T) {
	g := NewWithT(t)
	n := newNode(t)
	n.pass()
	n.HNS.Fail(hns.OpListEndpointIDs, hns.ErrUnavailable)
	for range 10 {
		n.pass()
		n.Wait(5 * time.Second)
	}
	n.HNS.Heal()
	n.pass()
	n.pass()
	g.Expect(n.history.Entries()).To(HaveExactElements(
		entry(history.Pass, history.Complete, HaveField("Count", 1)),
		entry(history.Pass, history.Unknown, HaveField("Count", 10), HaveField("Subject", "unavailable"),
			HaveField("Detail", ContainSubstring("HNS is unavailable"))),
	))
}
