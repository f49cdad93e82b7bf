// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The names of the checks of a cluster.
const (
	CheckWindowsNodes = "Windows nodes"
	CheckRights       = "your rights"
	CheckPodSecurity  = "Pod Security"
	CheckRelease      = "release"
)

// checks lists the checks whether the chart can be installed.
func (c *view) checks() []check {
	return []check{
		{CheckAPI, "", c.apiVersion},
		{CheckWindowsNodes, "", c.windowsNodes},
		{CheckRights, CheckAPI, c.installation},
		{CheckPodSecurity, CheckAPI, c.hostProcess},
		{CheckRelease, CheckAPI, c.release},
	}
}

// apiVersion checks whether the API server has admission policies, which the chart needs.
func (c *view) apiVersion(context.Context) Result {
	found, v := Options{API: c.API, Timeout: c.Timeout, Clock: c.Clock}.readVersion()
	if parsed, err := utilversion.ParseGeneric(v); err == nil && parsed.LessThan(utilversion.MajorMinor(1, 30)) {
		return fail("Upgrade the cluster to 1.30 or later.",
			"%s has no admission policies, which restrict what hnsguard may write", v)
	}
	return found
}

// firstBuild is Windows Server 2019, the first version that runs the agent.
const firstBuild = 17763

func (c *view) windowsNodes(context.Context) Result {
	if len(c.windows) == 0 {
		return warn("hnsguard guards Windows nodes: install it when the cluster has some.", "there are none%s", c.besides())
	}
	var faults []string
	for _, n := range c.windows {
		if fault := unfit(n.Status.NodeInfo); fault != "" {
			faults = append(faults, n.Name+": "+fault)
		}
	}
	if len(faults) > 0 {
		return fail("Upgrade these nodes, or leave them out with nodeSelector or affinity of the chart.",
			"%d of %d cannot run the agent: %s", len(faults), len(c.windows), strings.Join(faults, "; "))
	}
	return pass("%d%s", len(c.windows), c.besides())
}

func (c *view) besides() string {
	if len(c.virtual) == 0 {
		return ""
	}
	return fmt.Sprintf(", and %d virtual ones, which have no HNS", len(c.virtual))
}

// unfit returns why a node cannot run the agent, or an empty string. Missing information is no reason.
func unfit(info corev1.NodeSystemInfo) string {
	runtime, v, _ := strings.Cut(info.ContainerRuntimeVersion, "://")
	containerd, err := utilversion.ParseGeneric(v)
	kernel, errKernel := utilversion.ParseGeneric(info.KernelVersion)
	switch {
	case runtime != "" && runtime != "containerd":
		return fmt.Sprintf("HostProcess containers need containerd, and it has %s", info.ContainerRuntimeVersion)
	case runtime != "" && err == nil && containerd.LessThan(utilversion.MustParseSemantic("1.6.18")):
		return fmt.Sprintf("it has containerd %s; 1.6.18 or later is needed", v)
	case errKernel == nil && kernel.Patch() < firstBuild:
		return fmt.Sprintf("it has build %s; Windows Server 2019 (%d) or later is needed", info.KernelVersion, firstBuild)
	case info.Architecture != "" && info.Architecture != "amd64":
		return fmt.Sprintf("its architecture is %s; amd64 is needed", info.Architecture)
	default:
		return ""
	}
}

// Installation lists the rights needed to install the chart with everything enabled.
func Installation(namespace string) []Permission {
	var all []Permission
	need := func(group, namespace string, resources ...string) {
		for _, resource := range resources {
			all = append(all, Permission{
				Verb: "create", Group: group, Resource: resource, Namespace: namespace, For: "installing the chart",
			})
		}
	}
	need("", namespace, "configmaps", "secrets", "serviceaccounts", "services")
	need("apps", namespace, "daemonsets")
	need("rbac.authorization.k8s.io", namespace, "roles", "rolebindings")
	need("rbac.authorization.k8s.io", "", "clusterroles", "clusterrolebindings")
	need("admissionregistration.k8s.io", "", "validatingadmissionpolicies", "validatingadmissionpolicybindings")
	return all
}

func (c *view) installation(ctx context.Context) Result {
	const advice = "Let a cluster administrator install the chart."
	needed := Installation(c.Namespace)
	missing, err := missingOf(ctx, c.API, needed)
	switch {
	case err != nil:
		return warn(advice, "%v", err)
	case len(missing) > 0:
		return fail(advice, "missing %d of %d: %s", len(missing), len(needed), strings.Join(missing, "; "))
	default:
		return pass("all of the %d that installing the chart needs are granted", len(needed))
	}
}

// hostProcess tries to create a pod like the agent's, as a dry run: admission judges it, but it is not stored.
func (c *view) hostProcess(ctx context.Context) Result {
	advice := fmt.Sprintf("kubectl label namespace %s pod-security.kubernetes.io/enforce=privileged", c.Namespace)
	right := Permission{Verb: "create", Resource: "pods", Namespace: c.Namespace, For: "a dry run"}
	missing, err := missingOf(ctx, c.API, []Permission{right})
	if err == nil && len(missing) == 0 {
		err = c.reader.Create(ctx, hostProcessPod(c.Namespace), client.DryRunAll)
	}
	switch {
	case len(missing) > 0:
		return warn("Let a cluster administrator run this.", "whether namespace %s allows HostProcess pods is unknown: you "+
			"may not create pods there", c.Namespace)
	case apierrors.IsNotFound(err):
		return warn(fmt.Sprintf("kubectl create namespace %s; %s", c.Namespace, advice),
			"namespace %s does not exist yet", c.Namespace)
	case err != nil && strings.Contains(err.Error(), "violates PodSecurity"):
		return fail(advice, "namespace %s refuses HostProcess pods: %v", c.Namespace, err)
	case err != nil:
		return fail("Allow the agent's pods where the text of the error says.", "namespace %s refuses the agent's pods: %v",
			c.Namespace, err)
	default:
		return pass("namespace %s allows HostProcess pods", c.Namespace)
	}
}

func hostProcessPod(namespace string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "hnsguard-doctor-"},
		Spec: corev1.PodSpec{
			OS: &corev1.PodOS{Name: corev1.Windows}, HostNetwork: true, PriorityClassName: "system-node-critical",
			SecurityContext: &corev1.PodSecurityContext{WindowsOptions: &corev1.WindowsSecurityContextOptions{
				HostProcess: new(true), RunAsUserName: new(`NT AUTHORITY\SYSTEM`),
			}},
			Containers: []corev1.Container{{Name: "hnsguard", Image: "hnsguard"}},
		},
	}
}

// release looks for existing releases.
func (c *view) release(ctx context.Context) Result {
	var sets appsv1.DaemonSetList
	if err := c.reader.List(ctx, &sets, client.MatchingLabelsSelector{Selector: c.Selector}); err != nil {
		return warn("Let a cluster administrator run this.", "whether hnsguard is installed is unknown: %v", err)
	}
	var found []string
	for _, s := range sets.Items {
		found = append(found, fmt.Sprintf("%s/%s runs on %d of %d nodes", s.Namespace, s.Name, s.Status.NumberReady,
			s.Status.DesiredNumberScheduled))
	}
	if len(found) == 0 {
		return pass("hnsguard is not installed yet")
	}
	return pass("%s", strings.Join(found, "; "))
}
