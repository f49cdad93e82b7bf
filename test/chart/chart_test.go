// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/cert"

	"github.com/hnsguard/hnsguard/internal/cli"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/test/chart"
)

const checkout = "../.."

func here(t *testing.T) chart.Chart {
	t.Helper()
	c, err := chart.In(checkout)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func render(t *testing.T, args ...string) chart.Objects {
	t.Helper()
	objects, err := here(t).Render(t.Context(), chart.Namespace, args...)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func daemonSet(t *testing.T, objects chart.Objects) *appsv1.DaemonSet {
	t.Helper()
	ds, err := objects.DaemonSet()
	if err != nil {
		t.Fatal(err)
	}
	return ds
}

// valueSets are the sets of values that the chart ships for its tests: their files, by name.
func valueSets(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(here(t).Dir, "ci", "*-values.yaml"))
	if err != nil || len(files) < 7 {
		t.Fatalf("%d sets of values were found, but there are seven or more (%v)", len(files), err)
	}
	sets := map[string]string{}
	for _, file := range files {
		sets[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = file
	}
	return sets
}

func TestLint(t *testing.T) {
	for name, file := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			out, err := here(t).Run(t.Context(), "lint", "--strict", "--values", file, here(t).Dir)
			NewWithT(t).Expect(err).NotTo(HaveOccurred(), out)
		})
	}
}

// Invariant 1.
func TestTheConfigurationIsThePrograms(t *testing.T) {
	for name, file := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			objects := render(t, "--values", file)
			g := NewWithT(t)
			text, found, err := unstructured.NestedString(objects.Of("ConfigMap")[0].Object, "data", "hnsguard.yaml")
			g.Expect(found, err).To(BeTrue())
			_, err = config.Decode("rendered", []byte(text))
			g.Expect(err).NotTo(HaveOccurred())
		})
	}
}

// Invariant 1.
func TestTheDefaultConfigurationIsTheProgramsDefault(t *testing.T) {
	g := NewWithT(t)
	text, _, _ := unstructured.NestedString(render(t).Of("ConfigMap")[0].Object, "data", "hnsguard.yaml")
	g.Expect(config.Decode("rendered", []byte(text))).To(Equal(config.Default()))
}

// Invariant 1. Given all that the pod has, the program finds fault with nothing but that this is not Windows.
func TestTheProgramTakesWhatThePodHas(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("here it would start")
	}
	for name, file := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			objects := render(t, "--values", file)
			pod := chart.Pod{
				Spec: daemonSet(t, objects).Spec.Template.Spec, Node: "win-1", Namespace: chart.Namespace, Objects: objects,
				Token: []byte("token"), CA: []byte("CA"), Host: "10.0.0.1", Port: "443",
				Secrets: map[string]map[string][]byte{"hnsguard-metrics-tls": certificate(t)},
			}
			for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
				g.Expect(c.Command).To(Equal([]string{`%CONTAINER_SANDBOX_MOUNT_POINT%\hnsguard.exe`}))
				status, said := invoke(t, pod, c, c.Args)
				if c.Args[0] == "run" {
					g.Expect(said).To(HavePrefix("hnsguard: run needs a Windows node"))
				} else {
					g.Expect(status).To(Equal(cli.ExitOK), said)
				}
				if c.Lifecycle == nil {
					continue
				}
				stop := c.Lifecycle.PreStop.Exec.Command
				g.Expect(stop[0]).To(Equal(c.Command[0]))
				status, said = invoke(t, pod, c, stop[1:])
				g.Expect(status).To(Equal(cli.ExitOK), said)
			}
		})
	}
}

// invoke runs the program as a container of the pod, and returns its status and what it complained of.
func invoke(t *testing.T, pod chart.Pod, c corev1.Container, args []string) (int, string) {
	t.Helper()
	g := NewWithT(t)
	root := t.TempDir()
	g.Expect(pod.Mount(root, c)).To(Succeed())
	env, err := pod.Env(root, c)
	g.Expect(err).NotTo(HaveOccurred())
	var out, errs strings.Builder
	status := cli.Run(t.Context(), args, cli.Process{
		Out: &out, Err: &errs, Env: func(name string) (string, bool) {
			value, has := env[name]
			return value, has
		},
	})
	return status, errs.String()
}

