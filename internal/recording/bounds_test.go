// SPDX-License-Identifier: Apache-2.0

//go:build !race

// The race detector makes these files take ten times as long, and has memory and time of its own: what is measured here
// is the program. make test-unit and make test-windows run these tests without it.

package recording_test

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/hnsguard/hnsguard/internal/recording"
)

// repeated is a text of about the given size: a part again and again, between a head and a tail.
func repeated(size int, head, part, tail string) string {
	return head + strings.Repeat(part, (size-len(head)-len(tail))/len(part)) + tail
}

// numbered is like repeated, of parts that hold a number.
func numbered(size int, head, part, tail string) string {
	var text strings.Builder
	text.WriteString(head)
	for i := 0; text.Len() < size; i++ {
		fmt.Fprintf(&text, part, i)
	}
	return strings.TrimSuffix(text.String(), ",") + tail
}

func smallEndpoints(size int) string {
	const endpoint = `{"ID":"aaaaaaaa-0000-4000-8000-%012x","SchemaVersion":0,"HostComputeNetwork":"` + net + `"},`
	return numbered(size, "[", endpoint, "]")
}

// hostile are texts that were made to take much memory or time.
func hostile() map[string]string {
	const pods = `{"apiVersion":"v1","kind":"PodList","items":[`
	return map[string]string{
		"an object and numbers":        repeated(10<<20, "[{}", ",0", "]"),
		"empty objects":                repeated(6<<20, "[{}", ",{}", "]"),
		"an object and numbers in row": repeated(2<<20, "{}", " 0", ""),
		"objects in rows":              repeated(2<<20, "", "{\"\":0}\n", ""),
		"line ends":                    repeated(2<<20, "x", "\n", ""),
		"empty pods":                   repeated(6<<20, pods+"{}", ",{}", "]}"),
		"small pods": numbered(5<<20, pods,
			`{"metadata":{"name":"%d","namespace":"n"},"status":{"phase":"x"}},`, "]}"),
		"a pod of containers": repeated(3<<20, pods+`{"spec":{"containers":[{}`, ",{}", `]},"metadata":{}}]}`),
		"pods of containers": numbered(5<<20, pods, `{"metadata":{"name":"%d","namespace":"n"},"status":{"phase":"x"},`+
			repeated(100<<10, `"spec":{"containers":[{}`, ",{}", `]}},`), "]}"),
		"kinds":              numbered(3<<20, `{"apiVersion":"v1","kind":"List","items":[`, `{"apiVersion":"v1","kind":"K%d"},`, "]}"),
		"small endpoints":    smallEndpoints(5 << 20),
		"properties":         numbered(3<<20, `[{`, `"%d":0,`, "}]"),
		"a long name":        `[{"ID":"` + strings.Repeat("x", 3<<20) + `","References":[]}]`,
		"envelopes":          strings.Repeat(`{"Output":[`, 4_000) + "{}" + strings.Repeat("]}", 4_000),
		"lists in lists":     repeated(3<<20, "", "[", ""),
		"YAML":               numbered(2_300_000, "apiVersion: v1\nkind: PodList\nitems:\n", "- {metadata: {name: a%d}}\n", ""),
		"YAML of documents":  repeated(1<<20, "", "---\n{}\n", ""),
		"YAML of flow lists": repeated(700_000, "a: [0", ",0", "]\n"),
		"too much YAML":      repeated(4<<20, "a: [0", ",0", "]\n"),
	}
}

// Invariant 5: whatever a file holds, memory is at most four times its size above 200 MiB, and time is bounded.
func TestHostileFilesTakeLittle(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(50)) // what is garbage is not what is measured
	for name, text := range hostile() {
		t.Run(name, func(t *testing.T) {
			f := file("f", []byte(text))
			staysBounded(t, f, func() error { _, err := recording.ReadHNS(f); return err })
			staysBounded(t, f, func() error { _, err := recording.ReadCluster(f); return err })
		})
	}
	// Bundles are read as other files are, but what takes little when it is packed may take much.
	for _, name := range []string{"pods of containers", "small endpoints"} {
		t.Run(name+" in a bundle", func(t *testing.T) {
			text := hostile()[name]
			f := file("f", archive(t, "manifest.json", manifestJSON, "hns/endpoints.json", text, "cluster/pods.json", text))
			staysBounded(t, f, func() error { _, err := recording.ReadBundle(f); return err })
		})
	}
}

