// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/test/bigcluster"
)

// The cluster for measurements of memory. A Service has ten slices. Not all Services exist: for the addresses of
// missing ones, kube-proxy creates no endpoints, but keeps their slices.
const (
	memoryServices  = 5
	memoryEndpoints = memoryServices * bigcluster.PerService * bigcluster.PerSlice
)

// TestMemory measures the memory and processor time of hnsguard.exe and kube-proxy.exe: on one node with thousands of
// endpoints, with one API server with 100,000 slice addresses, without changes for as long as $HNSGUARD_MEMORY says. It
// prints the results in the format of Go's benchmarks.
func TestMemory(t *testing.T) {
	lasts, err := time.ParseDuration(os.Getenv("HNSGUARD_MEMORY"))
	if err != nil {
		t.Skip("$HNSGUARD_MEMORY does not say for how long; run: make test-memory")
	}
	exe := findPrograms(t)
	t.Cleanup(func() { expectNobodyLeft(t) })
	var version string
	for version = range exe.proxies {
	}
	api := <-startAPIServers(t, exe, 1).free // it is not given back, and so need not be swept
	s := newWindowsNode(t, api, exe, version, true, nodeOptions{period: 30 * time.Second})
	s.fill()
	s.startBoth()
	const patience = 10 * time.Minute // calls to HNS go through Wine
	eventually(s.ctx, t, patience, "kube-proxy has made its endpoints", func() bool {
		return len(s.service.State().Endpoints) >= memoryEndpoints
	})
	eventually(s.ctx, t, patience, "hnsguard knows that they are in use", func() bool {
		return s.labelled(s.guardMetrics, "hnsguard_endpoints", "in_use") >= memoryEndpoints
	})
	programs := []struct{ name, port string }{{"hnsguard", s.guardMetrics}, {"kube-proxy", s.metricsPort}}
	most, busy := map[string]float64{}, map[string]float64{}
	for _, p := range programs {
		busy[p.name] = s.number(p.port, "process_cpu_seconds_total")
	}
	begun := time.Now()
	for ; time.Since(begun) < lasts; time.Sleep(time.Second) {
		for _, p := range programs {
			most[p.name] = max(most[p.name], s.number(p.port, "process_resident_memory_bytes"))
		}
	}
	for _, p := range programs {
		if most[p.name] == 0 {
			t.Errorf("%s does not say how much memory it needs", p.name)
		}
		share := (s.number(p.port, "process_cpu_seconds_total") - busy[p.name]) / time.Since(begun).Seconds() * 100
		own := s.number(p.port, "go_memstats_sys_bytes") - s.number(p.port, "go_memstats_heap_released_bytes")
		fmt.Printf("BenchmarkResident/program=%s 1\t%.6g resident-B\t%.6g most-B\t%.6g own-B\t%.4g %%core\n", p.name,
			s.number(p.port, "process_resident_memory_bytes"), most[p.name], own, share)
	}
}

// fill writes the Services and the slices.
func (s *windowsNode) fill() {
	s.t.Helper()
	for n := range memoryServices {
		must(s.t, s.api.client.Create(s.ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: bigcluster.Service(n * bigcluster.PerService)},
			Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}},
		}))
	}
	numbers, failed := make(chan int), make(chan error, bigcluster.Slices)
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for n := range numbers {
				failed <- s.api.client.Create(s.ctx, bigcluster.Slice(namespace, n, 0))
			}
		})
	}
	for n := range bigcluster.Slices {
		numbers <- n
	}
	close(numbers)
	writers.Wait()
	close(failed)
	for err := range failed {
		must(s.t, client.IgnoreAlreadyExists(err))
	}
}

// number reads a gauge or counter without labels from a program.
func (s *windowsNode) number(port, name string) float64 { return s.labelled(port, name, "") }

// labelled reads a program's metric with the value of a label, or 0 if it does not exist.
func (s *windowsNode) labelled(port, name, value string) float64 {
	s.t.Helper()
	families, err := readMetrics(s.ctx, "http://127.0.0.1:"+port+"/metrics")
	must(s.t, err)
	for _, m := range families[name].GetMetric() {
		if value == "" || m.GetLabel()[0].GetValue() == value {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return 0
}
