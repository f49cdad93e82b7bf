// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/internal/cli"
	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/doctor"
	"github.com/hnsguard/hnsguard/internal/fleet"
	"github.com/hnsguard/hnsguard/internal/stalerecord"
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

func valueSets(t *testing.T) map[string]string {
	t.Helper()
	sets, err := here(t).ValueSets()
	if err != nil {
		t.Fatal(err)
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

// Invariant 1. With everything that the pod has, the program's only complaint is that this is not Windows.
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
			c := pod.Spec.Containers[0]
			g.Expect(c.Command).To(Equal([]string{fleet.Program}), "hnsguard status runs it")
			g.Expect(c.Name).To(Equal(fleet.Container))
			_, said := invoke(t, pod, c, c.Args)
			g.Expect(said).To(HavePrefix("hnsguard: run needs a Windows node"))
			var help strings.Builder
			cli.Run(t.Context(), []string{"run", "--help"}, cli.Process{Out: &help, Err: &help})
			for _, variable := range c.Env {
				if strings.HasPrefix(variable.Name, "HNSGUARD_") {
					g.Expect(help.String()).To(ContainSubstring("$"+variable.Name+"\n"), "the program ignores it")
				}
			}
		})
	}
}

// invoke runs the program like a container of the pod, and returns its status and its messages.
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

// certificate returns the contents of a Secret of type kubernetes.io/tls.
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
				if !strings.HasSuffix(u.GetName(), "-scraper") {
					g.Expect(u.GetName()).To(Equal(ds.Spec.Template.Spec.ServiceAccountName))
				}
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

// durationFields returns the paths of the configuration's durations.
func durationFields(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(here(t).Dir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values struct{ Config map[string]any }
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	var fields []string
	for class, inner := range values.Config {
		object, _ := inner.(map[string]any)
		for name, value := range object {
			text, _ := value.(string)
			if _, err := time.ParseDuration(text); err == nil {
				fields = append(fields, class+"."+name)
			}
		}
	}
	return fields
}

// Invariants 1 and 3: the chart refuses the durations that the program refuses, with the same range, and accepts both
// ends of the range.
func TestTheRangesOfDurationsAreThePrograms(t *testing.T) {
	g := NewWithT(t)
	fields := durationFields(t)
	g.Expect(len(fields)).To(BeNumerically(">=", 6))
	set := func(value func(field string) string) error {
		var sets []string
		for _, field := range fields {
			sets = append(sets, "config."+field+"="+value(field))
		}
		_, err := here(t).Render(t.Context(), chart.Namespace, "--set", strings.Join(sets, ","))
		return err
	}
	for _, wrong := range []string{"1ms", "23h60m1ms"} {
		file := map[string]any{"apiVersion": config.APIVersion, "kind": config.Kind}
		for _, field := range fields {
			g.Expect(unstructured.SetNestedField(file, wrong, strings.Split(field, ".")...)).To(Succeed())
		}
		text, err := yaml.Marshal(file)
		g.Expect(err).NotTo(HaveOccurred())
		_, err = config.Decode("durations", text)
		programs := rangesIn(err)
		g.Expect(programs).To(HaveLen(len(fields)))
		g.Expect(rangesIn(set(func(string) string { return wrong }))).To(Equal(programs), wrong)
		for end := range 2 {
			g.Expect(set(func(field string) string { return programs[field][end] })).To(Succeed())
		}
	}
}

// rangesIn finds the ranges in an error of the chart or of the program.
func rangesIn(err error) map[string][2]string {
	if err == nil {
		return nil
	}
	said := regexp.MustCompile(`(?:config\.)?(\w+\.\w+)(?: is \S+, but|: Invalid value: "\S+":) must be between (\w+) and (\w+)`)
	found := map[string][2]string{}
	for _, match := range said.FindAllStringSubmatch(err.Error(), -1) {
		found[match[1]] = [2]string{match[2], match[3]}
	}
	return found
}

// Acts that are only observed need no rights.
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
	g.Expect(kinds(render(t))).To(ConsistOf("hnsguard-flush", "hnsguard-slices", "hnsguard-keep", "hnsguard-events"))
	g.Expect(evicts(render(t))).To(BeFalse())
	eviction := render(t, "--set", "config.eviction.mode=enforce")
	g.Expect(kinds(eviction)).To(ContainElement("hnsguard-eviction"))
	g.Expect(evicts(eviction)).To(BeTrue())
	observe := render(t, "--set", "config.eviction.mode=enforce,config.mode=observe")
	g.Expect(kinds(observe)).To(ConsistOf("hnsguard-events"))
	g.Expect(evicts(observe)).To(BeFalse(), "the mode is the ceiling")
	g.Expect(kinds(render(t, "--set", "config.flush.mode=observe,config.keep.mode=observe"))).To(ConsistOf("hnsguard-events"))
	g.Expect(kinds(render(t, "--set", "config.keep.mode=observe"))).
		To(ConsistOf("hnsguard-flush", "hnsguard-slices", "hnsguard-events"))
	g.Expect(kinds(render(t, "--set", "config.flush.mode=observe"))).
		To(ConsistOf("hnsguard-slices", "hnsguard-keep", "hnsguard-events"))
}