// Invariant 5, of a zip file of folders in folders.
func TestManyFoldersTakeLittle(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	parts := []string{"manifest.json", manifestJSON}
	for i := range 90 {
		parts = append(parts, fmt.Sprintf("%d%s", i, strings.Repeat("/a", 30_000)), "")
	}
	f := file("bundle.zip", archive(t, parts...))
	staysBounded(t, f, func() error { _, err := recording.ReadBundle(f); return err })
}

// Invariant 5 of the other files of a bundle, of a collector's zip file, and of a log.
func TestHostileArchivesTakeLittle(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	const klog = "W1130 03:00:00.000000    1 hns.go:1] \"hns endpoint\""
	for name, text := range map[string]string{
		"manifest.json":             repeated(20<<20, manifestJSON[:len(manifestJSON)-1]+`,"files":[{}`, ",{}", "]}"),
		"config.yaml":               repeated(10<<20, "excludedRanges: [0", ",0", "]"),
		"config.yml":                repeated(200<<10, "", "a: b\n", ""),
		"hns/endpoints.json":        smallEndpoints(30 << 20),
		"kube-proxy/kube-proxy.log": numbered(30<<20, klog, " k%d=1", "\n"),
	} {
		t.Run(name, func(t *testing.T) {
			parts := []string{"manifest.json", manifestJSON, strings.Replace(name, "yml", "yaml", 1), text}
			if name == "manifest.json" {
				parts = parts[2:]
			}
			f := file("bundle.zip", archive(t, parts...))
			staysBounded(t, f, func() error {
				b, err := recording.ReadBundle(f)
				for _, log := range b.ProxyLog {
					_, errLog := recording.ReadProxyLog(log, now)
					err = errors.Join(err, errLog)
				}
				return err
			})
		})
	}
	for name, text := range map[string]string{
		"spaces":    "[" + strings.Repeat(" ", 240<<20) + "]",
		"endpoints": smallEndpoints(47 << 20),
		"numbers":   repeated(47<<20, "[{}", ",0", "]"),
	} {
		t.Run(name+" of a collector", func(t *testing.T) {
			f := file(zipped(t, map[string]string{"endpoint.txt": text}), nil)
			data, err := os.ReadFile(f.Name)
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			f.Data = data
			staysBounded(t, f, func() error {
				c, err := recording.Collect(f.Name)
				if err == nil {
					_, err = recording.ReadHNS(c.HNS...)
				}
				return err
			})
		})
	}
}

func staysBounded(t *testing.T, f recording.File, read func() error) {
	t.Helper()
	took, peak, err := measured(read)
	peak += len(f.Data) // which the test holds
	g := NewWithT(t)
	t.Logf("%d bytes: peak %d MiB, %s", len(f.Data), peak>>20, took)
	g.Expect(peak).To(BeNumerically("<", 200<<20+4*len(f.Data)))
	g.Expect(took).To(BeNumerically("<", time.Minute))
	if err != nil {
		g.Expect(len(err.Error())).To(BeNumerically("<", 64<<10))
	}
}

// measured runs a function, and returns how long that takes and by how much the heap grows at most meanwhile.
func measured(run func() error) (took time.Duration, peak int, err error) {
	debug.FreeOSMemory()
	before := heap()
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- run() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return time.Since(began), max(peak, heap()-before), err
		case <-tick.C:
			peak = max(peak, heap()-before)
		}
	}
}

// heap is how much memory objects take, dead ones that were not swept yet included.
func heap() int {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64())
}