// certificate is what a Secret of type kubernetes.io/tls holds.
func certificate(t *testing.T) map[string][]byte {
	t.Helper()
	cert, key, err := cert.GenerateSelfSignedCertKey("win-1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"tls.crt": cert, "tls.key": key}
}

func TestThePodIsOneThatWindowsKnows(t *testing.T) {
	for name, file := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			objects := render(t, "--values", file)
			g := NewWithT(t)
			pod := daemonSet(t, objects).Spec.Template.Spec
			g.Expect(pod.OS).To(Equal(&corev1.PodOS{Name: corev1.Windows}))
			g.Expect(pod.NodeSelector).To(HaveKeyWithValue(corev1.LabelOSStable, "windows"))
			g.Expect(pod.HostNetwork).To(BeTrue())
			g.Expect(*pod.SecurityContext).To(Equal(corev1.PodSecurityContext{
				WindowsOptions: &corev1.WindowsSecurityContextOptions{
					HostProcess: new(true), RunAsUserName: new(`NT AUTHORITY\SYSTEM`),
				},
			}), "and none of the fields that Windows forbids")
			g.Expect(pod.AutomountServiceAccountToken).To(HaveValue(BeFalse()))
			for _, c := range append(pod.InitContainers, pod.Containers...) {
				g.Expect(c.SecurityContext).To(BeNil())
			}
			for _, probe := range []*corev1.Probe{
				pod.Containers[0].StartupProbe, pod.Containers[0].LivenessProbe, pod.Containers[0].ReadinessProbe,
			} {
				g.Expect(probe.HTTPGet.Host).To(Equal("127.0.0.1"))
			}
		})
	}
}

// Invariant 2.
func TestThePoliciesAreAboutTheDaemonSetsAccount(t *testing.T) {
	policies := 0
	for name, file := range valueSets(t) {
		t.Run(name, func(t *testing.T) {
			objects := render(t, "--values", file)
			g := NewWithT(t)
			ds := daemonSet(t, objects)
			account := "system:serviceaccount:" + ds.Namespace + ":" + ds.Spec.Template.Spec.ServiceAccountName
			for _, u := range objects.Of("ValidatingAdmissionPolicy") {
				policies++
				var policy admissionv1.ValidatingAdmissionPolicy
				g.Expect(kruntime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u.Object, &policy, true)).To(Succeed())
				g.Expect(policy.Spec.MatchConditions).To(HaveLen(1))
				g.Expect(policy.Spec.MatchConditions[0].Expression).To(Equal("request.userInfo.username == '" + account + "'"))
				g.Expect(policy.Spec.FailurePolicy).To(HaveValue(Equal(admissionv1.Fail)))
			}
			g.Expect(objects.Of("ValidatingAdmissionPolicyBinding")).To(HaveLen(len(objects.Of("ValidatingAdmissionPolicy"))))
			for _, u := range objects.Of("ServiceAccount") {
				g.Expect(u.GetName()).To(Equal(ds.Spec.Template.Spec.ServiceAccountName))
			}
			for _, kind := range []string{"ClusterRoleBinding", "RoleBinding"} {
				for _, u := range objects.Of(kind) {
					if strings.HasSuffix(u.GetName(), "-metrics-reader") {
						continue // that is Prometheus'
					}
					subjects, _, _ := unstructured.NestedSlice(u.Object, "subjects")
					g.Expect(subjects).To(ConsistOf(map[string]any{
						"kind": "ServiceAccount", "namespace": ds.Namespace, "name": ds.Spec.Template.Spec.ServiceAccountName,
					}))
				}
			}
		})
	}
	if policies < 10 {
		t.Errorf("only %d policies were looked at", policies)
	}
}

// What is only observed is not granted either.
func TestRightsFollowTheModes(t *testing.T) {
	kinds := func(objects chart.Objects) (all []string) {
		for _, u := range objects {
			if u.GetKind() == "Role" || u.GetKind() == "ValidatingAdmissionPolicy" {
				all = append(all, u.GetName())
			}
		}
		return all
	}
	evicts := func(objects chart.Objects) bool {
		for _, u := range objects.Of("ClusterRole") {
			text, err := u.MarshalJSON()
			if err != nil || strings.Contains(string(text), "pods/eviction") {
				return true
			}
		}
		return false
	}
	g := NewWithT(t)
	g.Expect(kinds(render(t))).To(ConsistOf("hnsguard-flush", "hnsguard-slices", "hnsguard-events"))
	g.Expect(evicts(render(t))).To(BeFalse())
	eviction := render(t, "--set", "config.eviction.mode=enforce")
	g.Expect(kinds(eviction)).To(ContainElement("hnsguard-eviction"))
	g.Expect(evicts(eviction)).To(BeTrue())
	observe := render(t, "--set", "config.eviction.mode=enforce,config.mode=observe")
	g.Expect(kinds(observe)).To(ConsistOf("hnsguard-events"))
	g.Expect(evicts(observe)).To(BeFalse(), "the mode is the ceiling")
	g.Expect(kinds(render(t, "--set", "config.flush.mode=observe"))).To(ConsistOf("hnsguard-events"))
}

