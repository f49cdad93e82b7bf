// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/server"
)

// sample is the resource usage of hnsguard.exe at one moment.
type sample struct {
	at                         time.Duration
	resident, handles, routine float64
	passes                     float64
}

// TestSoak runs hnsguard.exe with one incident after the other, for as long as $HNSGUARD_SOAK says, and expects that
// its memory, handles and goroutines do not grow.
func TestSoak(t *testing.T) {
	duration, err := time.ParseDuration(os.Getenv("HNSGUARD_SOAK"))
	if err != nil {
		t.Skip("$HNSGUARD_SOAK does not say for how long; run: make soak")
	}
	exe := findPrograms(t)
	t.Cleanup(func() { expectNobodyLeft(t) })
	var version string
	for version = range exe.proxies {
	}
	s := newWindowsNode(t, startAPIServers(t, exe, 1).take(t), exe, version, true, nodeOptions{policy: quickOrphans})
	s.startBoth()
	var samples []sample
	begun := time.Now()
	for n := 0; time.Since(begun) < duration; n++ {
		s.soakIncident(n)
		if n%20 == 0 {
			at := s.sample(begun)
			samples = append(samples, at)
			fmt.Printf("soak %s: resident %.1f MiB, handles %.0f, goroutines %.0f, passes %.0f\n",
				at.at.Round(time.Second), at.resident/(1<<20), at.handles, at.routine, at.passes)
		}
	}
	if len(samples) < 9 {
		t.Fatalf("only %d samples in %s: too few to see growth", len(samples), duration)
	}
	// The first third is the warm-up; the last third must not use more than the second.
	middle, last := samples[len(samples)/3:2*len(samples)/3], samples[2*len(samples)/3:]
	expectFlat(t, "resident memory", middle, last, 1.10, func(s sample) float64 { return s.resident })
	expectFlat(t, "handles", middle, last, 1.05, func(s sample) float64 { return s.handles })
	expectFlat(t, "goroutines", middle, last, 1.05, func(s sample) float64 { return s.routine })
}

// expectFlat fails if the median of the later samples exceeds that of the earlier ones by more than the factor.
func expectFlat(t *testing.T, what string, earlier, later []sample, factor float64, of func(sample) float64) {
	t.Helper()
	before, after := median(earlier, of), median(later, of)
	fmt.Printf("soak: %s: median %.0f, then %.0f (%+.1f %%)\n", what, before, after, 100*(after/before-1))
	if before == 0 || after > before*factor {
		t.Errorf("%s grows: median %.0f in the second third, %.0f in the last", what, before, after)
	}
}

func median(samples []sample, of func(sample) float64) float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// soakIncident starts and deletes a Linux pod, gives a Windows pod the address of a leaked endpoint, and deletes that
// pod too.
func (s *windowsNode) soakIncident(n int) {
	s.t.Helper()
	served, reused := addr(byte(1+n%100)), netip.AddrFrom4([4]byte{10, 244, 3, byte(1 + n%200)})
	name := fmt.Sprintf("soak-%d", n)
	slice := s.expose(name, linuxNode, served)
	s.leak(reused)
	local := s.windowsPod(name, reused)
	becomes(s.ctx, 10*time.Second+s.clearance(), func() bool { return len(s.remotes(reused)) == 0 })
	if !s.there(local) {
		s.t.Fatalf("incident %d: the pod's endpoint is gone", n)
	}
	s.relist(slice)
	must(s.t, s.api.client.Delete(s.ctx, slice))
	named := metav1.ObjectMeta{Namespace: namespace, Name: name}
	must(s.t, s.api.client.Delete(s.ctx, &corev1.Service{ObjectMeta: named}))
	must(s.t, s.api.client.Delete(s.ctx, &corev1.Pod{ObjectMeta: named}, client.GracePeriodSeconds(0)))
	must(s.t, s.simulated.DeleteEndpoint(s.ctx, local))
}

// sample reads hnsguard.exe's own metrics.
func (s *windowsNode) sample(begun time.Time) sample {
	s.t.Helper()
	families, err := readMetrics(s.ctx, "http://127.0.0.1:"+s.guardMetrics+"/metrics")
	must(s.t, err)
	value := func(name string) float64 {
		metrics := families[name].GetMetric()
		if len(metrics) == 0 {
			s.t.Fatalf("hnsguard.exe has no metric %s", name)
		}
		return metrics[0].GetGauge().GetValue() + metrics[0].GetCounter().GetValue()
	}
	return sample{
		at: time.Since(begun), resident: value("process_resident_memory_bytes"), handles: openFiles(s.t, "hnsguard.exe"),
		routine: value("go_goroutines"), passes: value("hnsguard_passes_total"),
	}
}

// openFiles counts the files and sockets of a program's processes. Wine does not report the number of handles, which is
// process_open_fds on Windows.
func openFiles(t *testing.T, program string) (n float64) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	for _, process := range processes {
		command, err := os.ReadFile(filepath.Join(process, "cmdline"))
		if err != nil || !strings.Contains(string(command), program) {
			continue // it has ended, or is another
		}
		files, err := os.ReadDir(filepath.Join(process, "fd"))
		if err == nil {
			n += float64(len(files))
		}
	}
	return n
}

func readMetrics(ctx context.Context, url string) (map[string]*dto.MetricFamily, error) {
	data, err := server.Get(ctx, url)
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(bytes.NewReader(data))
}
