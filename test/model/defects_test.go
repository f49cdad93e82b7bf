// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// envDefects enables the test with known defects, which takes some minutes.
const envDefects = "HNSGUARD_MODEL_DEFECTS"

// defect is a fault that the program had, or a guard that it must not lose.
type defect struct {
	what string
	// edits introduce the defect. If several guards protect against it, each needs its own edit.
	edits []edit
	// by is the test that finds the defect: random histories of a version of kube-proxy, or a scene.
	by string
	// breaks is the invariant that the defect violates.
	breaks string
}

// edit replaces a text that a file below internal has exactly once.
type edit struct{ file, now, then string }

// alwaysCurrent removes the proof of freshness, and noPodElsewhere the guard behind it.
func alwaysCurrent() edit {
	return edit{
		"slicewatch/freshness.go", "	if !since.After(f.proven) && !f.proven.IsZero() {\n", "	if !since.IsZero() {\n",
	}
}

func noPodElsewhere() edit {
	return edit{"removal/pods.go", "if p.Node != c.Node && !p.Terminal {", "if p.Node == \"\" {"}
}

// neverUnknown removes the proof that an agent needs when it starts, and when the watch has listed all slices again.
func neverUnknown() edit {
	return edit{"stalerecord/tracker.go", "if p.known() && len(addresses) == 0 {", "if len(addresses) == 0 {"}
}

// The model cannot find defects that are no worse than a node without hnsguard. Other tests do: how soon a conflict is
// removed (guard), that a hanging call is not repeated, and how too many orphans are removed (removal), for which
// moment a proof holds (slicewatch), and how many agents write (stalerecord).
func defects() []defect {
	const affected, leaving, fixed = "TestModel/v1.32.3", "TestModel/v1.34.0", "TestModel/v1.37.2"
	return []defect{
		{"a hold ends when the slice drops the address", []edit{
			{"verdict/decide.go", "return d.KubeProxy.StaleRecord && d.Record.MayHold(addr)", "return false"},
		}, affected, "4"},
		{"a move counts as processed by kube-proxy before HNS shows it", []edit{
			{"stalerecord/tracker.go", "			if _, is := shown[m.addr]; !is {\n", "			if !m.addr.IsValid() {\n"},
		}, affected, "4"},
		{"an address is kept for one of the Services that list it", []edit{
			{"verdict/record.go", "		for _, service := range d.servicesThatMayDrop(addr) {\n", "		for _, service := range d.servicesThatMayDrop(addr)[:min(1, len(d.servicesThatMayDrop(addr)))] {\n"},
			{"verdict/record.go", "return d.isElsewhere(l) && !slices.Contains(d.Cluster.Keeps(addr),", "return len(d.Cluster.Keeps(addr)) == 0 && !slices.Contains(d.Cluster.Keeps(addr),"},
		}, "TestTwoServicesListTheAddress", "4"},
		{"a keep-slice counts as unused while its pod lives", []edit{
			{"verdict/record.go", "		services = append(services, keep.Service)\n", "		if keep.Node != d.Cluster.Node {\n			services = append(services, keep.Service)\n		}\n"},
			{"verdict/record.go", "return !d.left.Has(l.ID)", "return l == nil"},
		}, "TestAKeptAddressIsGivenToTheNextPod", "5"},
		{"a metrics request that fails makes kube-proxy look cured", []edit{
			{
				"kubeproxy/detect/detect.go", "profile = profile.Suspecting(kubeproxy.ProfileOf(hint))",
				"profile = kubeproxy.ProfileOf(hint)",
			},
			{"stalerecord/flusher.go", "		if f.remotes == nil {\n", "		if false {\n"},
			neverUnknown(),
		}, "TestADropWhileMetricsFailIsFlushed", "12"},
		{"any local endpoint counts as that of a waiting pod, and the watch as current", []edit{
			{"verdict/decide.go", "d.unclaimedLocal(e) && !e.Appeared.Before(pods[0])", "d.unclaimedLocal(e)"},
			{"verdict/decide.go", "at >= len(pods) || e.Appeared.Before(pods[at])", "at < 0"},
			alwaysCurrent(), noPodElsewhere(),
		}, leaving, "3"},
		{"the watch counts as current without a proof", []edit{
			alwaysCurrent(), noPodElsewhere(),
		}, leaving, "3"},
		{"mirrors of static pods are evicted", []edit{
			{"eviction/eviction.go", `case "", "Node", "DaemonSet":`, `case "", "DaemonSet":`},
		}, affected, "11"},
		{"removals have no limit", []edit{
			{"removal/brakes.go", "case !r.opts.Limiter.AllowN(now, 1):", "case now.IsZero():"},
		}, "TestRemovalsKeepTheirLimits", "7"},
		{"what kube-proxy did not make is removed", []edit{
			{"verdict/decide.go", "case !kubeproxy.Owns(ep.Endpoint):", "case false:"},
		}, fixed, "2"},
		{"no EndpointSlices mean that nothing is listed", []edit{
			{"verdict/decide.go", "return d.Cluster.Slices > 0", "return true"},
			alwaysCurrent(), noPodElsewhere(),
		}, leaving, "3"},
		{"a conflict goes although a live pod on another node has the address", []edit{
			{"verdict/decide.go", "func(p cluster.Pod) bool { return !p.Deleting }", "func(p cluster.Pod) bool { return false }"},
		}, leaving, "3"},
		{"pods in the host's network of other nodes do not count", []edit{
			{"removal/pods.go", "if p.Node != c.Node && !p.Terminal {", "if p.Node != c.Node && !p.Terminal && !p.HostNetwork {"},
		}, "TestPodsInTheHostsNetworkKeepTheirAddress", "3"},
		{"a proof of two minutes ago is enough for an orphan", []edit{
			{"removal/proof.go", "Freshness.Current(ctx, s.asked)", "Freshness.Current(ctx, now.Add(-maxProofAge))"},
			noPodElsewhere(),
		}, leaving, "3"},
		{"a removal rests on the version of kube-proxy that was read before", []edit{
			{"removal/confirm.go", "	evidence.KubeProxy = read.kubeProxy\n", ""},
			{"removal/pods.go", "read.kubeProxy, err = c.KubeProxy(ctx)", "err = ctx.Err()"},
		}, "TestARemovalRestsOnThePresentKubeProxy", "4"},
		{"what an affected kube-proxy recorded before it was detected is not flushed", []edit{
			{"stalerecord/flusher.go", "		if f.remotes == nil {\n", "		if false {\n"},
			neverUnknown(),
		}, "TestAnAffectedKubeProxyReplacesAnother", "12"},
		{"the address of a pod that has ended hides an early conflict", []edit{
			{"verdict/decide.go", "return len(d.podsUsing(addr)) > 0 })", "return len(d.Cluster.PodsWith(addr)) > 0 })"},
		}, "TestAPodThatHasEndedHidesNoEarlyConflict", "13"},
	}
}

