// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package firsthour_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

var update = flag.Bool("update", false, "write the transcript")

const transcript = "transcript.txt"

func TestFirstHour(t *testing.T) {
	g := NewWithT(t)
	text, err := os.ReadFile(transcript)
	g.Expect(err).NotTo(HaveOccurred())
	hour := newHour(t)
	var seen strings.Builder
	for _, s := range steps(string(text)) {
		seen.WriteString(s.line + "\n" + hour.play(t, s))
	}
	if *update {
		g.Expect(os.WriteFile(transcript, []byte(seen.String()), 0o644)).To(Succeed())
	}
}

// step is a line of the transcript, and the output that follows.
type step struct{ line, output string }

func steps(text string) (all []step) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# ") || strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "* ") {
			all = append(all, step{line: strings.TrimSuffix(line, "\n")})
		} else {
			all[len(all)-1].output += line
		}
	}
	return all
}

// hour is a cluster and the shell of a user.
type hour struct {
	api     client.Client
	server  *discovery.DiscoveryClient
	windows *windowsNode
	shell   []string
	dir     string
}

func newHour(t *testing.T) *hour {
	t.Helper()
	g := NewWithT(t)
	env := &envtest.Environment{}
	env.ControlPlane.GetAPIServer().Configure().Set("advertise-address", "203.0.113.1") // whatever this machine has
	config, err := env.Start()
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = env.Stop() })
	h := &hour{dir: t.TempDir()}
	h.api, err = client.New(config, client.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	h.server, err = discovery.NewDiscoveryClientForConfig(config)
	g.Expect(err).NotTo(HaveOccurred())
	h.populate(t)
	h.windows = newWindowsNode(t, h.api, config)
	g.Eventually(h.windows.program).WithContext(t.Context()).WithTimeout(patience).Should(Succeed())
	running, stop := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() { stopped <- h.windows.run(running) }()
	t.Cleanup(func() {
		stop()
		NewWithT(t).Expect(<-stopped).To(Succeed())
	})
	h.openShell(t, env)
	return h
}

// openShell puts kubectl, its plugin and helm on the PATH of a user with an empty home folder.
func (h *hour) openShell(t *testing.T, env *envtest.Environment) {
	t.Helper()
	g := NewWithT(t)
	user, err := env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	g.Expect(err).NotTo(HaveOccurred())
	kubeconfig, err := user.KubeConfig()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(os.WriteFile(filepath.Join(h.dir, "kubeconfig"), kubeconfig, 0o600)).To(Succeed())
	bin := filepath.Join(h.dir, "bin")
	g.Expect(os.Mkdir(bin, 0o755)).To(Succeed())
	for name, variable := range map[string]string{"helm": "HNSGUARD_HELM", "kubectl": "HNSGUARD_KUBECTL"} {
		g.Expect(os.Getenv(variable)).NotTo(BeEmpty(), "$%s does not say where %s is; run: make test-first-hour", variable, name)
		g.Expect(os.Symlink(os.Getenv(variable), filepath.Join(bin, name))).To(Succeed())
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", // whatever is checked out, it is one version
		"-ldflags", "-X github.com/hnsguard/hnsguard/internal/version.version=v0.1.0",
		"-o", filepath.Join(bin, "kubectl-hnsguard"), "../../cmd/hnsguard")
	out, err := build.CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), string(out))
	checkout, err := filepath.Abs("../..")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(os.Symlink(filepath.Join(checkout, "charts"), filepath.Join(h.dir, "charts"))).To(Succeed())
	h.shell = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + h.dir, "KUBECONFIG=" + filepath.Join(h.dir, "kubeconfig"),
	}
}

// patience is how long the output of a command may differ: the agent and the API server need a moment.
const patience = 40 * time.Second

