// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"golang.org/x/text/encoding/unicode"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/internal/recording"
)

func clusterFixture(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "cluster", name))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return data
}

func readCluster(t *testing.T, data string) recording.Cluster {
	t.Helper()
	dump, err := recording.ReadCluster(file("dump", []byte(data)))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return dump
}

// ips maps the pods of a dump to their addresses.
func ips(dump recording.Cluster) map[string]string {
	byName := map[string]string{}
	for _, pod := range dump.Pods {
		byName[pod.Namespace+"/"+pod.Name] = pod.Status.PodIP
	}
	return byName
}

const (
	pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default"},` +
		`"status":{"phase":"Running","podIP":"10.0.0.5","podIPs":[{"ip":"10.0.0.5"}]}}`
	slice = `{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice",` +
		`"metadata":{"name":"web-x","namespace":"default"},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.5"]}]}`
	service = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"default"},` +
		`"spec":{"type":"ClusterIP","clusterIP":"10.96.0.9","clusterIPs":["10.96.0.9"]}}`
)

func list(items ...string) string {
	return `{"apiVersion":"v1","kind":"List","items":[` + strings.Join(items, ",") + `]}`
}

// with replaces a part of an object.
func with(object, old, replacement string) string {
	if !strings.Contains(object, old) {
		panic("no " + old + " in " + object)
	}
	return strings.ReplaceAll(object, old, replacement)
}

func TestClusterFixtures(t *testing.T) {
	for name, want := range map[string]struct {
		nodes, pods, slices, services int
		skipped                       int
	}{
		"aks-1367.json":             {nodes: 2, pods: 2, slices: 1, services: 1},
		"derived-v2-duplicate.json": {nodes: 2, pods: 4, slices: 2, services: 2},
		"wc-631.json":               {pods: 8, slices: 2, services: 2},
		"flannel-922.yaml":          {pods: 1, slices: 1, services: 1},
		"rke2-calico.yaml":          {pods: 1, slices: 1, services: 1, skipped: 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			dump, err := recording.ReadCluster(file(name, clusterFixture(t, name)))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(dump.Nodes).To(HaveLen(want.nodes))
			g.Expect(dump.NodesRecorded).To(Equal(want.nodes > 0))
			g.Expect(dump.Pods).To(HaveLen(want.pods))
			g.Expect(dump.Slices).To(HaveLen(want.slices))
			g.Expect(dump.Services).To(HaveLen(want.services))
			g.Expect(dump.PodsRecorded && dump.SlicesRecorded && dump.ServicesRecorded).To(BeTrue())
			g.Expect(dump.Skipped).To(Equal(want.skipped))
		})
	}
}

func TestClusterFixturesAreAllExplained(t *testing.T) {
	g := NewWithT(t)
	entries, err := os.ReadDir("testdata/cluster")
	g.Expect(err).NotTo(HaveOccurred())
	readme := string(clusterFixture(t, "README.md"))
	for _, entry := range entries {
		if name := entry.Name(); name != "README.md" && !entry.IsDir() {
			g.Expect(strings.Count(readme, "| `"+name+"` |")).To(Equal(1), name)
		}
	}
}

func TestFormsTellTheSame(t *testing.T) {
	g := NewWithT(t)
	whole := list(pod, slice, service)
	want := readCluster(t, whole)
	g.Expect(want.Pods).To(HaveLen(1))
	g.Expect(want.Pods[0].Status.PodIPs).To(Equal([]corev1.PodIP{{IP: "10.0.0.5"}}))
	g.Expect(want.Slices[0].Endpoints[0].Addresses).To(Equal([]string{"10.0.0.5"}))
	g.Expect(want.Services[0].Spec.ClusterIP).To(Equal("10.96.0.9"))

	toYAML := func(object string) string {
		text, err := yaml.JSONToYAML([]byte(object))
		g.Expect(err).NotTo(HaveOccurred())
		return string(text)
	}
	bare := func(object string) string {
		return with(object, `"apiVersion":"v1","kind":"Pod",`, "")
	}
	utf16 := func(text string) string {
		encoded, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String(text)
		g.Expect(err).NotTo(HaveOccurred())
		return encoded
	}
	for name, text := range map[string]string{
		"objects in a row":         pod + "\n" + slice + service,
		"YAML":                     toYAML(whole),
		"YAML documents":           "---\n" + toYAML(pod) + "---\n" + toYAML(slice) + "--- # last\n" + toYAML(service),
		"YAML with empty ones":     "---\n---\n# nothing\n---\n" + toYAML(whole),
		"YAML, CRLF":               strings.ReplaceAll(toYAML(whole), "\n", "\r\n"),
		"UTF-16":                   utf16(whole),
		"YAML in UTF-16 with CRLF": utf16(strings.ReplaceAll(toYAML(whole), "\n", "\r\n")),
		"typed lists": `{"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"7"},"items":[` + bare(pod) + `]}` +
			list(slice) + `{"kind":"ServiceList","apiVersion":"v1","items":[` + service + `]}`,
		"the same objects twice": list(pod, slice, service, pod, slice, service),
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(withoutKinds(readCluster(t, text))).To(Equal(withoutKinds(want)))
		})
	}
}

