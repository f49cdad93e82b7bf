// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/version"
)

// The checks of what is on the node.

func (o Options) configuration(context.Context) Result {
	from := cmp.Or(o.ConfigFile, "no file: all fields have their defaults")
	switch {
	case o.ConfigErr != nil:
		return fail("Correct the file. The other checks assume the defaults.", "%v", o.ConfigErr)
	case o.Config.Mode == config.Observe:
		return warn("Set mode to enforce when you trust what it reports.", "mode observe: nothing is removed (%s)", from)
	default:
		return pass("mode %s (%s)", o.Config.Mode, from)
	}
}

func (o Options) hns(ctx context.Context) Result {
	if errors.Is(o.HNSErr, hns.ErrUnsupported) {
		return fail("Run this on the Windows node, in the agent's pod.", "%v", o.HNSErr)
	}
	if o.HNSErr != nil {
		return fail("See the text of the error.", "%v", o.HNSErr)
	}
	ids, err := o.HNS.ListEndpointIDs(ctx)
	if err != nil {
		return fail("Look at the service hns on the node (sc.exe query hns) and at its event log.", "%v", err)
	}
	versioner, is := o.HNS.(hns.Versioner)
	if !is {
		return pass("it answers, with %d endpoints", len(ids))
	}
	v, err := versioner.Version(ctx)
	if err != nil {
		return warn("Without the version, load balancers that are missing are only reported.",
			"it answers, with %d endpoints, but does not tell its version: %v", len(ids), err)
	}
	return pass("version %s, %d endpoints", v, len(ids))
}

func (o Options) network(ctx context.Context) Result {
	snapshot, err := inventory.New(o.HNS, inventory.Options{Network: o.Config.Network, Clock: o.Clock}).Observe(ctx)
	switch {
	case errors.Is(err, inventory.ErrNoPodNetwork):
		return warn("On a new node, start a pod: the agent is ready and waits. Otherwise the CNI plugin uses another kind "+
			"of network, and there is nothing to guard.", "%v", err)
	case errors.Is(err, inventory.ErrAmbiguousPodNetwork):
		return fail("Set config.network of the chart, or --network, to its name or to a pattern such as vpcbr*.", "%v", err)
	case err != nil:
		return fail("Look at the check of HNS, and repeat.", "%v", err)
	}
	remote := 0
	for _, e := range snapshot.Endpoints {
		if e.Remote() {
			remote++
		}
	}
	n := snapshot.Network
	return pass("%q (%s, %s) with %d local and %d remote endpoints",
		n.Name, n.Type, n.ID, len(snapshot.Endpoints)-remote, remote)
}

// The advice about kube-proxy.
const (
	adviceMetrics = "Set kubeProxy.metricsURL of the chart to where kube-proxy serves its metrics, or kubeProxy.version " +
		"if it serves none."
	adviceSyncs = "Let kube-proxy serve its metrics to the node: without its syncs, conflicts are held for " +
		"conflict.holdTimeout."
)

func adviceFaults() string {
	return "Upgrade when you can: " + version.DocsURL("how-it-works.md") + " has the versions without these faults. " +
		"Until then hnsguard works around them."
}

// kubeProxy finds the version as the agent does: what is configured is not questioned there, so it is here.
func (o Options) kubeProxy(ctx context.Context) Result {
	at := redacted(o.MetricsURL)
	served, err := detect.FromMetrics(ctx, o.MetricsURL)
	if err != nil {
		return o.withoutMetrics(ctx, strings.ReplaceAll(err.Error(), o.MetricsURL, at))
	}
	profile := kubeproxy.ProfileOf(cmp.Or(o.KubeProxyVersion, served))
	if o.KubeProxyVersion != "" && kubeproxy.ProfileOf(served).Version != o.KubeProxyVersion {
		return fail("Correct kubeProxy.version of the chart, or leave it empty.",
			"%s is configured, but %s serves the metrics at %s", o.KubeProxyVersion, served, at)
	}
	synced, err := detect.LastSync(ctx, o.MetricsURL)
	switch {
	case err != nil:
		return warn(adviceSyncs, "%s; %s", describe(profile), strings.ReplaceAll(err.Error(), o.MetricsURL, at))
	case synced.IsZero():
		return warn("Look at kube-proxy's log.", "%s, which has not finished a sync yet", describe(profile))
	case !profile.Known:
		return warn(adviceMetrics, "%s cannot be read as a version, and every fault is assumed", served)
	case len(profile.Faults()) > 0:
		return warn(adviceFaults(), "%s; last sync %s", describe(profile), synced.UTC().Format(time.RFC3339))
	default:
		return pass("%s; last sync %s", describe(profile), synced.UTC().Format(time.RFC3339))
	}
}

// withoutMetrics finds the version where kube-proxy's metrics do not answer.
func (o Options) withoutMetrics(ctx context.Context, complaint string) Result {
	proxy, source := o.KubeProxyVersion, "as configured"
	if proxy == "" {
		proxy, source = o.fromPods(ctx), "by the image of its pod"
	}
	if proxy == "" {
		return warn(adviceMetrics, "its version is unknown, and every fault is assumed: %s", complaint)
	}
	return warn(adviceSyncs, "%s, %s; its metrics do not answer: %s",
		describe(kubeproxy.ProfileOf(proxy)), source, complaint)
}

// fromPods reads the version from the image of kube-proxy's pod. It is empty if that fails.
func (o Options) fromPods(ctx context.Context) string {
	if o.API == nil {
		return ""
	}
	core, err := coreclient.NewForConfig(o.API)
	if err != nil {
		return ""
	}
	onNode := fields.OneTermEqualSelector("spec.nodeName", o.Node).String()
	list, err := core.Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: onNode})
	if err != nil {
		return ""
	}
	pods := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		pods[i] = &list.Items[i]
	}
	image, err := detect.InPods(pods, o.Node)
	if err != nil {
		return ""
	}
	return image
}

// redacted is a URL without the password that it may hold.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "the URL"
	}
	return u.Redacted()
}

func describe(p kubeproxy.Profile) string {
	faults := "without known faults"
	if all := p.Faults(); len(all) > 0 {
		faults = "with " + strings.Join(all, ", ")
	}
	return p.Version + " " + faults
}