// TestTheModelFindsDefects introduces each defect and expects random histories to violate an invariant.
func TestTheModelFindsDefects(t *testing.T) {
	if os.Getenv(envDefects) == "" {
		t.Skip("set " + envDefects + ", or run make model-defects")
	}
	for _, d := range defects() {
		t.Run(strings.ReplaceAll(d.what, " ", "-"), func(t *testing.T) {
			t.Parallel()
			out := histories(t, d)
			broken := regexp.MustCompile(`VIOLATED invariant (\d+)`).FindSubmatch(out)
			switch {
			case broken == nil:
				t.Errorf("the model does not find that %s\n%s", d.what, tail(out))
			case string(broken[1]) != d.breaks:
				t.Errorf("that %s breaks invariant %s, not %s", d.what, broken[1], d.breaks)
			}
		})
	}
}

// histories runs the model with a defect, and returns its output.
func histories(t *testing.T, d defect) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay(t, d), "-count=1", "-timeout", "10m", ".",
		"-run", d.by+"$", "-rapid.seed=1", "-rapid.checks=3000", "-rapid.nofailfile",
		"-rapid.shrinktime=0s")
	cmd.Env = append(os.Environ(), envDefects+"=")
	out, err := cmd.CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("--- FAIL")) {
		t.Fatalf("playing histories: %v\n%s", err, tail(out))
	}
	return out
}

// overlay writes the files with the defect, and the overlay file for the go command.
func overlay(t *testing.T, d defect) string {
	t.Helper()
	dir, replace := t.TempDir(), map[string]string{}
	for _, e := range d.edits {
		file, err := filepath.Abs(filepath.Join("..", "..", "internal", e.file))
		if err != nil {
			t.Fatal(err)
		}
		from := cmp.Or(replace[file], file)
		source, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(source, []byte(e.now)); n != 1 {
			t.Fatalf("%s has %q %d times, and not once", e.file, e.now, n)
		}
		replace[file] = filepath.Join(dir, strings.ReplaceAll(e.file, "/", "_"))
		write(t, replace[file], bytes.Replace(source, []byte(e.now), []byte(e.then), 1))
	}
	encoded, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	write(t, name, encoded)
	return name
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// tail returns the end of a long output.
func tail(out []byte) []byte {
	const most = 2000
	return out[max(0, len(out)-most):]
}