// withoutKinds clears what objects in typed lists do not say of themselves.
func withoutKinds(dump recording.Cluster) recording.Cluster {
	for _, pod := range dump.Pods {
		pod.Kind, pod.APIVersion = "", ""
	}
	return dump
}

const node = `{"apiVersion":"v1","kind":"Node","metadata":{"name":"win-1","labels":{"kubernetes.io/os":"windows"}},` +
	`"status":{"nodeInfo":{"operatingSystem":"windows","kubeletVersion":"v1.32.3","kubeProxyVersion":"v1.32.3"}}}`

func TestNodes(t *testing.T) {
	g := NewWithT(t)
	want := []*corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "win-1"}, Status: corev1.NodeStatus{
		NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "windows", KubeletVersion: "v1.32.3"},
	}}}
	want[0].Status.NodeInfo.KubeProxyVersion = "v1.32.3" //nolint:staticcheck // deprecated, but kubelets up to 1.32 set it
	dump := readCluster(t, list(node))
	g.Expect(dump.Nodes).To(Equal(want))
	g.Expect(dump.NodesRecorded).To(BeTrue())
	g.Expect(dump.PodsRecorded).To(BeFalse())
	text, err := yaml.JSONToYAML([]byte(node))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(readCluster(t, string(text)).Nodes).To(Equal(want))

	g.Expect(readCluster(t, with(node, `"operatingSystem":"windows",`, ``)).Nodes[0].Status.NodeInfo.OperatingSystem).To(Equal("windows"), "by its label")
	g.Expect(readCluster(t, with(node, `"kubernetes.io/os":"windows"`, ``)).Nodes[0].Status.NodeInfo.OperatingSystem).To(Equal("windows"), "by its status")
	g.Expect(readCluster(t, with(node, `kubernetes.io/os":"windows`, `kubernetes.io/os":"linux`)).Nodes[0].Status.NodeInfo.OperatingSystem).
		To(Equal("windows"), "the kubelet knows better than a label")
	newer := readCluster(t, with(node, `,"kubeProxyVersion":"v1.32.3"`, ``)).Nodes[0].Status.NodeInfo
	g.Expect(newer.KubeProxyVersion).To(BeEmpty(), "as from 1.33 on") //nolint:staticcheck // see above
	g.Expect(newer.KubeletVersion).To(Equal("v1.32.3"))

	// A Node's status changes all the time. What is needed of it does not.
	later := with(node, `"status":{`, `"status":{"conditions":[{"type":"Ready","status":"True"}],`)
	both, err := readClusterFiles(node, later)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(both.Nodes).To(Equal(want))
	_, err = readClusterFiles(node, with(node, `v1.32.3`, `v1.33.0`))
	g.Expect(err).To(MatchError(ContainSubstring("Node win-1 occurs twice")))
}