// Invariant 1: the agents move the slices of this Service, whatever the release's name.
func TestTheFlushHasAService(t *testing.T) {
	g := NewWithT(t)
	flush := func(args ...string) (found chart.Objects) {
		for _, u := range render(t, args...).Of("Service") {
			if u.GetName() == stalerecord.Service {
				found = append(found, u)
			}
		}
		return found
	}
	services := flush("--set", "fullnameOverride=other")
	g.Expect(services).To(HaveLen(1))
	var service corev1.Service
	g.Expect(kruntime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(services[0].Object, &service, true)).To(Succeed())
	g.Expect(service.Namespace).To(Equal(chart.Namespace))
	g.Expect(service.Spec).To(Equal(corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, IPFamilyPolicy: new(corev1.IPFamilyPolicyPreferDualStack),
		Ports: []corev1.ServicePort{{Name: stalerecord.PortName, Port: 1, Protocol: corev1.ProtocolTCP}},
	}), "without a selector")
	g.Expect(flush("--set", "config.flush.mode=observe")).To(BeEmpty())
}

// doctor checks exactly what the roles grant: invariant 4 of package doctor.
func TestTheDoctorKnowsTheRights(t *testing.T) {
	sets := map[string][]string{"everything": {"--set", "config.eviction.mode=enforce,config.reprogram.mode=enforce"}}
	for name, file := range valueSets(t) {
		sets[name] = []string{"--values", file}
	}
	for name, args := range sets {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			objects := render(t, args...)
			if len(objects.Of("ClusterRole")) == 0 {
				return // the roles are made by others
			}
			text, _, _ := unstructured.NestedString(objects.Of("ConfigMap")[0].Object, "data", "hnsguard.yaml")
			policy, err := config.Decode("rendered", []byte(text))
			g.Expect(err).NotTo(HaveOccurred())
			secure := corev1.EnvVar{Name: "HNSGUARD_METRICS_SECURE", Value: "true"}
			container := daemonSet(t, objects).Spec.Template.Spec.Containers[0]
			needed := doctor.Permissions(policy, chart.Namespace, slices.Contains(container.Env, secure))
			for i := range needed {
				needed[i].For = ""
			}
			g.Expect(needed).To(ConsistOf(granted(t, objects)))
		})
	}
}

// granted returns the rights of the agent's roles.
func granted(t *testing.T, objects chart.Objects) []doctor.Permission {
	t.Helper()
	var all []doctor.Permission
	for _, u := range append(objects.Of("ClusterRole"), objects.Of("Role")...) {
		if strings.HasSuffix(u.GetName(), "-reader") {
			continue // those are for Prometheus and for people
		}
		var role rbacv1.Role // a ClusterRole without aggregation has the same fields
		if err := kruntime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for _, p := range rights(rule) {
				p.Namespace = u.GetNamespace()
				all = append(all, p)
			}
		}
	}
	return all
}

// rights returns the rights of one rule; each rule of the chart has one group and one resource.
func rights(rule rbacv1.PolicyRule) (all []doctor.Permission) {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, verb := range rule.Verbs {
		for _, name := range names {
			resource, sub, _ := strings.Cut(strings.Join(rule.Resources, ","), "/")
			all = append(all, doctor.Permission{
				Verb: verb, Group: strings.Join(rule.APIGroups, ","), Resource: resource, Subresource: sub, Name: name,
			})
		}
	}
	return all
}

