// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

const (
	endpointJSON = `[{"ID":"aaaaaaaa-0000-4000-8000-000000000001","SchemaVersion":0,"HostComputeNetwork":"` + net + `"}]`
	table        = "IPAddress  MacAddress\r\n---------  ----------\r\n10.0.0.5   00-15-5D-00-00-05\r\n"
)

// folder makes a folder of files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := tempdir.New(t)
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// zipped makes a zip file of files.
func zipped(t *testing.T, files map[string]string) string {
	t.Helper()
	var all []string
	for name, content := range files {
		all = append(all, name, content)
	}
	path := filepath.Join(tempdir.New(t), "logs.zip")
	if err := os.WriteFile(path, archive(t, all...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// names are the names of files in a recording.
func names(root string, files []recording.File) []string {
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimPrefix(f.Name, root+"/"))
	}
	return names
}

// Invariant 11: names choose files, and their content says what they are.
func TestCollectedFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		files        map[string]string
		hns, cluster []string
		others       []string
	}{
		"collectlogs.ps1": {
			map[string]string{
				"endpoint.txt": table + endpointJSON, "network.txt": "[]", "policy.txt": "", "networkdetailed.txt": "[]",
				"namespaces.txt": "[]", "hnsdiag.txt": endpointJSON, "ip.txt": "x", "winevt/System.evtx": "\x00\x01",
			},
			[]string{"endpoint.txt", "network.txt", "policy.txt"},
			nil,
			[]string{"hnsdiag.txt", "ip.txt", "namespaces.txt", "networkdetailed.txt", "winevt/System.evtx"},
		},
		"the log collectors of EKS and Rancher": {
			map[string]string{"collect/network/hns/endpoint.txt": endpointJSON, "collect/network/hns/policy.txt": "[]"},
			[]string{"collect/network/hns/endpoint.txt", "collect/network/hns/policy.txt"},
			nil, nil,
		},
		"a table beside JSON": {
			map[string]string{"hnsendpoint.txt": table, "hnsendpoint.json": endpointJSON, "hnspolicy.json": "[]"},
			[]string{"hnsendpoint.json", "hnspolicy.json"},
			nil,
			[]string{"hnsendpoint.txt"},
		},
		"hnsdiag alone": {
			map[string]string{"hnsendpoints.log": table, "hnsdiag.txt": endpointJSON},
			[]string{"hnsdiag.txt"},
			nil,
			[]string{"hnsendpoints.log"},
		},
		"one's own": {
			map[string]string{
				"endpoints.json": endpointJSON, "cluster.json": list(pod, slice), "namespaces/a/core/pods.yaml": "apiVersion: v1",
				"namespaces/b/core/pods.yaml": "Warning: x\napiVersion: v1", "core/endpoints.yaml": "apiVersion: v1",
			},
			[]string{"endpoints.json"},
			[]string{"cluster.json", "namespaces/a/core/pods.yaml", "namespaces/b/core/pods.yaml"},
			[]string{"core/endpoints.yaml"},
		},
		"Endpoints of the cluster": {
			map[string]string{"endpoints.json": `{"apiVersion":"v1","kind":"EndpointsList","items":[]}`},
			nil,
			[]string{"endpoints.json"},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, root := range []string{folder(t, tc.files), zipped(t, tc.files)} {
				g := NewWithT(t)
				c, err := recording.Collect(root)
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(names(root, c.HNS)).To(ConsistOf(tc.hns))
				g.Expect(names(root, c.Cluster)).To(ConsistOf(tc.cluster))
				g.Expect(c.Bundle).To(BeNil())
				read, others, _ := strings.Cut(c.Note, "and these are not")
				for _, used := range append(tc.hns, tc.cluster...) {
					g.Expect(read).To(ContainSubstring(used))
				}
				for _, other := range tc.others {
					g.Expect(others).To(ContainSubstring(other))
				}
			}
		})
	}
}

func TestCollectedFilesOfWindowsHaveBackslashes(t *testing.T) {
	g := NewWithT(t)
	c, err := recording.Collect(zipped(t, map[string]string{`debug\hns\endpoint.txt`: endpointJSON}))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(c.HNS).To(HaveLen(1))
}

func TestCollectRefuses(t *testing.T) {
	notZip := filepath.Join(folder(t, map[string]string{"logs.tar.gz": "\x1f\x8b"}), "logs.tar.gz")
	several := map[string]string{"a/endpoint.txt": endpointJSON, "b/Endpoint.txt": endpointJSON}
	for path, want := range map[string]string{
		folder(t, several): "it has HNS of several nodes or moments, as ",
		folder(t, map[string]string{"endpoint.txt": table, "x.log": "x"}): "it has neither HNS (files such as endpoint.txt",
		notZip:                                   "this is not a zip file",
		filepath.Join(tempdir.New(t), "missing"): "missing: ",
	} {
		_, err := recording.Collect(path)
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring(want)))
	}
}

// What cannot be read may be all that is needed: only the reason counts.
func TestCollectSaysWhyItCannotReadAFile(t *testing.T) {
	g := NewWithT(t)
	path := zipped(t, map[string]string{"endpoint.txt": endpointJSON})
	damaged, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	at := bytes.Index(damaged, []byte("endpoint.txt")) + len("endpoint.txt")
	damaged[at] ^= 0xff
	g.Expect(os.WriteFile(path, damaged, 0o600)).To(Succeed())
	_, err = recording.Collect(path)
	g.Expect(err).To(MatchError(And(ContainSubstring("endpoint.txt: "), Not(ContainSubstring("it has neither")))))
}

