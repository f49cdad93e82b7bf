// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/kubeproxy/detect"
	"github.com/hnsguard/hnsguard/internal/version"
)

// Affected says whether hnsguard would help on a node.
type Affected string

// The values.
const (
	// AffectedYes: until kube-proxy is upgraded, pods may lose their network, or Services may lose traffic.
	AffectedYes Affected = "yes"
	// AffectedPartly: no later kube-proxy is better, and its faults only appear after errors.
	AffectedPartly Affected = "partly"
	// AffectedHardly: the node's pods never get addresses of pods on other nodes.
	AffectedHardly Affected = "hardly"
	// AffectedUnknown: it is unknown where the node's pods get their addresses from.
	AffectedUnknown Affected = "unknown"
)

// Proxy is the kube-proxy of a node, as seen from outside of the node.
type Proxy struct {
	// Version is empty if it is unknown. Then every fault is assumed.
	Version string `json:"version,omitempty"`
	// Source is the source of the version: metrics or image.
	Source string   `json:"source,omitempty"`
	Faults []string `json:"faults"`
	// Why says why the version is unknown.
	Why string `json:"why,omitempty"`
}

// String describes the version and its faults.
func (p Proxy) String() string {
	if p.Version == "" {
		return "unknown is taken to have every fault: " + p.Why
	}
	return fmt.Sprintf("%s (from its %s) has %s", p.Version, p.Source, strings.Join(p.Faults, ", "))
}

// Node is a Windows node of a cluster.
type Node struct {
	Node      string    `json:"node"`
	KubeProxy Proxy     `json:"kubeProxy"`
	Addresses Addresses `json:"addresses"`
	Affected  Affected  `json:"affected"`
}

// ClusterReport says whether a cluster is affected, and whether hnsguard can be installed there. Its JSON form is for
// scripts: fields may be added, but do not change.
type ClusterReport struct {
	Server  string `json:"server"`
	Version string `json:"version"`
	Nodes   []Node `json:"nodes"`
	Results
}

// ClusterOptions say what to examine. All fields are required.
type ClusterOptions struct {
	API *rest.Config
	// Namespace is the namespace where hnsguard is, or will be, installed.
	Namespace string
	// Selector selects the DaemonSets of its releases.
	Selector labels.Selector
	// Timeout is the timeout of each check.
	Timeout time.Duration
	Clock   clock.Clock
}

// RunCluster examines a cluster. It returns an error only if it cannot list the nodes, or if the context ends.
func RunCluster(ctx context.Context, o ClusterOptions) (ClusterReport, error) {
	c, err := readCluster(ctx, o)
	if err != nil {
		return ClusterReport{}, err
	}
	report := ClusterReport{Server: o.API.Host, Version: version.Get().Version, Nodes: make([]Node, len(c.windows))}
	var examining errgroup.Group
	examining.SetLimit(16)
	for i, node := range c.windows {
		examining.Go(func() error {
			report.Nodes[i] = c.examine(ctx, node.Name)
			return nil
		})
	}
	_ = examining.Wait() // a node that cannot be examined is unknown
	report.Results = run(ctx, o.Timeout, c.checks())
	if err := ctx.Err(); err != nil {
		return ClusterReport{}, fmt.Errorf("examining the cluster at %s: %w", o.API.Host, err)
	}
	return report, nil
}

// Known returns what the API server alone knows about a node, about addresses, and about the addresses of pods on the
// node, one sentence each.
func Known(
	ctx context.Context, api *rest.Config, node string, addresses []netip.Addr, pods []types.NamespacedName,
) ([]string, error) {
	c, err := readCluster(ctx, ClusterOptions{API: api})
	if err != nil {
		return nil, err
	}
	n := c.examine(ctx, node)
	known := []string{
		fmt.Sprintf("kube-proxy %s", n.KubeProxy),
		fmt.Sprintf("addresses on the node: %s: %s", n.Addresses.Sharing, n.Addresses.Why),
	}
	for _, h := range c.book.living[node] {
		if slices.Contains(pods, h.key) {
			addresses = append(addresses, h.addr)
		}
	}
	for _, addr := range addresses {
		var holders []string
		for _, h := range c.book.holders[addr] {
			holders = append(holders, h.String())
		}
		have := cmp.Or(strings.Join(holders, ", "), "no pod or EndpointSlice has it")
		known = append(known, fmt.Sprintf("%s: %s", addr, have))
	}
	return known, nil
}

