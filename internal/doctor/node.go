// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/config"
	"github.com/hnsguard/hnsguard/internal/hns"
	"github.com/hnsguard/hnsguard/internal/inventory"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/version"
)

// The checks of the node itself.

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
	v := "of unknown version" // nothing depends on the version
	if read, err := o.HNS.Version(ctx); err == nil {
		v = "version " + read
	}
	return pass("%s, %d endpoints", v, len(ids))
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
		return fail("Correct what the check of HNS reports, and run doctor again.", "%v", err)
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
	adviceSyncs = "Let kube-proxy serve its metrics to the node: without its syncs, hnsguard cannot see that it has " +
		"stopped, and reports a missing load balancer later."
)

func adviceFaults() string {
	return "Upgrade when you can: " + version.DocsURL("how-it-works.md") + " has the versions without these faults. " +
		"Until then hnsguard works around them."
}

// kubeProxy finds the version as the agent does. The agent does not question a configured version, so this check does.
func (o Options) kubeProxy(ctx context.Context) Result {
	served, err := detect.FromMetrics(ctx, nil, o.MetricsURL)
	version := cmp.Or(o.KubeProxyVersion, served)
	if version == "" {
		version = o.fromPods(ctx)
	}
	profile := kubeproxy.ProfileOf(version)
	if err == nil && o.KubeProxyVersion != "" && kubeproxy.ProfileOf(served).Version != profile.Version {
		return fail("Correct kubeProxy.version of the chart, or leave it empty.",
			"%s is configured, but %s serves the metrics", o.KubeProxyVersion, served)
	}
	var synced time.Time
	if err == nil {
		synced, err = detect.LastSync(ctx, o.MetricsURL)
	}
	found := describe(profile)
	switch {
	case version == "":
		return warn(adviceMetrics, "its version is unknown, and every fault is assumed: %s", o.redacted(err))
	case err != nil:
		return warn(adviceSyncs, "%s; %s", found, o.redacted(err))
	case synced.IsZero():
		return warn("Look at kube-proxy's log.", "%s, which has not finished a sync yet", found)
	case !profile.Known:
		return warn(adviceMetrics, "%s cannot be read as a version, and every fault is assumed", version)
	case profile.Outdated():
		return warn(adviceFaults(), "%s; last sync %s", found, synced.UTC().Format(time.RFC3339))
	default:
		return pass("%s; last sync %s", found, synced.UTC().Format(time.RFC3339))
	}
}

// fromPods reads the version from the image of kube-proxy's pod; empty if that fails.
func (o Options) fromPods(ctx context.Context) string {
	if o.API == nil {
		return ""
	}
	reader, err := client.New(o.API, client.Options{})
	if err != nil {
		return ""
	}
	version, _ := detect.FromPods(ctx, reader, o.Node) // the check reports an unknown version
	return version
}

// redacted returns an error without the password that the URL of the metrics may have.
func (o Options) redacted(err error) string {
	shown := "the URL"
	if u, errURL := url.Parse(o.MetricsURL); errURL == nil {
		shown = u.Redacted()
	}
	return strings.ReplaceAll(err.Error(), o.MetricsURL, shown)
}

func describe(p kubeproxy.Profile) string {
	return p.Version + " with " + strings.Join(p.Faults(), ", ")
}