// Invariant 2: which kinds a file mentions.
func TestClusterKindsRecorded(t *testing.T) {
	g := NewWithT(t)
	for text, want := range map[string][4]bool{
		list(): {},
		`{"apiVersion":"v1","kind":"PodList","items":[]}`:                              {true, false, false, false},
		`{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSliceList","items":[]}`:   {false, true, false, false},
		`{"apiVersion":"v1","kind":"ServiceList","metadata":{},"items":[]}`:            {false, false, true, false},
		`{"apiVersion":"apps/v1","kind":"DeploymentList","items":[{"metadata":null}]}`: {},
		service:          {false, false, true, false},
		list(pod, slice): {true, true, false, false},
		node:             {false, false, false, true},
		`{"apiVersion":"v1","kind":"NodeList","metadata":{},"items":[]}`: {false, false, false, true},
	} {
		dump := readCluster(t, text)
		g.Expect([4]bool{dump.PodsRecorded, dump.SlicesRecorded, dump.ServicesRecorded, dump.NodesRecorded}).To(Equal(want), text)
	}
}

// Invariant 1: other kinds are passed over and counted.
func TestOtherKinds(t *testing.T) {
	g := NewWithT(t)
	endpoints := `{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"web","namespace":"default"}}`
	deployments := `{"apiVersion":"apps/v1","kind":"DeploymentList","items":[{"metadata":{"name":"a"}},{}]}`
	dump := readCluster(t, list(pod, endpoints, endpoints)+deployments)
	g.Expect(dump.Notes()).To(Equal([]string{"skipped 4 objects of kinds that a scan does not need"}))
	g.Expect(dump.SlicesRecorded).To(BeFalse())
}

func TestAcceptedShapes(t *testing.T) {
	g := NewWithT(t)
	dump := readCluster(t, list(
		with(pod, `,"podIP":"10.0.0.5","podIPs":[{"ip":"10.0.0.5"}]`, ``),
		with(with(slice, `IPv4`, `FQDN`), `10.0.0.5`, `db.example.test`),
		with(service, `10.96.0.9`, `None`),
		with(with(service, `"web"`, `"out"`), `"type":"ClusterIP","clusterIP":"10.96.0.9","clusterIPs":["10.96.0.9"]`,
			`"type":"ExternalName","externalName":"example.test"`),
	))
	g.Expect(ips(dump)).To(Equal(map[string]string{"default/web": ""}))
	g.Expect(dump.Slices).To(HaveLen(1))
	g.Expect(dump.Services).To(HaveLen(2))
}

