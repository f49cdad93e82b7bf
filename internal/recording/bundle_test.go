// SPDX-License-Identifier: Apache-2.0

package recording_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/recording"
	"github.com/hnsguard/hnsguard/internal/report"
	"github.com/hnsguard/hnsguard/test/hnstest"
)

// secret is nowhere in a bundle.
const secret = "hunter2"

// cluster has a pod on the node, whose address a stale endpoint has too, and secrets wherever one could be.
func clusterReader() client.Reader {
	secrets := map[string]string{"example.com/token": secret}
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "shop", Name: name, Annotations: secrets, Labels: map[string]string{
			"example.com/token": secret, discoveryv1.LabelServiceName: "web",
		}}
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "win-1", Annotations: secrets, Labels: secrets}}
	node.Status.NodeInfo = corev1.NodeSystemInfo{OperatingSystem: "windows", KubeletVersion: "v1.34.0", MachineID: secret}
	pod := &corev1.Pod{ObjectMeta: meta("cart-0")}
	pod.Spec = corev1.PodSpec{
		NodeName: "win-1",
		Containers: []corev1.Container{{
			Name: "c", Image: "shop/cart:1", Command: []string{"run", secret}, Args: []string{secret},
			Env: []corev1.EnvVar{{Name: "PASSWORD", Value: secret}},
		}},
		Volumes: []corev1.Volume{{Name: secret}},
	}
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: "10.0.0.2", PodIPs: []corev1.PodIP{{IP: "10.0.0.2"}}, Message: secret,
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, Message: secret}},
	}
	ready := true
	elsewhere := "lin-1"
	slice := &discoveryv1.EndpointSlice{ObjectMeta: meta("web-x"), AddressType: discoveryv1.AddressTypeIPv4}
	slice.Endpoints = []discoveryv1.Endpoint{{
		Addresses: []string{"10.0.1.9"}, NodeName: &elsewhere, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		DeprecatedTopology: secrets,
	}}
	service := &corev1.Service{ObjectMeta: meta("web"), Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.7", ClusterIPs: []string{"10.96.0.7"}, Selector: secrets,
	}}
	return fake.NewClientBuilder().WithObjects(node, pod, slice, service).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string {
			return []string{o.(*corev1.Pod).Spec.NodeName}
		}).Build()
}

// staleNode has three remote endpoints, one of which is stale, one in use and one an orphan, and one local endpoint.
func staleNode(t *testing.T) *hnstest.HNS {
	t.Helper()
	service := hnstest.New(hnstest.Options{})
	network := service.CreateNetwork("azure", hns.NetworkL2Bridge)
	for _, text := range []string{"10.0.0.2", "10.0.1.9", "10.0.1.10"} {
		addr := netip.MustParseAddr(text)
		if _, err := service.CreateEndpoint(hnstest.EndpointSpec{
			Network: network.ID, Addresses: []netip.Addr{addr}, MAC: kubeproxy.RemoteMAC(addr), Flags: hns.FlagRemote,
		}); err != nil {
			t.Fatal(err)
		}
	}
	local, err := service.CreateEndpoint(hnstest.EndpointSpec{
		Network: network.ID, Name: "cart-0", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.2")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Attach(local.ID, service.CreateNamespace()); err != nil {
		t.Fatal(err)
	}
	return service
}

// read is what is read of a node.
func read(t *testing.T, service hns.Client) recording.Bundle {
	t.Helper()
	b := recording.Bundle{Config: config.Default(), Manifest: recording.Manifest{
		Node: "win-1", Recorded: time.Date(2026, 11, 30, 3, 0, 0, 0, time.UTC), KubeProxyVersion: "v1.34.0",
	}}
	b.HNS, b.HNSErr = report.ReadHNS(t.Context(), service)
	b.Cluster, b.ClusterErr = report.ReadCluster(t.Context(), clusterReader(), "win-1", nil)
	return b
}

// text is a part with the given content.
func text(name, content string) recording.Part { return recording.NewPart(name, []byte(content), nil) }

// failed is a part that cannot be made.
func failed(name, reason string) recording.Part {
	return recording.NewPart(name, nil, errors.New(reason))
}

func record(t *testing.T, b recording.Bundle, parts ...recording.Part) ([]byte, recording.Manifest) {
	t.Helper()
	var out bytes.Buffer
	manifest, err := b.Write(&out, parts...)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), manifest
}

// unpack returns the files of a bundle.
func unpack(t *testing.T, data []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(content)
	}
	return files
}

