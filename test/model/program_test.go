// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/hnsguard/hnsguard/test/winkernel"
	"github.com/hnsguard/hnsguard/test/world"
)

// mostNodes is the maximum number of nodes in a history.
const mostNodes = 2

// startPrograms starts the program of a version, once for each node, if programs are to be used.
func startPrograms(t *testing.T, version string) programs {
	t.Helper()
	path, used := winkernel.Programs()[version]
	if !used {
		return nil
	}
	var started []world.Program
	for range mostNodes {
		p, err := winkernel.Start(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		started = append(started, p)
	}
	return programs{version: started}
}

// TestReleasedKubeProxiesAreTheSameEveryTime plays histories twice, with different processes.
func TestReleasedKubeProxiesAreTheSameEveryTime(t *testing.T) {
	const histories = 5
	for version := range winkernel.Programs() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			first, second := startPrograms(t, version), startPrograms(t, version)
			for seed := range histories {
				h := historiesOf(version).Filter(func(h world.History) bool { return len(h.Actions) > maxActions/2 }).Example(seed)
				p := world.Play{Trace: true, Programs: first} // agents log pointers
				once := play(t, h, p)
				p.Programs = second
				NewWithT(t).Expect(play(t, h, p).Trace()).To(Equal(once.Trace()), describe(h))
			}
		})
	}
}

// speed returns how many times faster histories are played with the world's own kube-proxy than with released code.
func speed(t *testing.T, versions []string) float64 {
	t.Helper()
	const histories = 10
	var took [2]time.Duration
	for _, version := range versions {
		if !slices.ContainsFunc(world.KnownVersions(), func(k world.Traits) bool { return k.Version == version }) {
			continue
		}
		for which, released := range []programs{startPrograms(t, version), nil} {
			began := time.Now()
			for seed := range histories {
				play(t, historiesOf(version).Example(seed), world.Play{Guarded: true, Programs: released})
			}
			took[which] += time.Since(began)
		}
	}
	t.Logf("%d histories of each version: as released %s, the world's own %s", histories, took[0], took[1])
	return took[0].Seconds() / took[1].Seconds()
}

// TestTheWorldsKubeProxyDoesAsReleasedOnesDo plays histories with released code and with the world's own kube-proxy,
// and compares all their writes to HNS.
func TestTheWorldsKubeProxyDoesAsReleasedOnesDo(t *testing.T) {
	if os.Getenv(envReplay) != "" {
		t.Skip("one history is played")
	}
	for _, traits := range world.KnownVersions() {
		t.Run(traits.Version, func(t *testing.T) {
			t.Parallel()
			released := startPrograms(t, traits.Version)
			if released == nil {
				t.Skip("make model-kube-proxy builds it")
			}
			c := compared{}
			rapid.Check(t, func(rt *rapid.T) {
				h := historiesOf(traits.Version).Draw(rt, "history")
				is := compare(t, h, world.Play{Guarded: rapid.Bool().Draw(rt, "guarded")}, released)
				c.histories++
				c.writes += is.writes
				if is.difference != "" {
					rt.Fatalf("%s\n%s", describe(h), is)
				}
			})
			t.Logf("%d histories, %d calls that changed HNS", c.histories, c.writes)
		})
	}
}

// compared is the result of a history that was played with two kube-proxies.
type compared struct {
	histories, writes  int
	difference, traces string
}

func (c compared) String() string { return c.traces + "\n" + c.difference }

// compare plays a history with released code and with the world's own kube-proxy.
func compare(t *testing.T, h world.History, p world.Play, released programs) compared {
	t.Helper()
	p.Writes, p.Programs = true, released
	theirs := play(t, h, p)
	p.Programs, p.Batches = nil, theirs.Batches
	own := play(t, h, p)
	c := compared{traces: fmt.Sprintf("as released:\n%s\nthe world's own:\n%s", theirs.Trace(), own.Trace())}
	for at, n := range theirs.Nodes {
		c.writes += len(n.Written)
		if c.difference == "" {
			c.difference = difference("as released", inOrder(n.Written), "the world's own", inOrder(own.Nodes[at].Written),
				func(a, b world.ProxyWrite) bool { return a == b })
		}
	}
	return c
}

// envDiff names two released kube-proxies to compare, the older one first.
const envDiff = "HNSGUARD_KUBE_PROXY_DIFF"

// TestReleasedKubeProxiesDiffer plays the same histories with two kube-proxies, and prints where their writes to HNS
// differ: what a release changed. It fails only if the histories cannot be played.
func TestReleasedKubeProxiesDiffer(t *testing.T) {
	versions := strings.Fields(os.Getenv(envDiff))
	if len(versions) == 0 {
		t.Skip("make kube-proxy-diff runs it")
	}
	histories, differ := 0, []string{}
	released := [2]programs{startPrograms(t, versions[0]), startPrograms(t, versions[1])}
	rapid.Check(t, func(rt *rapid.T) {
		h := historiesOf(versions[0]).Draw(rt, "history")
		var written [2][]world.ProxyWrite
		for at, version := range versions {
			h.Setup.KubeProxy = version
			written[at] = inOrder(play(t, h, world.Play{Writes: true, Programs: released[at]}).Nodes[0].Written)
		}
		histories++
		same := func(a, b world.ProxyWrite) bool { return a.What == b.What } // the times of their syncs do not matter
		if is := difference(versions[0], written[0], versions[1], written[1], same); is != "" {
			differ = append(differ, describe(h)+is)
		}
	})
	const shown = 3
	slices.SortFunc(differ, func(a, b string) int { return len(a) - len(b) })
	for _, is := range differ[:min(shown, len(differ))] {
		t.Log(is)
	}
	t.Logf("%s and %s do different things to HNS in %d of %d histories, of which the shortest are shown",
		versions[0], versions[1], len(differ), histories)
}

// difference describes where two kube-proxies begin to differ; empty if they do not. The order of their writes in one
// instant does not matter.
func difference(
	first string, a []world.ProxyWrite, second string, b []world.ProxyWrite, same func(a, b world.ProxyWrite) bool,
) string {
	for at := range max(len(a), len(b)) {
		if at >= len(a) || at >= len(b) || !same(a[at], b[at]) {
			return fmt.Sprintf("%s:\n%s\n%s:\n%s", first, around(a, at), second, around(b, at))
		}
	}
	return ""
}

func inOrder(writes []world.ProxyWrite) []world.ProxyWrite {
	return slices.SortedStableFunc(slices.Values(writes), func(a, b world.ProxyWrite) int {
		return cmp.Or(cmp.Compare(a.At, b.At), strings.Compare(a.What, b.What))
	})
}

func around(writes []world.ProxyWrite, at int) string {
	var b strings.Builder
	for i := max(0, at-3); i < min(len(writes), at+6); i++ {
		fmt.Fprintf(&b, "  %10.3fs %s\n", writes[i].At.Seconds(), writes[i].What)
	}
	return b.String()
}