func TestAChangedConfigurationMakesNewPods(t *testing.T) {
	g := NewWithT(t)
	sum := func(args ...string) string {
		return daemonSet(t, render(t, args...)).Spec.Template.Annotations["checksum/config"]
	}
	g.Expect(sum()).To(HaveLen(64))
	g.Expect(sum("--set", "config.poll.slowInterval=10s")).NotTo(Equal(sum()))
	g.Expect(sum("--set", "commonLabels.a=b")).To(Equal(sum()))
}

func TestAParentChartSetsRegistryAndPullSecrets(t *testing.T) {
	g := NewWithT(t)
	c := here(t)
	text, err := c.Run(t.Context(), "template", chart.Release, c.Dir, "--namespace", chart.Namespace,
		"--set", "global.imageRegistry=mirror.example.com,image.tag=v1,imagePullSecrets[0].name=own",
		"--set", "global.imagePullSecrets[0]=mirror,global.imagePullSecrets[1].name=own")
	g.Expect(err).NotTo(HaveOccurred())
	objects, err := chart.Decode([]byte(text))
	g.Expect(err).NotTo(HaveOccurred())
	pods := []corev1.PodSpec{daemonSet(t, objects).Spec.Template.Spec}
	for _, o := range objects.Of("Pod") {
		var pod corev1.Pod
		g.Expect(kruntime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &pod)).To(Succeed())
		g.Expect(pod.Annotations).To(HaveKeyWithValue("helm.sh/hook-delete-policy", ContainSubstring("hook-succeeded")))
		pods = append(pods, pod.Spec)
	}
	g.Expect(pods).To(HaveLen(2), "the agent and the pod of helm test")
	for _, pod := range pods {
		g.Expect(pod.ImagePullSecrets).To(Equal([]corev1.LocalObjectReference{{Name: "own"}, {Name: "mirror"}}))
		for _, c := range append(pod.InitContainers, pod.Containers...) {
			g.Expect(c.Image).To(Equal("mirror.example.com/hnsguard/hnsguard:v1"))
		}
	}
	g.Expect(daemonSet(t, render(t, "--set", "global=null")).Spec.Template.Spec.ImagePullSecrets).To(BeEmpty())
}

// Invariant 3.
func TestWrongValuesAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ set, want string }{
		"unknown key":            {"config.orphans.mode=enforce", "at '/config': additional properties 'orphans' not allowed"},
		"unknown key at the top": {"metric.enabled=true", "additional properties 'metric' not allowed"},
		"unknown key in a probe": {"probes.liveness.httpGet.port=1", "at '/probes/liveness': additional properties 'httpGet'"},
		"unknown alert":          {"prometheusRule.alerts.Typo.enabled=true", "additional properties 'Typo' not allowed"},
		"mode":                   {"config.mode=dry-run", "at '/config/mode': value must be one of 'enforce', 'observe'"},
		"duration":               {"config.orphan.gracePeriod=soon", "at '/config/orphan/gracePeriod': 'soon' does not match"},
		"number as a duration":   {"config.poll.slowInterval=5", "at '/config/poll/slowInterval': got number, want string"},
		"count":                  {"config.orphan.maxPerPass=0", "at '/config/orphan/maxPerPass': minimum: got 0, want 1"},
		"port":                   {"metrics.port=99999", "at '/metrics/port': maximum: got 99,999, want 65,535"},
		"digest":                 {"image.digest=latest", "at '/image/digest': 'latest' does not match"},
		"log level":              {"logging.level=loud", "at '/logging/level': value must be one of"},
		"label":                  {"podLabels.a=true", "at '/podLabels/a': got boolean, want string"},
		"argument with an ampersand": {
			"extraArgs={--config=a&calc}", "at '/extraArgs/0': '--config=a&calc' does not match",
		},
		"firewall range": {"firewall.remoteAddresses={everybody}", "at '/firewall/remoteAddresses/0': 'everybody' does not match"},

		"both monitors": {
			"metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true", "every node would be scraped twice. Enable one",
		},
		"PodMonitor without token": {"metrics.podMonitor.enabled=true", "needs metrics.podMonitor.authorization"},
		"monitor of nothing":       {"metrics.serviceMonitor.enabled=true,metrics.enabled=false", "nothing to scrape. Set metrics.enabled"},
		"monitor of the loopback":  {"metrics.serviceMonitor.enabled=true,metrics.secure=false", "no scraper can reach them. Set metrics.secure"},
		"one port twice":           {"metrics.port=10353", "metrics.port and probes.port are both 10353"},
		"firewall rule": {
			"firewall.ruleName=hnsguards", "at '/firewall/ruleName': 'hnsguards' does not match",
		},
		"firewall open to all":       {"firewall.enabled=true", "firewall.enabled needs firewall.remoteAddresses"},
		"certificate for plain HTTP": {"metrics.secure=false,metrics.certSecret=c", "metrics.certSecret is of no use"},
		"half an API server":         {"apiServer.host=api", "apiServer.host and apiServer.port go together"},
		"reprogramming unbridled":    {"config.reprogram.mode=enforce,admissionPolicy.enabled=false", "without the policy every node could make"},
		"no account":                 {"serviceAccount.create=false", "serviceAccount.name is required"},
		"ServiceMonitor, no Service": {"metrics.serviceMonitor.enabled=true,metrics.service.enabled=false", "needs metrics.service.enabled"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := here(t).Render(t.Context(), chart.Namespace, "--set", tc.set)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tc.want)))
		})
	}
}

