// SPDX-License-Identifier: Apache-2.0

package removal

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
	"github.com/hnsguard/hnsguard/internal/kubeproxy"
	"github.com/hnsguard/hnsguard/internal/verdict"
)

// readTimeout bounds a request to the API server, and cacheTimeout one to its watch cache, which may wait until the
// cache is new enough.
const (
	readTimeout  = 5 * time.Second
	cacheTimeout = 2 * time.Second
)

// PodReader reads pods from the API server, not from a cache.
type PodReader struct {
	// Server lists the pods of a node or of an address. Required.
	Server client.Reader
	// Table lists all pods with few bytes, see [PodTable].
	// Default: Server lists them.
	Table Table
}

// Table lists all pods that have not ended, with the contents of a few columns.
type Table func(ctx context.Context, options metav1.ListOptions, each func(cluster.Pod)) error

// claims are the pods on the API server that may use the addresses of some endpoints, and the profile of the node's
// kube-proxy at that time.
type claims struct {
	// here are the pods on this node.
	here []cluster.Pod
	// elsewhere are the pods on other nodes. Every address that was looked up has an entry.
	elsewhere map[netip.Addr][]cluster.Pod
	kubeProxy kubeproxy.Profile
}

// lookup returns the claims to the addresses of a step's endpoints. It reads them when they are first needed.
type lookup func() (claims, error)

// readClaims reads the claims with two lists, however many endpoints there are (invariant 7). The lists are not older
// than the resource version; if that is empty, the API server returns its latest state.
func (c Confirmer) readClaims(ctx context.Context, version string, verdicts []verdict.Verdict) (claims, error) {
	read := claims{elsewhere: map[netip.Addr][]cluster.Pod{}}
	for _, v := range verdicts {
		read.elsewhere[v.Address()] = nil
	}
	err := c.Pods.list(ctx, version, fields.OneTermEqualSelector("spec.nodeName", c.Node), func(p cluster.Pod) {
		read.here = append(read.here, p)
	})
	if err != nil {
		return claims{}, err
	}
	err = c.Pods.listWith(ctx, version, sets.KeySet(read.elsewhere), func(p cluster.Pod) {
		if p.Node != c.Node && !p.Terminal {
			read.add(p)
		}
	})
	if err != nil {
		return claims{}, err
	}
	c.Evidence.RememberElsewhere(read.elsewhere)
	return read, nil
}

// readAgain reads the claims for a removal, and kube-proxy's version.
func (c Confirmer) readAgain(ctx context.Context, version string, verdicts []verdict.Verdict) (claims, error) {
	read, err := c.readClaims(ctx, version, verdicts)
	if err != nil {
		return claims{}, err
	}
	read.kubeProxy, err = c.KubeProxy(ctx)
	return read, err
}

// add adds a pod on another node to its addresses.
func (read claims) add(p cluster.Pod) {
	for _, addr := range p.Addresses {
		if pods, wanted := read.elsewhere[addr]; wanted {
			read.elsewhere[addr] = append(pods, p)
		}
	}
}

// Users returns the pods of the cluster that may use one of the addresses. A pod's second address, in practice the IPv6
// one, is neither selectable nor in a table: for IPv6, Users reads all pods, page by page.
func (r PodReader) Users(ctx context.Context, addresses sets.Set[netip.Addr]) ([]cluster.Pod, error) {
	var users []cluster.Pod
	each := func(p cluster.Pod) {
		if !p.Terminal && addresses.HasAny(p.Addresses...) {
			users = append(users, p)
		}
	}
	if slices.ContainsFunc(addresses.UnsortedList(), netip.Addr.Is6) {
		err := r.listPages(ctx, each)
		return users, err
	}
	err := r.listWith(ctx, "", addresses, each)
	return users, err
}

// pageSize is the number of pods per answer.
const pageSize = 500

func (r PodReader) listPages(ctx context.Context, each func(cluster.Pod)) error {
	for proceed := ""; ; {
		var list corev1.PodList
		within, cancel := context.WithTimeout(ctx, readTimeout)
		err := r.Server.List(within, &list, client.Limit(pageSize), client.Continue(proceed))
		cancel()
		if err != nil {
			return fmt.Errorf("reading pods from the API server: %w", err)
		}
		for i := range list.Items {
			each(cluster.PodOf(&list.Items[i]))
		}
		if proceed = list.Continue; proceed == "" {
			return nil
		}
	}
}

// listWith lists the pods that have one of the addresses, and perhaps others: the API server can select by only one
// address.
func (r PodReader) listWith(
	ctx context.Context, version string, addresses sets.Set[netip.Addr], each func(cluster.Pod),
) error {
	switch addr, _ := addresses.Clone().PopAny(); {
	case addresses.Len() == 1:
		return r.list(ctx, version, fields.OneTermEqualSelector("status.podIP", addr.String()), each)
	case r.Table == nil:
		return r.list(ctx, version, nil, each)
	default:
		return fromCache(ctx, version, func(ctx context.Context, options metav1.ListOptions) error {
			return r.Table(ctx, options, each)
		})
	}
}

// list lists the pods that a selector selects, or all without a selector.
func (r PodReader) list(ctx context.Context, version string, selector fields.Selector, each func(cluster.Pod)) error {
	return fromCache(ctx, version, func(ctx context.Context, options metav1.ListOptions) error {
		var list corev1.PodList
		if err := r.Server.List(ctx, &list, &client.ListOptions{FieldSelector: selector, Raw: &options}); err != nil {
			return err
		}
		for i := range list.Items {
			each(cluster.PodOf(&list.Items[i]))
		}
		return nil
	})
}

// fromCache reads from the API server's watch cache if that is as new as the resource version. Before Kubernetes 1.31
// the cache only knows after a pod has changed; if this takes too long, the server reads from its storage.
func fromCache(
	ctx context.Context, version string, read func(ctx context.Context, options metav1.ListOptions) error,
) error {
	within := func(timeout time.Duration, options metav1.ListOptions) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return read(ctx, options)
	}
	if version != "" && within(cacheTimeout, metav1.ListOptions{
		ResourceVersion: version, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	}) == nil {
		return nil
	}
	if err := within(readTimeout, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("reading pods from the API server: %w", err)
	}
	return nil
}