func judge(t *testing.T, b recording.Bundle) report.Report {
	t.Helper()
	found, err := report.Judge(report.Input{
		Node: b.Manifest.Node, Config: b.Config, KubeProxy: kubeproxy.ProfileOf(b.Manifest.KubeProxyVersion),
		HNS: b.HNS, Cluster: b.Cluster, Now: b.Manifest.Recorded,
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Invariant 9.
func TestABundleGivesTheVerdictsOfItsNode(t *testing.T) {
	g := NewWithT(t)
	live := read(t, staleNode(t))
	data, manifest := record(t, live, text("config.yaml", "mode: observe"), text("agent/status.json", "{}"))
	g.Expect(manifest.Failed()).To(BeEmpty())
	b, err := recording.ReadBundle(file("bundle.zip", data))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(b.Missing()).To(Succeed())
	g.Expect(b.Config.Mode).To(Equal(config.Observe))
	g.Expect(b.Manifest).To(Equal(manifest))
	g.Expect(b.Manifest.KubeProxyVersion).To(Equal("v1.34.0"))
	g.Expect(string(b.Status), b.StatusErr).To(Equal("{}"))

	live.Config = b.Config
	elsewhere := judge(t, b)
	g.Expect(elsewhere).To(Equal(judge(t, live)))
	verdicts := map[string]string{}
	for _, row := range elsewhere.Endpoints {
		verdicts[row.Addresses[0].String()+" "+row.Kind] = string(row.Verdict)
	}
	g.Expect(verdicts).To(Equal(map[string]string{
		"10.0.0.2 remote": "conflict", "10.0.0.2 local": "local", "10.0.1.9 remote": "in_use", "10.0.1.10 remote": "orphan",
	}))
	files := unpack(t, data)
	for _, f := range manifest.Files {
		g.Expect(files).To(HaveKey(f.Name))
	}
	g.Expect(files).To(HaveLen(len(manifest.Files)+1), "and the manifest")
}

// Invariant 9, for a node without endpoints: none is not unknown.
func TestABundleOfAnEmptyNode(t *testing.T) {
	g := NewWithT(t)
	data, _ := record(t, read(t, hnstest.New(hnstest.Options{})))
	b, err := recording.ReadBundle(file("bundle.zip", data))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(b.Missing()).To(Succeed())
	g.Expect(b.HNS.EndpointsRecorded && b.HNS.LoadBalancersRecorded).To(BeTrue())
	g.Expect(judge(t, b).Endpoints).To(BeEmpty())
}

// Invariant 7.
func TestNoSecretIsInABundle(t *testing.T) {
	g := NewWithT(t)
	data, _ := record(t, read(t, staleNode(t)))
	for name, content := range unpack(t, data) {
		g.Expect(content).NotTo(ContainSubstring(secret), name)
	}
	var all corev1.PodList
	g.Expect(clusterReader().List(t.Context(), &all)).To(Succeed())
	g.Expect(fmt.Sprint(all)).To(ContainSubstring(secret), "it was there")
}

// Invariant 8.
func TestWhatCannotBeRecordedIsListed(t *testing.T) {
	all := []string{"hns/endpoints.json", "hns/loadbalancers.json", "hns/networks.json"}
	for name, tc := range map[string]struct {
		change func(*hnstest.HNS)
		parts  []recording.Part
		failed []string
		reason string
		judge  string // what is missing for verdicts
	}{
		"HNS is down": {
			func(h *hnstest.HNS) { h.SetDown(true) },
			nil, all, "HNS is unavailable", "hns/endpoints.json was not",
		},
		"load balancers cannot be read": {
			func(h *hnstest.HNS) { h.Fail(hns.OpLoadBalancers, errors.New("0x803b0099")) },
			nil,
			[]string{"hns/loadbalancers.json"},
			"0x803b0099", "",
		},
		"parts": {
			func(*hnstest.HNS) {},
			[]recording.Part{failed("config.yaml", "why"), text("a.txt", ""), failed("agent/status.json", "why")},
			[]string{"config.yaml", "agent/status.json"},
			"why", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			h := staleNode(t)
			tc.change(h)
			data, manifest := record(t, read(t, h), tc.parts...)
			var failed []string
			for _, f := range manifest.Failed() {
				failed = append(failed, f.Name)
				g.Expect(f.Error).To(ContainSubstring(tc.reason))
			}
			g.Expect(failed).To(ConsistOf(tc.failed))
			g.Expect(unpack(t, data)).To(HaveLen(len(manifest.Files) - len(failed) + 1))
			b, err := recording.ReadBundle(file("bundle.zip", data))
			g.Expect(err).NotTo(HaveOccurred())
			if tc.judge == "" {
				g.Expect(b.Missing()).To(Succeed())
				return
			}
			g.Expect(b.Missing()).To(MatchError(ContainSubstring(tc.judge)))
		})
	}
}

// Invariant 8.
func TestABundleWithoutAnAPIServer(t *testing.T) {
	g := NewWithT(t)
	b := read(t, staleNode(t))
	b.Cluster, b.ClusterErr = recording.Cluster{}, errors.New("this is not a pod")
	data, manifest := record(t, b)
	g.Expect(manifest.Failed()).To(HaveLen(4))
	b, err := recording.ReadBundle(file("bundle.zip", data))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(b.Missing()).To(MatchError(ContainSubstring("cluster/pods.json was not recorded: this is not a pod")))
}

type fullDisk struct{}

var errFull = errors.New("no space left")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestAFullDiskIsAnError(t *testing.T) {
	_, err := read(t, staleNode(t)).Write(fullDisk{})
	NewWithT(t).Expect(err).To(MatchError(errFull))
}

// archive makes a zip of files that are given as names and contents in turn.
func archive(tb testing.TB, files ...string) []byte {
	tb.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i])
		if err == nil {
			_, err = io.WriteString(w, files[i+1])
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

const manifestJSON = `{"apiVersion": "hnsguard.io/v1alpha1", "kind": "Bundle", "node": "win-1"}`

// Invariant 10.
func TestABundleDoesNoHarm(t *testing.T) {
	good, _ := record(t, read(t, staleNode(t)))
	many := []string{"manifest.json", manifestJSON}
	for i := range 200 {
		many = append(many, fmt.Sprintf("%d.txt", i), "")
	}
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"not a zip":      {[]byte("PK? no"), "this is not a zip file"},
		"cut off":        {good[:len(good)-10], "this is not a zip file"},
		"another zip":    {archive(t, "a.txt", "a"), "no manifest.json"},
		"another kind":   {archive(t, "manifest.json", `{"kind": "Pod"}`), `is of kind "" "Pod"`},
		"not JSON":       {archive(t, "manifest.json", `{`), "reading manifest.json"},
		"a bomb":         {archive(t, "manifest.json", manifestJSON, "hns/endpoints.json", string(make([]byte, 4<<20))), "file too large"},
		"two half bombs": {archive(t, "manifest.json", manifestJSON, "hns/endpoints.json", spaces(600<<10), "cluster/pods.json", spaces(600<<10)), "file too large"},
		"many files":     {archive(t, many...), "it has more than 100 files"},
		"twice":          {archive(t, "manifest.json", manifestJSON, "a", "", "a", ""), "occurs twice"},
		"broken HNS":     {archive(t, "manifest.json", manifestJSON, "hns/endpoints.json", "[{}]"), "bundle.zip/hns/endpoints.json:1:2: "},
		"broken cluster": {archive(t, "manifest.json", manifestJSON, "cluster/pods.json", "{"), "bundle.zip/cluster/pods.json:1:2: "},
		"broken configuration": {
			archive(t, "manifest.json", manifestJSON, "config.yaml", "mode: loud"), `mode: Unsupported value: "loud"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			_, err := recording.ReadBundleLimited(file("bundle.zip", tc.data), 1<<20)
			g.Expect(err).To(MatchError(And(HavePrefix("reading bundle bundle.zip: "), ContainSubstring(tc.want))))
		})
	}
	g := NewWithT(t)
	_, err := recording.ReadBundleLimited(file("bundle.zip", good), 1<<20)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = recording.ReadBundleLimited(file("bundle.zip", good), 100)
	g.Expect(err).To(MatchError(recording.ErrTooLarge))
}

func spaces(n int) string { return string(bytes.Repeat([]byte(" "), n)) }

// A file of a later version is no reason to refuse a bundle, and nothing is written, whatever a name is (invariant 10).
func TestUnknownFilesAreIgnored(t *testing.T) {
	_, err := recording.ReadBundle(file("b", archive(t, "manifest.json", manifestJSON, "later/new.json", "{", "../evil", "", "/etc/evil", "", `c:\evil`, "")))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
}

// Invariant 10: of a bundle that was damaged anywhere, nothing worse comes than an error.
func TestADamagedBundleIsAnError(t *testing.T) {
	good, _ := record(t, read(t, staleNode(t)))
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 100 {
		bad := bytes.Clone(good)
		for range 1 + random.IntN(4) {
			bad[random.IntN(len(bad))] ^= byte(1 + random.IntN(255))
		}
		if _, err := recording.ReadBundleLimited(file("b", bad), 1<<20); err != nil {
			refused++
		}
	}
	// What is damaged in files that are not read does not matter.
	NewWithT(t).Expect(refused).To(BeNumerically(">", 20))
}

// FuzzBundle holds invariant 10 against any input: it ends, with a bundle or with an error that names the file.
func FuzzBundle(f *testing.F) {
	f.Add(archive(f, "manifest.json", manifestJSON))
	f.Add(archive(f, "manifest.json", manifestJSON, "hns/endpoints.json", "[]", "hns/networks.json", "[]"))
	f.Add(archive(f, "manifest.json", manifestJSON, "cluster/pods.json", `{"apiVersion": "v1", "kind": "PodList", "items": []}`,
		"config.yaml", "mode: observe"))
	f.Add(archive(f, "../manifest.json", "{}", "manifest.json", "{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := recording.ReadBundleLimited(file("fuzz", data), 1<<20)
		if err == nil && b.Manifest.Kind != recording.BundleKind {
			t.Errorf("this is no bundle: %+v", b.Manifest)
		}
		if err != nil && !bytes.HasPrefix([]byte(err.Error()), []byte("reading bundle fuzz: ")) {
			t.Errorf("the error does not name the file: %v", err)
		}
	})
}