// Invariant 3.
func TestOldClustersAreRefused(t *testing.T) {
	g := NewWithT(t)
	version := func(version string, set string) error {
		_, err := here(t).Render(t.Context(), chart.Namespace, "--kube-version", version, "--set", set)
		return err
	}
	g.Expect(version("1.29.4", "")).To(MatchError(ContainSubstring("admissionPolicy.enabled needs Kubernetes 1.30, this is v1.29.4")))
	g.Expect(version("1.29.4", "admissionPolicy.enabled=false")).To(Succeed())
	g.Expect(version("1.31.7-eks-abcdef", "")).To(Succeed())
	g.Expect(version("1.25.0", "admissionPolicy.enabled=false")).To(MatchError(ContainSubstring("requires kubeVersion: >=1.26.0-0")))
}

// The notes are what a user sees first; they need a release, which --dry-run makes up.
func TestNotes(t *testing.T) {
	notes := func(set string) string {
		out, err := here(t).Run(t.Context(), "install", chart.Release, here(t).Dir, "--namespace", chart.Namespace,
			"--dry-run=client", "--set", set)
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		_, notes, _ := strings.Cut(out, "NOTES:")
		return notes
	}
	g := NewWithT(t)
	g.Expect(notes("")).To(And(ContainSubstring("It ENFORCES"), ContainSubstring("kubectl label namespace hnsguard-system"),
		ContainSubstring("--clusterrole=hnsguard-metrics-reader"), Not(ContainSubstring("WARNING"))))
	g.Expect(notes("config.mode=observe")).To(ContainSubstring("It OBSERVES: nothing is changed"))
	g.Expect(notes("admissionPolicy.enabled=false")).To(ContainSubstring("WARNING: admissionPolicy.enabled is false"))
	g.Expect(notes("metrics.secure=false")).To(ContainSubstring("in the clear, on 127.0.0.1:10352"))
}

// Every alert sends its reader somewhere, and every page is sent to.
func TestEveryAlertHasARunbook(t *testing.T) {
	g := NewWithT(t)
	rules := render(t, "--set", "prometheusRule.enabled=true").Of("PrometheusRule")
	groups, _, err := unstructured.NestedSlice(rules[0].Object, "spec", "groups")
	g.Expect(err).NotTo(HaveOccurred())
	named := []string{}
	for _, rule := range groups[0].(map[string]any)["rules"].([]any) {
		name, _, _ := unstructured.NestedString(rule.(map[string]any), "alert")
		url, _, _ := unstructured.NestedString(rule.(map[string]any), "annotations", "runbook_url")
		g.Expect(url).To(HaveSuffix("/docs/runbooks/" + name + ".md"))
		named = append(named, name+".md")
	}
	pages, err := filepath.Glob(checkout + "/docs/runbooks/*.md")
	g.Expect(err).NotTo(HaveOccurred())
	for i := range pages {
		pages[i] = filepath.Base(pages[i])
	}
	g.Expect(pages).To(ConsistOf(named))
}

