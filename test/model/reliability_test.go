// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/world"
)

var update = flag.Bool("update", false, "write docs/results/reliability.md anew")

const reliabilityPage = "../../docs/results/reliability.md"

// trouble is a fault that lasts for some minutes.
type trouble struct {
	what  string
	setup func(s *world.Setup)
	begin func(w *world.World)
}

// troubleLasts is the duration of each trouble.
const troubleLasts = 5 * time.Minute

func troubles() []trouble {
	fault := func(verb world.Verb, n ...int) func(w *world.World) {
		a := world.Action{Verb: verb, For: troubleLasts}
		copy(a.N[:], n)
		return func(w *world.World) { w.Fault(a) }
	}
	call := func(verb world.Verb, op hns.Operation) func(w *world.World) {
		return fault(verb, 0, slices.Index(hns.Operations(), op))
	}
	again := func(every time.Duration, verb world.Verb, lasts time.Duration, n ...int) func(w *world.World) {
		a := world.Action{Verb: verb, For: lasts}
		copy(a.N[:], n)
		return func(w *world.World) {
			for at := time.Duration(0); at < troubleLasts; at += every {
				w.After(at, world.ActorHistory, func() { w.Fault(a) })
			}
		}
	}
	return []trouble{
		{what: "nothing", begin: func(*world.World) {}},
		{what: "HNS is down (0x6b5)", begin: fault(world.HNSDown)},
		{what: "HNS takes a hundred times as long", begin: fault(world.HNSSlow)},
		{what: "listing endpoints fails", begin: call(world.HNSFails, hns.OpListEndpointIDs)},
		{what: "reading endpoints fails", begin: call(world.HNSFails, hns.OpEndpoint)},
		{what: "deleting endpoints fails", begin: call(world.HNSFails, hns.OpDeleteEndpoint)},
		{what: "listing load balancers fails", begin: call(world.HNSFails, hns.OpLoadBalancers)},
		{what: "listing endpoints does not return", begin: call(world.HNSHangs, hns.OpListEndpointIDs)},
		{what: "deleting endpoints does not return", begin: call(world.HNSHangs, hns.OpDeleteEndpoint)},
		{what: "listing load balancers does not return", begin: call(world.HNSHangs, hns.OpLoadBalancers)},
		{what: "the API server refuses connections", begin: fault(world.APIFails, 0, 0)},
		{what: "the API server answers 429", begin: fault(world.APIFails, 0, 1)},
		{what: "the API server does not answer", begin: fault(world.APIFails, 0, 2)},
		{what: "answers of the API server are lost", begin: fault(world.APIFails, 0, 3)},
		{what: "hnsguard's watch of EndpointSlices is cut", begin: fault(world.CutGuard, 0, 0, 0)},
		{what: "it is cut, and lists again", begin: fault(world.CutGuard, 0, 0, 1)},
		{what: "it is cut and lists again every second", begin: again(time.Second, world.CutGuard, 100*time.Millisecond, 0, 0, 1)},
		{what: "hnsguard's watch of pods is cut", begin: fault(world.CutGuard, 0, 1, 0)},
		{what: "all watches are 10 s late", setup: func(s *world.Setup) {
			s.GuardLag, s.KubeProxyLag = 10*time.Second, 10*time.Second
		}, begin: func(*world.World) {}},
		{what: "hnsguard is not running", begin: fault(world.Crash)},
		{what: "hnsguard crashes every 10 s", begin: again(10*time.Second, world.Crash, time.Second)},
		{what: "two agents run on the node", setup: func(s *world.Setup) { s.Agents = 2 }, begin: func(*world.World) {}},
		{what: "kube-proxy serves no metrics", begin: fault(world.MetricsDown)},
		{what: "kube-proxy is not running", begin: fault(world.RestartKubeProxy)},
		{what: "kube-proxy restarts every 10 s", begin: again(10*time.Second, world.RestartKubeProxy, time.Second)},
		{what: "kube-proxy's watch is cut for 3 min", begin: func(w *world.World) {
			w.Fault(world.Action{Verb: world.CutKubeProxy, For: 3 * time.Minute})
		}},
		{what: "syncs of kube-proxy take 45 s", setup: func(s *world.Setup) { s.Took = 45 * time.Second }, begin: func(*world.World) {}},
		{what: "the node stands still", begin: fault(world.Freeze)},
	}
}

// outcome is the result of one trouble with one kube-proxy.
type outcome struct {
	violations []world.Violation
	lost       []string
	// right is the time from the trouble until the last stale endpoint is gone; never is set if it stays.
	right time.Duration
	never bool
}

// longest is the maximum time of a trouble's effects: package stalerecord's proof, and an orphan's grace period.
const longest = 25 * time.Minute

var leftover = netip.MustParseAddr("10.240.9.9")

// suffer plays one trouble. The node has a valid remote endpoint, one that an earlier kube-proxy left behind, and, two
// seconds after the trouble begins, one whose address a pod on the node gets.
func suffer(t *testing.T, version string, tr trouble, guarded bool) (o outcome) {
	t.Helper()
	s := setup(version)
	s.Pool, s.OrphanGrace = 2, 5*time.Minute
	if tr.setup != nil {
		tr.setup(&s)
	}
	stage(t, s, world.Play{Guarded: guarded}, func(_ *WithT, w *world.World) {
		old := w.StartPod("old", lin, linux(0))
		w.StartPod("valid", lin, linux(1))
		w.Nodes[0].LeaveRemote(leftover)
		w.Run(2 * time.Minute)
		tr.begin(w)
		w.Run(2 * time.Second)
		w.Replace(old, "web", win, windows())
		w.Run(troubleLasts - 2*time.Second)
		ended, last := w.Elapsed(), w.Elapsed()
		for w.Elapsed()-ended < longest {
			stale := len(w.Nodes[0].Stale()) > 0
			w.Run(time.Second)
			if stale {
				last = w.Elapsed()
			}
		}
		o = outcome{
			violations: w.Violations, lost: w.Lost(), right: last - ended, never: len(w.Nodes[0].Stale()) > 0,
		}
	})
	return o
}