// view is the data that was read from a cluster.
type view struct {
	ClusterOptions

	reader  client.Client
	nodes   rest.Interface
	through http.RoundTripper
	// windows are the Windows nodes with HNS, sorted by name, and virtual the names of those without.
	windows []*corev1.Node
	virtual []string
	// host are the pods on the host network, one of which may be kube-proxy.
	host    []*corev1.Pod
	podsErr error
	book    *addressBook
}

func readCluster(ctx context.Context, o ClusterOptions) (*view, error) {
	api := rest.CopyConfig(o.API)
	api.QPS = -1 // client-go's rate limit is meant for controllers
	c := &view{ClusterOptions: o, book: newAddressBook()}
	core, err := coreclient.NewForConfig(api)
	if err == nil {
		c.nodes = core.RESTClient()
		c.through, err = rest.TransportFor(api)
	}
	if err == nil {
		c.reader, err = client.New(api, client.Options{})
	}
	if err != nil {
		return nil, fmt.Errorf("reaching the API server at %s: %w", o.API.Host, err)
	}
	if err := each(ctx, c.reader, &corev1.NodeList{}, c.addNode); err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", err)
	}
	slices.SortFunc(c.windows, func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	if c.podsErr = each(ctx, c.reader, &corev1.PodList{}, c.addPod); c.podsErr != nil {
		c.book.unread = fmt.Sprintf("the pods cannot be listed: %v", c.podsErr)
	}
	// Without slices and blocks there is less evidence, but none of it is wrong.
	_ = each(ctx, c.reader, &discoveryv1.EndpointSliceList{}, c.book.addSlice)
	c.readBlocks(ctx)
	return c, nil
}

// each lists all objects of a kind in pages, because a large cluster has too many for one response.
func each[T runtime.Object](ctx context.Context, reader client.Reader, list client.ObjectList, do func(T)) error {
	pages := pager.New(func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
		page := list.DeepCopyObject().(client.ObjectList)
		return page, reader.List(ctx, page, &client.ListOptions{Raw: &raw, Limit: raw.Limit, Continue: raw.Continue})
	})
	return pages.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		do(object.(T))
		return nil
	})
}

func (c *view) addNode(n *corev1.Node) {
	c.book.addNode(n)
	switch {
	case n.Labels[corev1.LabelOSStable] != string(corev1.Windows):
	case n.Labels["type"] == "virtual-kubelet":
		c.virtual = append(c.virtual, n.Name)
	default:
		c.windows = append(c.windows, n)
	}
}

func (c *view) addPod(p *corev1.Pod) {
	c.book.addPod(p)
	if p.Spec.HostNetwork {
		c.host = append(c.host, p)
	}
}

// readBlocks reads the blocks of Calico's IPAM, if the cluster has them.
func (c *view) readBlocks(ctx context.Context) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{
		Group: "crd.projectcalico.org", Version: "v1", Kind: "BlockAffinityList",
	})
	_ = each(ctx, c.reader, list, func(affinity *unstructured.Unstructured) {
		node, _, _ := unstructured.NestedString(affinity.Object, "spec", "node")
		cidr, _, _ := unstructured.NestedString(affinity.Object, "spec", "cidr")
		addPrefix(c.book.blocks, node, cidr)
	})
}

func (c *view) examine(ctx context.Context, node string) Node {
	proxy, profile := c.proxy(ctx, node)
	addresses := c.book.of(node)
	return Node{Node: node, KubeProxy: proxy, Addresses: addresses, Affected: affected(addresses.Sharing, profile)}
}

func affected(sharing Sharing, profile kubeproxy.Profile) Affected {
	switch {
	case sharing == OwnRange:
		return AffectedHardly
	case sharing == SharingUnknown:
		return AffectedUnknown
	case profile.Outdated():
		return AffectedYes
	default:
		return AffectedPartly
	}
}

// proxy finds the version of a node's kube-proxy. It reads the metrics through the API server, which reaches them only
// if they are not served on loopback.
func (c *view) proxy(ctx context.Context, node string) (Proxy, kubeproxy.Profile) {
	url := c.nodes.Get().Resource("nodes").Name(node + ":10249").SubResource("proxy").Suffix("metrics").URL().String()
	source := "metrics"
	found, errMetrics := detect.FromMetrics(ctx, c.through, url)
	errImage := c.podsErr
	if errMetrics != nil && errImage == nil {
		source = "image"
		found, errImage = detect.InPods(c.host, node)
	}
	profile := kubeproxy.ProfileOf(found)
	proxy := Proxy{Version: found, Source: source, Faults: profile.Faults()}
	if found == "" {
		proxy.Source, proxy.Why = "", fmt.Sprintf("%v; %v", errMetrics, errImage)
	}
	return proxy, profile
}