// play plays a step, and returns the output.
func (h *hour) play(t *testing.T, s step) string {
	t.Helper()
	g := NewWithT(t)
	switch command, is := strings.CutPrefix(s.line, "$ "); {
	case is:
		seen := h.see(t, command, s.output)
		if strings.HasPrefix(command, "kubectl hnsguard") && !strings.HasPrefix(seen, "hnsguard: ") { // an error is one line
			for line := range strings.Lines(seen) {
				g.Expect(len([]rune(strings.TrimSpace(line)))).To(BeNumerically("<=", 80), line)
			}
		}
		return seen
	case strings.HasPrefix(s.line, "* "):
		event, known := h.events()[s.line[2:]]
		g.Expect(known).To(BeTrue(), s.line)
		g.Eventually(event).WithContext(t.Context()).WithTimeout(patience).Should(Succeed(), s.line)
	}
	return ""
}

// see runs a command, repeatedly if it changes nothing, until it prints the expected output.
func (h *hour) see(t *testing.T, command, expected string) string {
	t.Helper()
	looks := strings.HasPrefix(command, "kubectl get") || strings.HasPrefix(command, "kubectl hnsguard")
	if *update {
		if looks {
			time.Sleep(8 * time.Second) // whatever has to show will show
		}
		return h.command(t, command)
	}
	seen := h.command(t, command)
	for began := time.Now(); aligned(seen) != aligned(recorded(expected)); seen = h.command(t, command) {
		if !looks || time.Since(began) > patience {
			t.Errorf("$ %s\nprints\n%s\nand not\n%s", command, seen, expected)
			return seen
		}
		time.Sleep(200 * time.Millisecond)
	}
	return seen
}

func (h *hour) command(t *testing.T, command string) string {
	t.Helper()
	shell := exec.CommandContext(t.Context(), "bash", "-c", command)
	shell.Env, shell.Dir = h.shell, h.dir
	out, err := shell.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("$ %s: %v", command, err)
	}
	text := string(out)
	if exit != nil {
		text += fmt.Sprintf("(exit status %d)\n", exit.ExitCode())
	}
	return recorded(text)
}

