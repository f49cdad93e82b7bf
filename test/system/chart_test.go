// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package system_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/test/chart"
)

// The program starts with exactly what the chart renders, and answers the probes that it renders: a chart and a program
// that have moved apart make pods that never become ready.
func TestTheProgramStartsAsTheChartRendersIt(t *testing.T) {
	s := newStage(t, startLanes(t, 1).take(t), findPrograms(t), "", true, stageOptions{})
	probes, metrics := freePort(t), freePort(t)
	c, err := chart.In("../..")
	must(t, err)
	objects, err := c.Render(s.ctx, guardNamespace, "--set", "probes.port="+probes+",metrics.port="+metrics)
	must(t, err)
	for _, u := range objects {
		must(t, s.lane.client.Apply(s.ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("helm")))
	}
	ds, err := objects.DaemonSet()
	must(t, err)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: guardNamespace, Name: "hnsguard-x", Labels: ds.Spec.Template.Labels},
		Spec:       ds.Spec.Template.Spec,
	}
	pod.Spec.NodeName = nodeName
	must(t, s.lane.client.Create(s.ctx, pod))
	s.awaitRoles(t, pod)

	k := kubelet{stage: s, pod: pod, root: t.TempDir(), objects: objects}
	k.mount(t)
	container := pod.Spec.Containers[0]
	s.guard = start(t, append(s.env(), k.environment(t, container)...), k.expand(container.Command[0]), container.Args...)
	for name, probe := range map[string]*corev1.Probe{
		"startup": container.StartupProbe, "liveness": container.LivenessProbe, "readiness": container.ReadinessProbe,
	} {
		get := probe.HTTPGet
		address := net.JoinHostPort(get.Host, portOf(t, container, get.Port.StrVal))
		s.awaitHTTP("http://"+address+get.Path, "the "+name+" probe succeeds")
	}
	s.expectGuardedMetrics(t, portOf(t, container, "metrics"))
}

// kubelet does for one pod what a kubelet and containerd 1.6 do: mounts are below the container's root, and only the
// program knows where that is.
type kubelet struct {
	stage   *stage
	pod     *corev1.Pod
	root    string
	objects chart.Objects
}

// expand replaces the variable in a command, as the runtime does.
func (k kubelet) expand(command string) string {
	return strings.ReplaceAll(strings.ReplaceAll(command, "%CONTAINER_SANDBOX_MOUNT_POINT%", k.root), `\`, "/")
}

// mount puts the program and the pod's volumes in their places.
func (k kubelet) mount(t *testing.T) {
	t.Helper()
	must(t, os.Symlink(k.stage.exe.guard, k.expand(k.pod.Spec.Containers[0].Command[0])))
	volumes := map[string]corev1.Volume{}
	for _, v := range k.pod.Spec.Volumes {
		volumes[v.Name] = v
	}
	for _, m := range k.pod.Spec.Containers[0].VolumeMounts {
		dir := filepath.Join(k.root, m.MountPath)
		must(t, os.MkdirAll(dir, 0o700))
		switch v := volumes[m.Name]; {
		case v.ConfigMap != nil:
			k.writeConfigMap(t, dir, v.ConfigMap.Name)
		case v.Projected != nil:
			k.writeProjected(t, dir, v.Projected)
		default:
			t.Fatalf("volume %s is of a kind that nobody mounts here", m.Name)
		}
	}
}

func (k kubelet) writeConfigMap(t *testing.T, dir, name string) {
	t.Helper()
	for _, u := range k.objects.Of("ConfigMap") {
		var configMap corev1.ConfigMap
		must(t, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &configMap))
		if configMap.Name != name {
			continue
		}
		for file, text := range configMap.Data {
			writeFile(t, dir, file, "%s", text)
		}
	}
}

func (k kubelet) writeProjected(t *testing.T, dir string, v *corev1.ProjectedVolumeSource) {
	t.Helper()
	for _, source := range v.Sources {
		switch {
		case source.ServiceAccountToken != nil:
			writeFile(t, dir, source.ServiceAccountToken.Path, "%s", k.token(t))
		case source.ConfigMap != nil: // kube-root-ca.crt, which a controller makes
			writeFile(t, dir, source.ConfigMap.Items[0].Path, "%s", k.stage.lane.config.CAData)
		case source.DownwardAPI != nil:
			writeFile(t, dir, source.DownwardAPI.Items[0].Path, "%s", k.pod.Namespace)
		}
	}
}

func (k kubelet) token(t *testing.T) string {
	t.Helper()
	account := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.pod.Namespace, Name: k.pod.Spec.ServiceAccountName},
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			APIVersion: "v1", Kind: "Pod", Name: k.pod.Name, UID: k.pod.UID,
		},
	}}
	must(t, k.stage.lane.client.SubResource("token").Create(k.stage.ctx, account, request))
	return request.Status.Token
}

// environment is what the container's process gets.
func (k kubelet) environment(t *testing.T, c corev1.Container) []string {
	t.Helper()
	server, err := url.Parse(k.stage.lane.config.Host)
	must(t, err)
	env := []string{
		"CONTAINER_SANDBOX_MOUNT_POINT=" + windowsPath(k.root),
		"KUBERNETES_SERVICE_HOST=" + server.Hostname(), "KUBERNETES_SERVICE_PORT=" + server.Port(),
	}
	for _, e := range c.Env {
		switch from := e.ValueFrom; {
		case from == nil:
			env = append(env, e.Name+"="+e.Value)
		case from.FieldRef != nil && from.FieldRef.FieldPath == "spec.nodeName":
			env = append(env, e.Name+"="+k.pod.Spec.NodeName)
		case from.FieldRef != nil && from.FieldRef.FieldPath == "metadata.namespace":
			env = append(env, e.Name+"="+k.pod.Namespace)
		case from.ResourceFieldRef != nil && from.ResourceFieldRef.Resource == "limits.memory":
			env = append(env, fmt.Sprintf("%s=%d", e.Name, c.Resources.Limits.Memory().Value()))
		default:
			t.Fatalf("nobody fills in the variable %s here", e.Name)
		}
	}
	return env
}

func portOf(t *testing.T, c corev1.Container, name string) string {
	t.Helper()
	for _, p := range c.Ports {
		if p.Name == name {
			return fmt.Sprint(p.ContainerPort)
		}
	}
	t.Fatalf("the container has no port %s", name)
	return ""
}

// awaitRoles waits until the roles that were just made count.
func (s *stage) awaitRoles(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	user := *s.lane.config
	user.Impersonate.UserName = "system:serviceaccount:" + pod.Namespace + ":" + pod.Spec.ServiceAccountName
	as, err := client.New(&user, client.Options{})
	must(t, err)
	eventually(s.ctx, t, 30*time.Second, "the agent's account may list pods", func() bool {
		return as.List(s.ctx, &corev1.PodList{}) == nil
	})
}

// expectGuardedMetrics expects the metrics behind TLS, and only for those who say who they are.
func (s *stage) expectGuardedMetrics(t *testing.T, port string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // it is self-signed
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, "https://127.0.0.1:"+port+"/metrics", nil)
	must(t, err)
	response, err := (&http.Client{Transport: transport}).Do(request)
	must(t, err)
	must(t, response.Body.Close())
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("metrics answer %s to a stranger", response.Status)
	}
}