// Invariant 4.
func TestTheKustomizeBaseIsTheChart(t *testing.T) {
	g := NewWithT(t)
	kustomize := os.Getenv("HNSGUARD_KUSTOMIZE")
	g.Expect(kustomize).NotTo(BeEmpty(), "run: make test-chart")
	out, err := exec.CommandContext(t.Context(), kustomize, "build", checkout+"/config").Output()
	g.Expect(err).NotTo(HaveOccurred())
	base, err := chart.Decode(out)
	g.Expect(err).NotTo(HaveOccurred())

	g.Expect(base.Of("Namespace")).To(HaveLen(1), "kustomize makes the namespace; Helm is told one")
	g.Expect(base.Of("Namespace")[0].GetName()).To(Equal(chart.Namespace))
	bare := func(objects chart.Objects) map[string]any {
		all := map[string]any{}
		for _, u := range objects {
			if kind := u.GetKind(); kind != "Namespace" && kind != "ConfigMap" {
				all[kind+" "+u.GetNamespace()+"/"+u.GetName()] = withoutNoise(u)
			}
		}
		return all
	}
	g.Expect(bare(base)).To(Equal(bare(render(t))))

	text, _, _ := unstructured.NestedString(base.Of("ConfigMap")[0].Object, "data", "hnsguard.yaml")
	g.Expect(config.Decode("base", []byte(text))).To(Equal(config.Default()))
	g.Expect(daemonSet(t, base).Spec.Template.Spec.Volumes[0].ConfigMap.Name).To(Equal(base.Of("ConfigMap")[0].GetName()))
}

// withoutNoise leaves out of an object what has to differ: what Helm marks it with, and how a change of the
// configuration makes new pods.
func withoutNoise(u *unstructured.Unstructured) map[string]any {
	u = u.DeepCopy()
	labels := u.GetLabels()
	delete(labels, "helm.sh/chart")
	delete(labels, "app.kubernetes.io/managed-by")
	u.SetLabels(labels)
	if u.GetKind() == "DaemonSet" {
		unstructured.RemoveNestedField(u.Object, "spec", "template", "metadata", "annotations")
		volumes, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "volumes")
		delete(volumes[0].(map[string]any)["configMap"].(map[string]any), "name")
		_ = unstructured.SetNestedSlice(u.Object, volumes, "spec", "template", "spec", "volumes")
	}
	return u.Object
}

// Invariant 5.
func TestTheImageIsBuiltByMake(t *testing.T) {
	g := NewWithT(t)
	file, err := os.ReadFile(checkout + "/Dockerfile.windows")
	g.Expect(err).NotTo(HaveOccurred())
	dockerfile := string(file)
	g.Expect(dockerfile).To(ContainSubstring(`RUN make build-windows VERSION="${VERSION:?}" COMMIT="${COMMIT:?}"`))
	g.Expect(dockerfile).To(ContainSubstring(`COPY --from=build /src/bin/hnsguard.exe /hnsguard.exe`))

	dryRun := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-n", "-C", checkout,
		"build-windows", "image", "VERSION=v1.2.3", "COMMIT=0123abc")
	out, err := dryRun.Output()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(out)).To(And(
		MatchRegexp(`GOOS=windows .*go build -trimpath -buildvcs=false .*-o bin/hnsguard\.exe`),
		ContainSubstring("internal/version.version=v1.2.3"), ContainSubstring("internal/version.commit=0123abc"),
		ContainSubstring("--file Dockerfile.windows"), ContainSubstring("--build-arg VERSION=v1.2.3"),
		ContainSubstring("--build-arg COMMIT=0123abc"), ContainSubstring("--tag ghcr.io/hnsguard/hnsguard:v1.2.3"),
	))
	image := daemonSet(t, render(t, "--set", "image.tag=v1.2.3")).Spec.Template.Spec.Containers[0].Image
	g.Expect(image).To(Equal("ghcr.io/hnsguard/hnsguard:v1.2.3"), "that is what is installed")

	goVersion, err := os.ReadFile(checkout + "/go.mod")
	g.Expect(err).NotTo(HaveOccurred())
	for _, line := range strings.Split(string(goVersion), "\n") {
		if version, is := strings.CutPrefix(line, "go "); is {
			g.Expect(dockerfile).To(ContainSubstring("ARG GO=golang:" + version))
		}
	}
}