func (o outcome) String() string {
	switch {
	case o.never:
		return "not within " + longest.String()
	case o.right == 0:
		return "before it ended"
	default:
		return o.right.Round(time.Second).String()
	}
}

// lost returns the number of pods that lost their endpoint, with and without hnsguard.
func lost(with, without outcome) string {
	if len(with.lost)+len(without.lost) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d (without: %d)", len(with.lost), len(without.lost))
}

// TestReliability plays every trouble with hnsguard, and compares docs/results/reliability.md with the results.
func TestReliability(t *testing.T) {
	versions := []string{"v1.32.3", "v1.34.0", "v1.37.2"}
	var rows strings.Builder
	for _, tr := range troubles() {
		cells := []string{tr.what}
		for _, version := range versions {
			with, without := suffer(t, version, tr, true), suffer(t, version, tr, false)
			g := NewWithT(t)
			g.Expect(with.violations).To(BeEmpty(), "%s, %s", version, tr.what)
			g.Expect(without.lost).To(ContainElements(with.lost), "%s, %s: a pod is lost that lives without hnsguard", version, tr.what)
			g.Expect(with.never).To(BeFalse(), "%s, %s: a stale endpoint stays", version, tr.what)
			cells = append(cells, with.String(), lost(with, without))
		}
		fmt.Fprintf(&rows, "| %s |\n", strings.Join(cells, " | "))
	}
	page := fmt.Sprintf(reliability, strings.Join(versions, " | pods lost | "), rows.String(), cases(t))
	if *update {
		if err := os.WriteFile(reliabilityPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reliabilityPage)
	g := NewWithT(t)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(got)).To(Equal(page), "docs/results/reliability.md is out of date; run: make generate-reliability")
}

const reliability = `# Reliability

<!-- Written by make generate-reliability, which plays every row. -->

## What goes wrong, and when it is right again

Played in [the model](../../test/model/doc.go): the real agent with its default configuration, on a simulated HNS, API
server and kube-proxy. On the node are a valid remote endpoint, and one that an earlier kube-proxy has left behind. Two
seconds after the trouble begins, a pod of the node gets an address that still has a remote endpoint. The trouble lasts
five minutes, unless it says otherwise.

**No valid endpoint was deleted in any row.** The times are how long after the end of the trouble the last stale endpoint
was gone. Most of it is by design: an orphan has a grace period of five minutes, and on 1.32.3 kube-proxy has to be
[proved to have forgotten](../how-it-works.md#the-hold) an address. Next to the time of each kube-proxy is how
many pods lost their endpoint to it with hnsguard, and in the same play without hnsguard. On 1.32.3 it is *reuse before
drop*: hnsguard loses the pod where the trouble keeps it from [keeping the address listed](../how-it-works.md#the-keep-slice)
before the slice drops it.

| trouble | %s | pods lost |
|---|---|---|---|---|---|---|
%s
## The cases that are known from the field

Each is covered by the test that is named.

| case | test |
|---|---|
%s`

// covered returns cases from real nodes, each with a test that plays it.
func covered() [][2]string {
	return [][2]string{
		{"a local and a remote endpoint of one address, enumerated in either order", "TestKubeProxyDoesWhatWasMeasured"},
		{"a remote endpoint whose backend lives on another node", "TestDecide"},
		{"a leaked local endpoint alongside a valid remote one", "TestDecide"},
		{"a load balancer that names a deleted endpoint", "TestLoadBalancersThatAreLeftDanglingAreCounted"},
		{"a load balancer is deleted by something else", "TestAMissingLoadBalancerIsReportedAndItsServiceDisturbed"},
		{"two remote endpoints of one address", "TestTwoRemotesOfOneAddress"},
		{"a remote endpoint that is not kube-proxy's", "TestDecide"},
		{"a pod in the host's network has the node's address", "TestDecide"},
		{"dual stack: one address of two has a conflict", "TestDualStackIsJudgedByEachAddress"},
		{"an endpoint vanishes while endpoints are listed", "TestContract"},
		{"deleting answers that there is no such endpoint", "TestWhatIsRecordedOfEachResult"},
		{"HNS is down", "TestAfterAFailureThePassDeletesNothingMore"},
		{"a delete does not return", "TestADeleteThatDoesNotReturnIsLeftAlone"},
		{"a delete that did not return takes effect later", "TestWhatBecameOfADeleteThatDidNotReturn"},
		{"a delete reports success, and the endpoint is still there", "TestADeleteThatDidNothingIsStillListed"},
		{"kube-proxy makes the endpoint again at once", "TestAnEndpointThatComesBackIsInTheSameBackoff"},
		{"between the decision and the deletion the address moves", "TestWhatAloneKeepsTheEndpoint"},
		{"the agent's view of pods and slices is old", "TestEachBrakeAlone"},
	}
}

// cases returns the rows of covered. It fails if a test does not exist.
func cases(t *testing.T) string {
	t.Helper()
	tests, err := exec.CommandContext(t.Context(), "git", "-C", "../..", "grep", "-hoE", `^func Test[A-Za-z0-9]+`, "--", "*_test.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for _, c := range covered() {
		if !regexp.MustCompile(`(?m)^func ` + c[1] + `$`).Match(tests) {
			t.Errorf("there is no test %s (%s)", c[1], c[0])
		}
		fmt.Fprintf(&rows, "| %s | `%s` |\n", c[0], c[1])
	}
	return rows.String()
}
