// SPDX-License-Identifier: Apache-2.0

package chart_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"sigs.k8s.io/yaml"

	"github.com/hnsguard/hnsguard/test/chart"
)

// withHooks renders everything, including the pod of helm test.
func withHooks(t *testing.T, args ...string) chart.Objects {
	t.Helper()
	c := here(t)
	text, err := c.Run(t.Context(), append([]string{"template", chart.Release, c.Dir, "--namespace", chart.Namespace}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := chart.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// podOf returns the rendered pod of helm test.
func podOf(t *testing.T, objects chart.Objects) corev1.Pod {
	t.Helper()
	g := NewWithT(t)
	pods := objects.Of("Pod")
	g.Expect(pods).To(HaveLen(1))
	var pod corev1.Pod
	g.Expect(kruntime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(pods[0].Object, &pod, true)).To(Succeed())
	return pod
}

const affinity = `
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions: [{key: pool, operator: In, values: [a]}]
        - matchFields: [{key: metadata.name, operator: In, values: [win-9]}]
        - {}
    preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: fast, operator: Exists}]}}]
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution: []
`

// The agent runs on every real Windows node that the user selects, and helm test runs on one of these.
func TestAgentAndTestRunOnRealNodes(t *testing.T) {
	var values map[string]any
	NewWithT(t).Expect(yaml.Unmarshal([]byte(affinity), &values)).To(Succeed())
	file := t.TempDir() + "/values.yaml"
	NewWithT(t).Expect(os.WriteFile(file, []byte(affinity), 0o600)).To(Succeed())
	by := map[string]chart.Objects{
		"default": withHooks(t), "empty": withHooks(t, "--set", "affinity=null"), "given": withHooks(t, "--values", file),
	}
	for _, node := range []struct {
		name   string
		labels map[string]string
		on     []string
	}{
		{"win-1", nil, []string{"default", "empty"}},
		{"win-2", map[string]string{"pool": "a"}, []string{"default", "empty", "given"}},
		{"win-9", map[string]string{"pool": "b", "type": "large"}, []string{"default", "empty", "given"}},
		{"aci", map[string]string{"pool": "a", "type": "virtual-kubelet"}, nil},
		{"win-9", map[string]string{"eks.amazonaws.com/compute-type": "fargate"}, nil},
		{"win-9", map[string]string{"eks.amazonaws.com/compute-type": "ec2"}, []string{"default", "empty", "given"}},
		{"lin-1", map[string]string{"pool": "a", corev1.LabelOSStable: "linux"}, nil},
	} {
		there := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: node.name, Labels: labels.Merge(labels.Set{corev1.LabelOSStable: "windows"}, node.labels),
		}}
		for name, objects := range by {
			g := NewWithT(t)
			agent, test := daemonSet(t, objects).Spec.Template.Spec, podOf(t, objects).Spec
			g.Expect(test.Affinity).To(Equal(agent.Affinity))
			g.Expect(test.NodeSelector).To(Equal(agent.NodeSelector))
			g.Expect(test.Tolerations).To(Equal(agent.Tolerations))
			match, err := nodeaffinity.GetRequiredNodeAffinity(&corev1.Pod{Spec: agent}).Match(there)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(match).To(Equal(slices.Contains(node.on, name)), "%s: %s %v", name, node.name, node.labels)
		}
	}
	given := daemonSet(t, by["given"]).Spec.Template.Spec.Affinity
	NewWithT(t).Expect(given.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution).To(HaveLen(1))
	NewWithT(t).Expect(given.PodAntiAffinity).NotTo(BeNil())
}

// Invariant 7. Duplicate keys are checked wherever objects are rendered.
func TestTheChartsOwnKeysWin(t *testing.T) {
	g := NewWithT(t)
	objects := render(t, "--set", `metrics.serviceMonitor.enabled=true,metrics.service.labels.app\.kubernetes\.io/component=other`,
		"--set", `nodeSelector.kubernetes\.io/os=windows,podAnnotations.checksum/config=none,commonAnnotations.checksum/config=none`,
		"--set", `commonLabels.team=a,metrics.serviceMonitor.labels.team=b,podLabels.app\.kubernetes\.io/part-of=fleet`,
		"--set", `commonLabels.app\.kubernetes\.io/component=network,metrics.service.labels.team=c`)
	pod := daemonSet(t, objects).Spec.Template
	g.Expect(pod.Annotations).To(HaveKeyWithValue("checksum/config", HaveLen(64)))
	g.Expect(pod.Labels).To(And(HaveKeyWithValue("team", "a"), HaveKeyWithValue("app.kubernetes.io/part-of", "fleet")))
	monitor := objects.Of("ServiceMonitor")[0]
	g.Expect(monitor.GetLabels()).To(HaveKeyWithValue("team", "b"))
	wanted, _, _ := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
	found := 0
	for _, service := range objects.Of("Service") {
		if labels.SelectorFromSet(wanted).Matches(labels.Set(service.GetLabels())) {
			found++
			g.Expect(service.GetLabels()).To(HaveKeyWithValue("team", "c"))
		}
	}
	g.Expect(found).To(Equal(1), "the ServiceMonitor finds its Service")
}

// Invariant 2 with another namespace than the release's.
func TestTheNamespaceCanBeAnother(t *testing.T) {
	g := NewWithT(t)
	objects := withHooks(t, "--set", "namespaceOverride=agents,config.eviction.mode=enforce,dashboards.enabled=true",
		"--set", "prometheusRule.enabled=true,metrics.serviceMonitor.enabled=true,metrics.scraper.createToken=true,metrics.certSecret=c")
	g.Expect(len(objects)).To(BeNumerically(">", 25))
	for _, u := range objects {
		text, err := u.MarshalJSON()
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(string(text)).NotTo(ContainSubstring(chart.Namespace), "%s %s", u.GetKind(), u.GetName())
	}
}

// A monitor has the operator's fields, and on demand the token of the chart's own account.
func TestMonitors(t *testing.T) {
	g := NewWithT(t)
	spec := func(kind, endpoints string, args ...string) (whole, endpoint map[string]any) {
		u := render(t, args...).Of(kind)[0]
		whole, _, _ = unstructured.NestedMap(u.Object, "spec")
		g.Expect(whole[endpoints]).To(HaveLen(1))
		return whole, whole[endpoints].([]any)[0].(map[string]any) //nolint:forcetypeassert // or the test fails
	}
	const fields = `{"enabled":true,"targetLimit":9,"sampleLimit":8,"jobLabel":"l","podTargetLabels":["a"],` +
		`"attachMetadata":{"node":true},"proxyUrl":"http://p:1"}`
	for kind, of := range map[string][]string{
		"ServiceMonitor": {"serviceMonitor", "endpoints"}, "PodMonitor": {"podMonitor", "podMetricsEndpoints"},
	} {
		args := []string{"--set", "metrics.scraper.createToken=true", "--set-json", "metrics." + of[0] + "=" + fields}
		whole, endpoint := spec(kind, of[1], args...)
		g.Expect(whole).To(And(HaveKeyWithValue("targetLimit", BeNumerically("==", 9)), HaveKeyWithValue("jobLabel", "l"),
			HaveKeyWithValue("sampleLimit", BeNumerically("==", 8)), HaveKeyWithValue("podTargetLabels", ConsistOf("a")),
			HaveKeyWithValue("attachMetadata", HaveKeyWithValue("node", true))))
		g.Expect(endpoint).To(HaveKeyWithValue("proxyUrl", "http://p:1"))
		g.Expect(endpoint["authorization"]).To(Equal(map[string]any{
			"credentials": map[string]any{"name": "hnsguard-scraper", "key": "token"},
		}))
		g.Expect(endpoint).NotTo(HaveKey("bearerTokenFile"))
		_, endpoint = spec(kind, of[1], append(args, "--set", "metrics."+of[0]+".authorization.credentials.name=own")...)
		g.Expect(endpoint["authorization"]).To(Equal(map[string]any{"credentials": map[string]any{"name": "own"}}))
	}
	_, endpoint := spec("ServiceMonitor", "endpoints", "--set", "metrics.serviceMonitor.enabled=true")
	g.Expect(endpoint).To(HaveKeyWithValue("bearerTokenFile", "/var/run/secrets/kubernetes.io/serviceaccount/token"))
	g.Expect(render(t).Of("Secret")).To(BeEmpty(), "no token that does not expire, unless asked")
}

// The account for scraping may only read the metrics. Its Secret is where the operator looks for it.
func TestTheScrapersAccount(t *testing.T) {
	g := NewWithT(t)
	objects := render(t, "--set", "metrics.podMonitor.enabled=true,metrics.podMonitor.namespace=monitoring,metrics.scraper.createToken=true",
		"--set", "metrics.scraper.serviceAccount.name=prometheus")
	secret := objects.Of("Secret")[0]
	g.Expect(secret.GetNamespace()).To(Equal("monitoring"))
	g.Expect(secret.GetAnnotations()).To(HaveKeyWithValue("kubernetes.io/service-account.name", "hnsguard-scraper"))
	g.Expect(secret.Object["type"]).To(Equal("kubernetes.io/service-account-token"))
	var bound []string
	for _, u := range append(objects.Of("ClusterRoleBinding"), objects.Of("RoleBinding")...) {
		role, _, _ := unstructured.NestedString(u.Object, "roleRef", "name")
		subjects, _, _ := unstructured.NestedSlice(u.Object, "subjects")
		for _, subject := range subjects {
			s := subject.(map[string]any) //nolint:forcetypeassert // or the test fails
			if s["namespace"] == "monitoring" {
				bound = append(bound, s["name"].(string)+" "+role) //nolint:forcetypeassert // the same
			}
		}
	}
	g.Expect(bound).To(ConsistOf("hnsguard-scraper hnsguard-metrics-reader", "prometheus hnsguard-metrics-reader"))
}

// The autoscaler scales the limit with the request, and the program gets the new limit: invariant 1.
func TestTheAutoscalerScalesTheLimitToo(t *testing.T) {
	g := NewWithT(t)
	objects := render(t, "--set", "verticalPodAutoscaler.enabled=true")
	policies, _, _ := unstructured.NestedSlice(objects.Of("VerticalPodAutoscaler")[0].Object, "spec", "resourcePolicy", "containerPolicies")
	container := daemonSet(t, objects).Spec.Template.Spec.Containers[0]
	g.Expect(policies).To(ConsistOf(
		map[string]any{
			"containerName": container.Name, "controlledValues": "RequestsAndLimits",
			"minAllowed": map[string]any{
				"cpu": container.Resources.Requests.Cpu().String(), "memory": container.Resources.Requests.Memory().String(),
			},
		},
		map[string]any{"containerName": "*", "mode": "Off"},
	))
	g.Expect(container.Env).To(ContainElement(HaveField("ValueFrom.ResourceFieldRef.Resource", "limits.memory")))
}

// Further containers come after the chart's own, because kubectl exec uses the first one by default.
func TestFurtherContainersComeLast(t *testing.T) {
	pod := daemonSet(t, render(t, "--values", valueSets(t)["ci/customised"], "--set", "firewall.enabled=true,firewall.remoteAddresses={::1}")).
		Spec.Template.Spec
	names := func(containers []corev1.Container) (all []string) {
		for _, c := range containers {
			all = append(all, c.Name)
		}
		return all
	}
	g := NewWithT(t)
	g.Expect(names(pod.InitContainers)).To(Equal([]string{"firewall", "before"}))
	g.Expect(names(pod.Containers)).To(Equal([]string{"hnsguard", "alongside"}))
}

// Invariant 8. GitOps tools compare objects without hooks with the cluster, once the pod of helm test is disabled.
func TestTheSameValuesRenderTheSame(t *testing.T) {
	c, sets := here(t), valueSets(t)
	for _, name := range []string{"ci/customised", "ci/everything-enforced", "ci/monitored", "ci/podmonitor"} {
		g := NewWithT(t)
		args := []string{"template", chart.Release, c.Dir, "--namespace", chart.Namespace, "--values", sets[name], "--skip-tests"}
		first, err := c.Run(t.Context(), args...)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(c.Run(t.Context(), args...)).To(Equal(first), name)
		g.Expect(first).NotTo(ContainSubstring("helm.sh/hook"), name)
	}
}

// The chart accepts the examples of the page about installation.
func TestTheExamplesOfTheInstallationRender(t *testing.T) {
	g := NewWithT(t)
	page, err := os.ReadFile(checkout + "/docs/upgrade.md")
	g.Expect(err).NotTo(HaveOccurred())
	rendered := map[string]chart.Objects{}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1) {
		var example map[string]any
		g.Expect(yaml.UnmarshalStrict(block[1], &example)).To(Succeed())
		values, kind := example, "values"
		if example["kind"] != nil {
			kind, _ = example["kind"].(string)
			values, _, _ = unstructured.NestedMap(example, map[string][]string{
				"Application": {"spec", "source", "helm", "valuesObject"}, "HelmRelease": {"spec", "values"},
			}[kind]...)
			g.Expect(values).NotTo(BeEmpty(), kind)
		}
		rendered[kind], err = rendersWith(t, values)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(daemonSet(t, rendered[kind]).Spec.Template.Spec.Containers[0].Image).To(HavePrefix("registry.example.com/"))
	}
	g.Expect(rendered).To(And(HaveLen(3), HaveKey("Application"), HaveKey("HelmRelease"), HaveKey("values")))
	for _, kind := range []string{"Application", "HelmRelease"} {
		g.Expect(string(configured(t, rendered[kind]).Mode)).To(Equal("observe"))
	}
}

// Invariant 1: the links that Artifact Hub shows for the chart exist.
func TestTheChartsLinksLeadSomewhere(t *testing.T) {
	g := NewWithT(t)
	text, err := os.ReadFile(here(t).Dir + "/Chart.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	links := regexp.MustCompile(`hnsguard/hnsguard/(?:blob|tree|raw)/main/(\S+)`).FindAllStringSubmatch(string(text), -1)
	g.Expect(len(links)).To(BeNumerically(">=", 4))
	for _, link := range links {
		g.Expect(checkout + "/" + link[1]).To(Or(BeARegularFile(), BeADirectory()))
	}
}
