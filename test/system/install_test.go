// SPDX-License-Identifier: Apache-2.0

package system_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/test/chart"
	"github.com/hnsguard/hnsguard/test/hnstest"
	"github.com/hnsguard/hnsguard/test/system/hnsserver"
	"github.com/hnsguard/hnsguard/test/tempdir"
)

// scraper is the account that the values allow to read the metrics.
const scraper = "prometheus"

// TestInstalled runs hnsguard.exe like the chart's pod: with its command, arguments, environment and mounts, its
// account's token and that account's rights. The rendered probes must succeed, and scrapers get what the values allow.
func TestInstalled(t *testing.T) {
	exe := findPrograms(t)
	l := startAPIServer(t, exe)
	ctx := t.Context()
	for _, name := range []string{chart.Namespace, "monitoring"} {
		l.ensureNamespace(ctx, t, name)
	}
	must(t, l.client.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "monitoring", Name: scraper}}))
	must(t, l.client.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}))
	address := strings.Trim(strings.TrimPrefix(l.config.Host, "https://"), "/")
	host, port, err := net.SplitHostPort(address)
	must(t, err)
	for name, more := range map[string][]string{
		"defaults":            nil,
		"everything-enforced": nil,
		"monitored":           nil,
		"plain-metrics":       nil,
		// This is not the address of the Service kubernetes, which it need not be.
		"customised": {"--set-string", "apiServer.port=" + port, "--set", "apiServer.host=" + host},
	} {
		t.Run(name, func(t *testing.T) {
			i := l.install(t, name, more...)
			i.pod.Host, i.pod.Port = host, port
			if name == "customised" {
				i.pod.Host = "nowhere.invalid"
			}
			i.run(t, exe.guard)
		})
	}
}

// installation is the chart with one set of values, and its pod.
type installation struct {
	api     *apiServer
	pod     chart.Pod
	metrics string // their port
	secure  bool
}

// install renders the chart, on free ports, applies it, and creates its pod.
func (l *apiServer) install(t *testing.T, values string, more ...string) *installation {
	t.Helper()
	ctx := t.Context()
	c, err := chart.In("../..")
	must(t, err)
	i := &installation{api: l, metrics: freePort(t), secure: values != "plain-metrics"}
	args := append([]string{
		"--values", filepath.Join(c.Dir, "ci", values+"-values.yaml"), "--set",
		fmt.Sprintf("metrics.port=%s,probes.port=%s,metrics.scraper.serviceAccount.name=%s", i.metrics, freePort(t), scraper),
	}, more...)
	objects, err := c.Render(ctx, chart.Namespace, args...)
	must(t, err)
	for _, u := range objects {
		if group := u.GroupVersionKind().Group; group == "monitoring.coreos.com" || group == "autoscaling.k8s.io" {
			continue // this cluster has no Prometheus operator, and no autoscaler of pods
		}
		must(t, l.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("helm")))
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			must(t, client.IgnoreNotFound(l.client.Delete(ctx, u)))
		})
	}
	ds, err := objects.DaemonSet()
	must(t, err)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: chart.Namespace, Name: "hnsguard-" + values, Labels: ds.Spec.Template.Labels},
		Spec:       ds.Spec.Template.Spec,
	}
	pod.Spec.NodeName = nodeName
	must(t, l.client.Create(ctx, pod))
	crt, key, err := cert.GenerateSelfSignedCertKey(nodeName, nil, nil)
	must(t, err)
	i.pod = chart.Pod{
		Spec: ds.Spec.Template.Spec, Node: nodeName, Namespace: chart.Namespace, Objects: objects, CA: l.config.CAData,
		Token: l.token(t, chart.Namespace, pod.Spec.ServiceAccountName, &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID,
		}),
		Secrets: map[string]map[string][]byte{"hnsguard-metrics-tls": {"tls.crt": crt, "tls.key": key}},
	}
	i.awaitRights(t)
	return i
}

// awaitRights waits until the new roles are effective, so that the account is not refused later.
func (i *installation) awaitRights(t *testing.T) {
	t.Helper()
	config := rest.AnonymousClientConfig(i.api.config)
	config.BearerToken = string(i.pod.Token)
	agent, err := client.New(config, client.Options{})
	must(t, err)
	eventually(t.Context(), t, 30*time.Second, "the account may list Services", func() bool {
		return agent.List(t.Context(), &corev1.ServiceList{}) == nil
	})
}