// Invariant 10.
func TestCollectDoesNotLeaveTheFolder(t *testing.T) {
	g := NewWithT(t)
	outside := filepath.Join(folder(t, map[string]string{"secret.json": endpointJSON}), "secret.json")
	dir := folder(t, map[string]string{"policy.txt": "[]"})
	if err := os.Symlink(outside, filepath.Join(dir, "endpoint.txt")); err != nil {
		t.Skip(err)
	}
	c, err := recording.Collect(dir)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(names(dir, c.HNS)).To(Equal([]string{"policy.txt"}))
}

func TestCollectTellsABundle(t *testing.T) {
	g := NewWithT(t)
	path := zipped(t, map[string]string{"manifest.json": "{}", "hns/endpoints.json": endpointJSON})
	c, err := recording.Collect(path)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(c.Bundle).NotTo(BeNil())
	g.Expect(c.HNS).To(BeEmpty())
}

// consoleOf is a text as a console shows it: lines of no more than a width, without the spaces at their ends.
func consoleOf(text string, width int) string {
	var shown strings.Builder
	for line := range strings.Lines(text) {
		cells := []rune(strings.TrimRight(line, "\r\n"))
		for len(cells) > width {
			shown.WriteString(strings.TrimRight(string(cells[:width]), " ") + "\r\n")
			cells = cells[width:]
		}
		shown.WriteString(strings.TrimRight(string(cells), " ") + "\r\n")
	}
	return shown.String()
}

// Invariant 1: what a console has wrapped is read as it was, or refused.
func TestWrappedLinesAreJoined(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "hns", "aks-1367-l2bridge-remotes.json"))
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatal(err)
	}
	compact, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	read := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		g := NewWithT(t)
		text := rapid.SampledFrom([]string{string(data), string(compact)}).Draw(t, "text")
		prompt := rapid.SampledFrom([]string{"", "PS C:\\> Get-HnsEndpoint | ConvertTo-Json -Depth 10\r\n"}).Draw(t, "prompt")
		shown := consoleOf(prompt+text, rapid.IntRange(40, 200).Draw(t, "width"))
		got, err := recording.ReadHNS(file("f", []byte(shown)))
		read[err == nil]++
		if err == nil {
			want, err := recording.ReadHNS(file("f", data))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(got).To(Equal(want))
		}
	})
	NewWithT(t).Expect(read[true]).To(BeNumerically(">", read[false]))
}

// Lines that are narrower than any console are not joined.
func TestABrokenStringIsNotJoined(t *testing.T) {
	_, err := recording.ReadHNS(file("f", []byte("[{\"ID\":\"a\nb\"}]")))
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring(`invalid character '\n' in string literal`)))
}

// Invariant 1: what is printed around the objects of the cluster is skipped, if it does not say that some are missing.
func TestTextAroundTheClusterIsSkipped(t *testing.T) {
	const warning = "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\r\n"
	text, err := yaml.JSONToYAML([]byte(pod))
	if err != nil {
		t.Fatal(err)
	}
	yamlPod := string(text)
	for name, text := range map[string]string{
		"a warning":      warning + pod,
		"behind it":      pod + "\r\n" + warning,
		"klog":           "E1130 12:00:00.0 4711 memcache.go:265] couldn't get resource list\n" + pod,
		"a transcript":   "**********************\nStart time: 20261130\nPS C:\\> kubectl get pods\n" + pod + "\nPS C:\\>",
		"another prompt": "[me@host ~]$ kubectl get pods -o json\n" + pod,
		"above YAML":     warning + yamlPod,
		"PowerShell above YAML": "kubectl : " + warning + "At line:1 char:1\r\n+ kubectl get pods\r\n    + CategoryInfo : x\r\n \r\n" +
			yamlPod,
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			data := []byte(text)
			dump, err := recording.ReadCluster(file("f", data))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(dump.Pods).To(HaveLen(1))
			g.Expect(string(data)).To(Equal(text), "a file is not changed")
		})
	}
	for _, text := range []string{pod + "\nerror: the server is gone\n", "Error from server (Forbidden): no\n" + yamlPod} {
		_, err := recording.ReadCluster(file("f", []byte(text)))
		NewWithT(t).Expect(err).To(MatchError(ContainSubstring("kubectl failed, so that something may be missing: ")))
	}
}

// Invariant 2.
func TestPortPoolsAreSkipped(t *testing.T) {
	g := NewWithT(t)
	dump, err := recording.ReadHNS(file("hnsportpoolallocs.txt", []byte(`{"Allocations":[]}`)))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(dump.EndpointsRecorded || dump.LoadBalancersRecorded).To(BeFalse())
}

// One command cuts all objects of a file off, and one line says what to run.
func TestRemotedObjects(t *testing.T) {
	g := NewWithT(t)
	object := `{"ID":"aaaaaaaa-0000-4000-8000-000000000001","State":1,"Version":1,"VirtualNetwork":"` + net +
		`","Namespace":"@{ID=x}","PSComputerName":"n"}`
	_, err := recording.ReadHNS(file("f", []byte("["+object+","+object+"]")))
	g.Expect(err).To(MatchError(ContainSubstring("Invoke-Command -ComputerName NODE { Get-HnsEndpoint | ConvertTo-Json")))
	g.Expect(strings.Count(err.Error(), "which cuts them off")).To(Equal(1))
}