// recorded returns output without what depends on this machine or time. Whether the agent holds an endpoint for a
// moment before it decides depends on which of its watches was synced first.
func recorded(text string) string {
	for _, r := range []struct{ pattern, with string }{
		{`127\.0\.0\.1:\d+`, "127.0.0.1:6443"},
		{`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`, "2026-03-01T03:00:00Z"},
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ`, "2026-03-01 03:00:00Z"},
		{`LAST DEPLOYED: .*`, "LAST DEPLOYED: Sun Mar  1 03:00:00 2026"},
		{`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{19,22}`, "01234567-89ab-cdef-0123-456789abcdef"},
		{`(?m)^[0-9a-f]{8}  `, "01234567  "},
		{`\b\d+(\.\d+)?(µs|ms|s)\b`, "1s"},
		{`,\s+after \d+(\.\d+)? s\b`, ""},
		{`(?m)^  2026-03-01 03:00:00Z  decision: held[^\n]*\n( {8,}[^\n]*\n)*`, ""},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.with)
	}
	return text
}

// aligned returns output without the width of columns, which depends on replaced text.
func aligned(text string) string {
	return strings.TrimSpace(regexp.MustCompile(`[ -]{2,}`).ReplaceAllString(text, "  "))
}

var webAddress, cartAddress = netip.MustParseAddr("10.240.0.11"), netip.MustParseAddr("10.240.0.12")

// populate fills the cluster with a Linux node and a Windows node whose pods share a subnet.
func (h *hour) populate(t *testing.T) {
	t.Helper()
	g := NewWithT(t)
	ctx := t.Context()
	create := func(object client.Object, status func()) {
		g.Expect(h.api.Create(ctx, object)).To(Succeed())
		if status != nil {
			status()
			g.Expect(h.api.Status().Update(ctx, object)).To(Succeed())
		}
	}
	for name, info := range map[string]corev1.NodeSystemInfo{
		"linux-1": {OperatingSystem: "linux"},
		nodeName: {
			OperatingSystem: "windows", Architecture: "amd64", KernelVersion: "10.0.20348.2700",
			ContainerRuntimeVersion: "containerd://1.7.20", KubeletVersion: "v1.34.0",
		},
	} {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{corev1.LabelOSStable: info.OperatingSystem},
		}}
		create(node, func() { node.Status.NodeInfo = info })
	}
	create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, nil)
	h.pod(t, "kube-system", "kube-proxy-windows-k2x9p", nodeName, netip.MustParseAddr("10.240.0.4"),
		"registry.example.com/kube-proxy:v1.34.0")
	h.pod(t, "shop", "web-0", "linux-1", webAddress, "nginx")
	h.pod(t, "shop", "old-0", nodeName, cartAddress, "iis")
	busy := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "busy"}, AddressType: discoveryv1.AddressTypeIPv4,
	}
	create(busy, nil)
	go func() { // as in any cluster in which something happens
		for ; t.Context().Err() == nil; time.Sleep(200 * time.Millisecond) {
			busy.Annotations = map[string]string{"at": time.Now().String()}
			_ = h.api.Update(t.Context(), busy)
		}
	}()
}

// pod creates a running pod. kube-proxy is on the host network.
func (h *hour) pod(t *testing.T, namespace, name, node string, addr netip.Addr, image string) *corev1.Pod {
	t.Helper()
	pod := runningPod(namespace, name, node, addr, image)
	status := pod.Status
	NewWithT(t).Expect(h.api.Create(t.Context(), pod)).To(Succeed())
	pod.Status = status
	NewWithT(t).Expect(h.api.Status().Update(t.Context(), pod)).To(Succeed())
	return pod
}

func runningPod(namespace, name, node string, addr netip.Addr, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			NodeName: node, HostNetwork: namespace == "kube-system", Containers: []corev1.Container{{Name: "c", Image: image}},
			TerminationGracePeriodSeconds: new(int64(0)),
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: addr.String(), PodIPs: []corev1.PodIP{{IP: addr.String()}},
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
		},
	}
}

// events returns the events in the cluster.
func (h *hour) events() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"The Linux pod shop/web-0 ends. kube-proxy leaves its endpoint on win-1, and the Windows pod shop/cart-0 gets the address.": h.reuse,
		"Nothing of hnsguard is left in the cluster.": h.nothingLeft,
	}
}

func (h *hour) reuse(ctx context.Context) error {
	web := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-0"}}
	if err := h.api.Delete(ctx, web, client.GracePeriodSeconds(0)); err != nil {
		return err
	}
	cart := runningPod("shop", "cart-0", nodeName, webAddress, "iis")
	status := cart.Status
	if err := h.api.Create(ctx, cart); err != nil {
		return err
	}
	if _, err := h.windows.endpoint(webAddress, false); err != nil {
		return err
	}
	cart.Status = status
	return h.api.Status().Update(ctx, cart)
}

// nothingLeft checks every kind of the API server.
func (h *hour) nothingLeft(ctx context.Context) error {
	lists, err := h.server.ServerPreferredResources()
	if err != nil {
		return err
	}
	found := []error{h.windows.gone()}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return err
		}
		for _, resource := range list.APIResources {
			if !strings.Contains(strings.Join(resource.Verbs, " "), "list") {
				continue
			}
			objects := &unstructured.UnstructuredList{}
			objects.SetGroupVersionKind(version.WithKind(resource.Kind + "List"))
			if err := h.api.List(ctx, objects); err != nil {
				return fmt.Errorf("listing %s: %w", resource.Name, err)
			}
			for _, o := range objects.Items {
				if strings.Contains(o.GetName(), "hnsguard") && resource.Kind != "Namespace" && resource.Kind != "Event" {
					found = append(found, fmt.Errorf("%s %s/%s is left", resource.Kind, o.GetNamespace(), o.GetName()))
				}
			}
		}
	}
	return errors.Join(found...)
}