// token returns a token of an account.
func (l *apiServer) token(t *testing.T, namespace, account string, bound *authenticationv1.BoundObjectReference) []byte {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: bound}}
	must(t, l.client.SubResource("token").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account},
	}, request))
	return []byte(request.Status.Token)
}

// run runs the pod's containers in order, and sends the last one the requests of the kubelet and of scrapers.
func (i *installation) run(t *testing.T, exe string) {
	t.Helper()
	ctx := t.Context()
	service := hnstest.New(hnstest.Options{})
	service.CreateNetwork("azure", hns.NetworkL2Bridge)
	server, err := hnsserver.Start(ctx, service, hnsserver.WindowsServer2022)
	must(t, err)
	t.Cleanup(func() { must(t, server.Close()) })

	for _, c := range i.pod.Spec.InitContainers {
		if c.Image != i.pod.Spec.Containers[0].Image {
			continue // what the values add is not hnsguard's
		}
		p := i.start(t, server, exe, c, append(c.Command, c.Args...))
		eventually(ctx, t, 30*time.Second, "container "+c.Name+" ends", p.hasEnded)
		if status := p.cmd.ProcessState.ExitCode(); status != 0 {
			t.Errorf("container %s ended with status %d:\n%s", c.Name, status, p.log)
		}
	}
	c := i.pod.Spec.Containers[0]
	p := i.start(t, server, exe, c, append(c.Command, c.Args...))
	for name, probe := range map[string]*corev1.Probe{
		"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe,
	} {
		eventually(ctx, t, 30*time.Second, "the "+name+" probe succeeds", func() bool {
			return ask(ctx, probeURL(t, c, probe), "") == http.StatusOK
		})
	}
	i.scrape(t)
	if c.Lifecycle != nil {
		stop := i.start(t, server, exe, c, c.Lifecycle.PreStop.Exec.Command)
		eventually(ctx, t, 30*time.Second, "what is done before the stop ends", stop.hasEnded)
		if status := stop.cmd.ProcessState.ExitCode(); status != 0 {
			t.Errorf("what is done before the stop ended with status %d:\n%s", status, stop.log)
		}
	}
	if strings.Contains(p.log.String(), "is forbidden") { // as the API server says it
		t.Errorf("the account lacks a right:\n%s", p.log)
	}
}

// start starts a container's process, in its own root.
func (i *installation) start(
	t *testing.T, server *hnsserver.Server, exe string, c corev1.Container, command []string,
) *program {
	t.Helper()
	dir := tempdir.New(t)
	must(t, i.pod.Mount(dir, c))
	must(t, os.Symlink(exe, filepath.Join(dir, "hnsguard.exe"))) // where the image has it
	root := strings.ReplaceAll(windowsPath(dir), "/", `\`) + `\`
	variables, err := i.pod.Env(root, c)
	must(t, err)
	env := []string{"HNS_SERVER_PORT=" + server.Port()}
	for name, value := range variables {
		env = append(env, name+"="+value)
	}
	words := chart.Expand(root, command)
	return start(t, env, words[0], words[1:]...)
}

// probeURL returns the URL that the kubelet requests.
func probeURL(t *testing.T, c corev1.Container, probe *corev1.Probe) string {
	t.Helper()
	for _, port := range c.Ports {
		if port.Name == probe.HTTPGet.Port.StrVal {
			return "http://" + net.JoinHostPort(probe.HTTPGet.Host, strconv.Itoa(int(port.ContainerPort))) + probe.HTTPGet.Path
		}
	}
	t.Fatalf("the container has no port %s", probe.HTTPGet.Port.String())
	return ""
}

// scrape requests the metrics with accounts that may read them, and with some that may not.
func (i *installation) scrape(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	if !i.secure {
		expectStatus(ctx, t, "http://127.0.0.1:"+i.metrics+"/metrics", "", http.StatusOK)
		return
	}
	url := "https://127.0.0.1:" + i.metrics + "/metrics"
	expectStatus(ctx, t, url, "", http.StatusUnauthorized)
	expectStatus(ctx, t, url, string(i.pod.Token), http.StatusForbidden) // the agent's own is not a scraper's
	expectStatus(ctx, t, url, string(i.api.token(t, "monitoring", scraper, nil)), http.StatusOK)
}

func expectStatus(ctx context.Context, t *testing.T, url, token string, want int) {
	t.Helper()
	if got := ask(ctx, url, token); got != want {
		t.Errorf("%s answers %d, not %d", url, got, want)
	}
}

// ask returns the status of an answer, or 0 if there is none.
func ask(ctx context.Context, url, token string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	// By default the certificate is self-signed.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}