// Invariant 1: what is wrong is reported with its place, and the whole file with it.
func TestClusterFaults(t *testing.T) {
	remaining := `{"apiVersion":"v1","kind":"PodList","metadata":{"continue":"eyJ","remainingItemCount":731},"items":[]}`
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"nothing": {
			"",
			[]string{"dump:1:1: the file holds no objects", "kubectl get nodes,pods,endpointslices,services"},
		},
		"blank lines":   {" \r\n", []string{"the file holds no objects"}},
		"only comments": {"# nothing\n", []string{"the file holds no objects"}},
		"another text": {
			"No resources found\n",
			[]string{"dump:1:1: not a Kubernetes object: is of JSON type string", "kubectl get nodes,pods"},
		},
		"a table of kubectl": {"NAMESPACE   NAME   READY\ndefault   web   1/1\n", []string{"dump:1:1: not a Kubernetes object: is of JSON type string", "-o json"}},
		"another JSON object": {
			`{"a":1}`,
			[]string{"dump:1:1: not a Kubernetes object: apiVersion and kind are missing"},
		},
		"a recording of HNS": {
			`[{"ID": "2462b2d1-c402-4024-9c86-5a6903af7759", "Name": "Ethernet"}]`,
			[]string{"dump:1:1: not a Kubernetes object", "a recording of HNS is passed with --hns-dump"},
		},
		"a JSON list":          {"\n[" + pod + "]", []string{"dump:2:1: not a Kubernetes object: is of JSON type array"}},
		"no JSON":              {"{\n\"kind\": 'x'}", []string{"dump:2:9: invalid JSON"}},
		"no JSON after JSON":   {pod + "\n\n}", []string{"dump:3:1: found \"}\" outside of any JSON value"}},
		"cut JSON":             {list(pod, slice)[:200], []string{"dump:1:201: the file is truncated"}},
		"cut JSON, two values": {pod + "\n" + slice[:40], []string{"dump:2:41: the file is truncated"}},
		"no YAML":              {"kind: List\nitems:\n- a: b\n c: d\n", []string{"dump:1:1: invalid YAML in the document that begins here", "line 3"}},
		"no YAML in a later document": {
			"# one\nkind: A\napiVersion: v1\n---\nkind: B\nkind: C\n",
			[]string{"dump:5:1: invalid YAML in the document that begins here", `line 2: key "kind" already set`},
		},
		"no separator": {
			"kind: A\napiVersion: v1\n---\nkind: B\n---kind: C\n",
			[]string{"dump:4:1: invalid YAML in the document that begins here", "kind: C"},
		},
		"cut YAML, amid a line": {
			"apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Po",
			[]string{"dump:4:11: the last line has no end"},
		},
		"cut YAML, after a line": {
			"apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n",
			[]string{"dump:1:1: not a Kubernetes object: apiVersion and kind are missing. A YAML list ends with them"},
		},
		"a part of a list": {
			remaining,
			[]string{"v1 PodList: the list is one of several parts, and at least 731 objects are missing"},
		},
		"a part of some size": {
			with(remaining, `,"remainingItemCount":731`, ""),
			[]string{"one of several parts, and at least 1 objects are missing"},
		},
		"no items": {
			`{"apiVersion":"v1","kind":"PodList"}`,
			[]string{"the list has no items"},
		},
		"an error of the API": {
			`{"apiVersion":"v1","kind":"Status","message":"Unauthorized"}`,
			[]string{"the API server returned an error instead of objects: Unauthorized"},
		},
		"the retired API": {
			list(with(slice, `k8s.io/v1`, `k8s.io/v1beta1`)),
			[]string{"items[0] EndpointSlice default/web-x", "v1beta1", "endpointslices.v1.discovery.k8s.io"},
		},
		"a list twice": {
			`{"apiVersion":"v1","kind":"List","items":[` + pod + `],"items":[]}`,
			[]string{`duplicate field "items"`},
		},
		"another case": {`{"apiVersion":"v1","kind":"List","Items":[` + pod + `]}`, []string{"the list has no items"}},
		"an item without kind": {
			list(pod, `{"metadata":{"name":"x"}}`),
			[]string{"dump:1:201: items[1]: not a Kubernetes object"},
		},
		"an item of no shape": {
			list(`"pod"`, `{"metadata":7}`),
			[]string{"items[0]: not a Kubernetes object: is of JSON type string", "items[1]: not a Kubernetes object: metadata is of JSON type number"},
		},
		"an object of no shape": {
			list(pod, "\n"+with(pod, `"podIP":"10.0.0.5"`, `"podIP":5`)),
			[]string{"dump:2:1: items[1] Pod default/web:", "podIP"},
		},
		"an object without a name": {
			with(service, `"name":"web",`, ``),
			[]string{"dump:1:1: Service default/: metadata.name is missing"},
		},
		"an object without a namespace": {
			with(slice, `,"namespace":"default"`, ``),
			[]string{"EndpointSlice web-x: metadata.namespace is missing"},
		},
		"a manifest of a Node": {
			`{"apiVersion":"v1","kind":"Node","metadata":{"name":"win-1"}}`,
			[]string{"dump:1:1: Node win-1: status.nodeInfo is missing"},
		},
		"a Node without a name": {with(node, `"name":"win-1",`, ``), []string{"Node: metadata.name is missing"}},
		"a manifest of a pod": {
			with(pod, `"phase":"Running",`, ``),
			[]string{"Pod default/web: status.phase is missing"},
		},
		"a manifest of a Service": {
			with(service, `"type":"ClusterIP",`, ``),
			[]string{"Service default/web: spec.type is missing"},
		},
		"a pod's address": {
			with(pod, `10.0.0.5`, `10.0.0.`),
			[]string{"Pod default/web: parsing IP address", `"10.0.0."`},
		},
		"a slice's address": {
			with(slice, `10.0.0.5`, `x`),
			[]string{"EndpointSlice default/web-x: parsing IP address"},
		},
		"a slice's type": {with(slice, `IPv4`, ``), []string{`addressType is ""`}},
		"a Service's address": {
			with(service, `10.96.0.9`, `x`),
			[]string{"Service default/web: parsing IP address", `"x"`},
		},
		"a Service's other addresses": {
			with(service, `"spec":{`, `"status":{"loadBalancer":{"ingress":[{"ip":"x"}]}},"spec":{"externalIPs":["y"],`),
			[]string{`parsing IP address: ParseAddr("x")`, `parsing IP address: ParseAddr("y")`},
		},
		"one name, two objects": {
			list(pod, with(pod, `10.0.0.5`, `10.0.0.6`)),
			[]string{"Pod default/web occurs twice, with different content"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			dump, err := recording.ReadCluster(file("dump", []byte(tc.text)))
			g.Expect(err).To(HaveOccurred())
			g.Expect(dump).To(BeZero())
			for _, want := range tc.want {
				g.Expect(err.Error()).To(ContainSubstring(want))
			}
		})
	}
}