// On OpenShift an account can be allowed to use a SecurityContextConstraints. By default it is not.
func TestOpenShiftsConstraintsAreBoundOnDemand(t *testing.T) {
	g := NewWithT(t)
	bindings := func(set string) map[string]string {
		roles := map[string]string{}
		for _, u := range render(t, "--set", set).Of("RoleBinding") {
			roles[u.GetNamespace()+"/"+u.GetName()], _, _ = unstructured.NestedString(u.Object, "roleRef", "name")
		}
		return roles
	}
	g.Expect(bindings("")).NotTo(HaveKey("hnsguard-system/hnsguard-scc"))
	g.Expect(bindings("openshift.scc=privileged")).
		To(HaveKeyWithValue("hnsguard-system/hnsguard-scc", "system:openshift:scc:privileged"))
	g.Expect(bindings("openshift.scc=privileged,rbac.create=false")).To(BeEmpty())
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
		"constraints":            {"openshift.scc=*", "at '/openshift/scc': '*' does not match"},
		"label":                  {"podLabels.a=true", "at '/podLabels/a': got boolean, want string"},
		"argument with an ampersand": {
			"extraArgs={--config=a&calc}", "at '/extraArgs/0': '--config=a&calc' does not match",
		},
		"firewall range":           {"firewall.remoteAddresses={everybody}", `firewall.remoteAddresses has "everybody", which is neither`},
		"firewall range, too long": {"firewall.remoteAddresses={10.0.0.0/33}", `has "10.0.0.0/33", which is neither`},
		"firewall range, everything": {
			"firewall.remoteAddresses={::/0}", "has ::/0, which admits every address. Name the ranges",
		},
		"firewall range with a command": {"firewall.remoteAddresses={10.0.0.1&calc}", `has "10.0.0.1&calc", which is neither`},
		"exclusion":                     {"config.exclusions={pods}", `config.exclusions has "pods", which is neither an address nor a range`},
		"namespace":                     {"namespaceOverride=a.b", "at '/namespaceOverride': 'a.b' does not match"},
		"a token for nothing":           {"metrics.scraper.createToken=true,metrics.secure=false", "createToken is of no use without"},
		"a PodMonitor with a file":      {"metrics.podMonitor.bearerTokenFile=f", "at '/metrics/podMonitor/bearerTokenFile'"},

		"both monitors": {
			"metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true", "every node would be scraped twice. Enable one",
		},
		"PodMonitor without token": {"metrics.podMonitor.enabled=true", "needs metrics.podMonitor.authorization"},
		"monitor of nothing":       {"metrics.serviceMonitor.enabled=true,metrics.enabled=false", "nothing to scrape. Set metrics.enabled"},
		"monitor of the loopback":  {"metrics.serviceMonitor.enabled=true,metrics.secure=false", "no scraper can reach them. Set metrics.secure"},
		"one port twice":           {"metrics.port=10353", "metrics.port and probes.port are both 10353"},
		"the page's port":          {"page.port=10352", "page.port is 10352, as is metrics.port or probes.port"},
		"a page for all":           {"page.bindAddress=:9473,metrics.secure=false", "page.bindAddress is not on loopback"},
		"a page, and no metrics":   {"page.bindAddress=0.0.0.0:9473,metrics.enabled=false", "page.bindAddress is not on loopback"},
		"firewall rule": {
			"firewall.ruleName=hnsguards", "at '/firewall/ruleName': 'hnsguards' does not match",
		},
		"firewall open to all":       {"firewall.enabled=true", "firewall.enabled needs firewall.remoteAddresses"},
		"certificate for plain HTTP": {"metrics.secure=false,metrics.certSecret=c", "metrics.certSecret is of no use"},
		"half an API server":         {"apiServer.host=api", "apiServer.host and apiServer.port go together"},
		"waiting longer than grace": {
			"config.orphan.gracePeriodWhileWaiting=301s", "must not be longer than config.orphan.gracePeriod, which is 5m",
		},
		"slower than slow":           {"config.poll.fastInterval=5001ms", "must not be longer than config.poll.slowInterval, which is 5s"},
		"keeping unbridled":          {"admissionPolicy.enabled=false", "or set config.keep.mode to observe"},
		"reprogramming unbridled":    {"config.reprogram.mode=enforce,admissionPolicy.enabled=false", "without the policy every node could create"},
		"evicting unbridled":         {"config.eviction.mode=enforce,admissionPolicy.enabled=false", "without the policy every node could evict"},
		"no account":                 {"serviceAccount.create=false", "serviceAccount.name is required"},
		"ServiceMonitor, no Service": {"metrics.serviceMonitor.enabled=true,metrics.service.enabled=false", "needs metrics.service.enabled"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := here(t).Render(t.Context(), chart.Namespace, "--set", tc.set)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tc.want)))
		})
	}
}