// Invariant 1: all that is wrong is reported at once, with the line of each object in JSON and of each document in YAML.
func TestAllClusterFaultsAtOnce(t *testing.T) {
	g := NewWithT(t)
	var items []string
	for i := range 6 {
		ip := "10.0.0.5"
		if i%2 == 1 {
			ip = "ten"
		}
		items = append(items, fmt.Sprintf(`
{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-%d","namespace":"default"},
			"status":{"phase":"Running","podIP":%q,"conditions":[{"type":"Ready","status":"True"}]}}`, i, ip))
	}
	_, err := recording.ReadCluster(file("dump", []byte(list(items...))))
	g.Expect(strings.Split(err.Error(), "\n")).To(HaveExactElements(
		HavePrefix("dump:4:1: items[1] Pod default/web-1: parsing IP address"),
		HavePrefix("dump:8:1: items[3] Pod default/web-3: parsing"),
		HavePrefix("dump:12:1: items[5] Pod default/web-5: parsing"),
		HavePrefix("Record the cluster at one moment"), HavePrefix("  kubectl get"),
	))

	text, err := yaml.JSONToYAML([]byte(list(items...)))
	g.Expect(err).NotTo(HaveOccurred())
	_, err = recording.ReadCluster(file("dump", []byte("---\n# nothing\n---\n"+string(text))))
	g.Expect(strings.Split(err.Error(), "\n")).To(HaveExactElements(
		HavePrefix("dump:4:1: items[1] Pod default/web-1: parsing IP address"),
		HavePrefix("dump:4:1: items[3] Pod default/web-3: parsing"),
		HavePrefix("dump:4:1: items[5] Pod default/web-5: parsing"),
		HavePrefix("Record the cluster at one moment"), HavePrefix("  kubectl get"),
	), "in YAML, the document has a place, and the items are numbered")
}

// Invariant 1: no beginning of a list passes for the whole.
func TestEveryTruncationOfAClusterIsRefused(t *testing.T) {
	g := NewWithT(t)
	whole := list(pod, slice, service)
	text, err := yaml.JSONToYAML([]byte(whole))
	g.Expect(err).NotTo(HaveOccurred())
	for n := range len(whole) {
		_, err := recording.ReadCluster(file("dump", []byte(whole[:n])))
		g.Expect(err).To(HaveOccurred(), whole[:n])
		if n > 0 {
			g.Expect(err).To(MatchError(ContainSubstring("the file is truncated")), whole[:n])
		}
	}
	for n := range text {
		_, err := recording.ReadCluster(file("dump", text[:n]))
		g.Expect(err).To(HaveOccurred(), string(text[:n]))
	}
}

func TestEncodingFaultsOfAClusterNameTheFile(t *testing.T) {
	g := NewWithT(t)
	_, err := recording.ReadCluster(file("dump", []byte("{\n\x81")))
	g.Expect(err).To(MatchError(ContainSubstring("dump:2:1: the file is not text")))
}

func TestClusterFiles(t *testing.T) {
	g := NewWithT(t)
	dump, err := readClusterFiles(list(pod), list(pod, slice), list(service, service))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(dump).To(Equal(readCluster(t, list(pod, slice, service))))

	other := `{"apiVersion":"apps/v1","kind":"Deployment"}`
	dump, err = readClusterFiles(list(other), list(other))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(dump.Skipped).To(Equal(2))
	g.Expect(dump.PodsRecorded || dump.SlicesRecorded || dump.ServicesRecorded).To(BeFalse())

	dump, err = readClusterFiles(pod, with(pod, "Running", "Failed"))
	g.Expect(err).To(MatchError(And(HavePrefix("1:1:1: Pod default/web occurs twice"), ContainSubstring("at one moment"))))
	g.Expect(dump).To(BeZero())
}

// readClusterFiles reads files with the given contents, which are named by their numbers.
func readClusterFiles(texts ...string) (recording.Cluster, error) {
	var files []recording.File
	for i, text := range texts {
		files = append(files, file(strconv.Itoa(i), []byte(text)))
	}
	return recording.ReadCluster(files...)
}

// FuzzCluster holds that any input is read or refused, and that reading it twice gives the same.
func FuzzCluster(f *testing.F) {
	names, err := filepath.Glob(filepath.Join("testdata", "cluster", "*.[jy]*"))
	if err != nil || len(names) == 0 {
		f.Fatalf("no fixtures to begin with: %v", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(list(pod, slice, service)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if dump, err := recording.ReadCluster(file("fuzz", data)); err == nil {
			checkCluster(t, dump)
			twice, err := recording.ReadCluster(file("fuzz", data), file("again", data))
			if err != nil || len(twice.Pods) != len(dump.Pods) || len(twice.Slices) != len(dump.Slices) {
				t.Errorf("reading it twice: %v", err)
			}
		}
	})
}

func checkCluster(t *testing.T, dump recording.Cluster) {
	t.Helper()
	for _, pod := range dump.Pods {
		if pod.Name == "" || pod.Namespace == "" || pod.Status.Phase == "" {
			t.Errorf("a pod with less than every pod has: %+v", pod)
		}
	}
}

// The kubelets' signs of life say when the cluster was recorded. Not before the last one.
func TestWhenTheClusterWasRecorded(t *testing.T) {
	g := NewWithT(t)
	node := func(name, heartbeat string) string {
		return `{"apiVersion":"v1","kind":"Node","metadata":{"name":"` + name + `"},"status":{"nodeInfo":{"kubeletVersion":"v1.34.0"},` +
			`"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"` + heartbeat + `"}]}}` + "\n"
	}
	dump, err := recording.ReadCluster(file("f", []byte(node("a", "2026-03-01T03:00:00Z")+node("b", "2026-03-01T03:04:00Z")+
		node("c", "2026-03-01T03:02:00Z"))))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(dump.Recorded).To(Equal(time.Date(2026, 3, 1, 3, 4, 0, 0, time.UTC)))
	g.Expect(dump.Nodes[0].Status.Conditions).To(BeEmpty(), "they change all the time")
}