func TestThePageIsOnLoopbackUnlessItIsProtected(t *testing.T) {
	for set, tc := range map[string]struct {
		address string
		readers int
	}{
		"":                                  {"127.0.0.1:9473", 0},
		"page.port=9999":                    {"127.0.0.1:9999", 0},
		"page.enabled=false":                {"0", 0},
		"page.bindAddress=127.0.0.5:9473":   {"127.0.0.5:9473", 0},
		"page.bindAddress=[::1]:9473":       {"[::1]:9473", 0},
		"page.bindAddress=localhost:9473":   {"localhost:9473", 0},
		"page.bindAddress=:9473":            {":9473", 1},
		"page.bindAddress=127.example:9473": {"127.example:9473", 1},
		"page.bindAddress=10.0.0.4:9473":    {"10.0.0.4:9473", 1},
	} {
		t.Run(set, func(t *testing.T) {
			g := NewWithT(t)
			objects := render(t, "--set", set)
			g.Expect(daemonSet(t, objects).Spec.Template.Spec.Containers[0].Env).To(ContainElement(
				corev1.EnvVar{Name: "HNSGUARD_PAGE_BIND_ADDRESS", Value: tc.address}))
			readers := 0
			for _, role := range objects.Of("ClusterRole") {
				if role.GetName() == "hnsguard-page-reader" {
					readers++
				}
			}
			g.Expect(readers).To(Equal(tc.readers))
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
	g.Expect(version("1.29.4", "admissionPolicy.enabled=false,config.keep.mode=observe")).To(Succeed())
	for _, class := range []string{"keep", "reprogram", "eviction"} {
		modes := "config.keep.mode=observe,config." + class + ".mode=enforce"
		g.Expect(version("1.29.4", "admissionPolicy.enabled=false,"+modes)).
			To(MatchError(ContainSubstring("config." + class + ".mode is enforce, but admissionPolicy.enabled is false")))
	}
	g.Expect(version("1.31.7-eks-abcdef", "")).To(Succeed())
	g.Expect(version("1.25.0", "admissionPolicy.enabled=false,config.keep.mode=observe")).
		To(MatchError(ContainSubstring("requires kubeVersion: >=1.26.0-0")))
}

// Users see the notes first; they need a release, which --dry-run invents.
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
		ContainSubstring("--clusterrole=hnsguard-metrics-reader"), Not(ContainSubstring("WARNING")),
		ContainSubstring("kubectl hnsguard status --namespace hnsguard-system"),
		ContainSubstring("exec POD -- hnsguard.exe doctor"), ContainSubstring("exec POD -- hnsguard.exe scan"),
		ContainSubstring("logs --prefix --tail=100 -l app.kubernetes.io/instance=hnsguard")))
	g.Expect(notes("page.enabled=false")).To(And(ContainSubstring("page.enabled is false"), Not(ContainSubstring("kubectl hnsguard"))))
	g.Expect(notes("config.mode=observe")).To(ContainSubstring("It OBSERVES: nothing is changed"))
	g.Expect(notes("admissionPolicy.enabled=false,config.keep.mode=observe")).To(And(
		ContainSubstring("WARNING: admissionPolicy.enabled is false"), ContainSubstring("hnsguard does not flush")))
	g.Expect(notes("metrics.secure=false")).To(ContainSubstring("in the clear, on 127.0.0.1:10352"))
}

// Every alert has a runbook, and every runbook has an alert.
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

	g.Expect(base.Of("Namespace")).To(HaveLen(1), "kustomize creates the namespace; Helm gets one by a flag")
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

// withoutNoise removes the expected differences from an object: Helm's marks, and the annotation with which a change of
// the configuration creates new pods.
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
	g.Expect(dockerfile).To(ContainSubstring(`RUN make bin/hnsguard.exe notices VERSION="${VERSION:?}" COMMIT="${COMMIT:?}"`))
	g.Expect(dockerfile).To(ContainSubstring(`COPY --from=build /src/LICENSE /src/bin/THIRD-PARTY-NOTICES.txt /`))
	g.Expect(dockerfile).To(ContainSubstring(`COPY --from=build /src/bin/hnsguard.exe /hnsguard.exe`))

	dryRun := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-n", "-C", checkout,
		"bin/hnsguard.exe", "image", "VERSION=v1.2.3", "COMMIT=0123abc")
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

// Others can move the tag of an action, and the release workflow signs as hnsguard. Everything is signed.
func TestTheWorkflowsArePinned(t *testing.T) {
	g := NewWithT(t)
	files, err := filepath.Glob(checkout + "/.github/workflows/*.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	actions := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		g.Expect(err).NotTo(HaveOccurred())
		for _, line := range strings.Split(string(text), "\n") {
			if strings.Contains(line, "uses:") {
				actions++
				g.Expect(line).To(MatchRegexp(`uses: [a-z/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`), file)
			}
		}
		if filepath.Base(file) == "release.yaml" {
			g.Expect(string(text)).To(MatchRegexp(`(?s)make dist .*output-file: bin/dist/hnsguard.spdx.json.*` +
				`sha256sum -- \*.tgz \*.spdx.json >>SHA256SUMS.*sign-blob .* SHA256SUMS\n.*gh release create`))
		}
	}
	g.Expect(actions).To(BeNumerically(">=", 10))
}
