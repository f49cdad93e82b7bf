// SPDX-License-Identifier: Apache-2.0

package slicewatch

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hnsguard/hnsguard/internal/cluster"
)

// Versioned reports the resource version up to which the index has everything.
type Versioned interface {
	Version() string
}

// FreshnessOptions configure a [Freshness].
type FreshnessOptions struct {
	// Server reads from the API server, not from a cache. Required.
	Server client.Reader
	// Watch is the watch that has to catch up. Required.
	Watch Versioned
	// Selector is the watch's. All slices by default.
	Selector labels.Selector
	// Clock is the source of time. Required.
	Clock clock.PassiveClock
}

// Freshness proves how current the index of EndpointSlices is. It is not safe for concurrent use.
type Freshness struct {
	opts FreshnessOptions
	// asked is the server's version at askedAt or later that the watch has not reached yet; empty if none. askedAt is the
	// time before the request, because the answer may have taken long.
	asked   string
	askedAt time.Time
	// proven is the latest moment for which the index is known to be complete, and provenVersion the server's version at
	// that moment.
	proven        time.Time
	provenVersion string
	// requests limits the rate of requests for the server's version.
	requests *rate.Limiter
	// nextList is the earliest time of the next list.
	nextList time.Time
}

// The limits on requests for the API server's version, and on lists of all slices. Pods often get their addresses
// shortly after each other: each needs its own request, and the second should not wait because of the first.
const (
	askEvery  = time.Second
	askBurst  = 4
	listEvery = 30 * time.Second
)

// The deadlines of these requests.
const (
	askTimeout  = 5 * time.Second
	listTimeout = 30 * time.Second
)

// NewFreshness returns a Freshness without any proof.
func NewFreshness(o FreshnessOptions) *Freshness {
	return &Freshness{opts: o, requests: rate.NewLimiter(rate.Every(askEvery), askBurst)}
}

// Current reports whether the index has everything that the API server held at the given moment. If not, it requests
// the server's version, and a later call may succeed. An error means that no proof is possible now.
func (f *Freshness) Current(ctx context.Context, since time.Time) (bool, error) {
	if err := f.settle(); err != nil {
		return false, err
	}
	if !since.After(f.proven) && !f.proven.IsZero() {
		return true, nil
	}
	now := f.opts.Clock.Now()
	if f.asked != "" && !f.askedAt.Before(since) || !f.requests.AllowN(now, 1) {
		return false, nil
	}
	reached := f.opts.Watch.Version()
	version, err := f.Version(ctx)
	if err != nil {
		return false, err
	}
	f.asked, f.askedAt = version, now
	if restored, _ := precedes(version, reached); restored { // invariant 4
		f.asked = ""
		return false, fmt.Errorf("the API server is at resource version %s, and the watch of EndpointSlices at %s: "+
			"the server's storage was restored; nothing is proved until the watch has listed all slices again", version, reached)
	}
	if err := f.settle(); err != nil {
		return false, err
	}
	return !since.After(f.proven) && !f.proven.IsZero(), nil
}

// ProvenVersion returns the resource version up to which the index was last proved complete; empty without any proof.
func (f *Freshness) ProvenVersion() string { return f.provenVersion }

// settle checks whether the watch has reached the last requested version.
func (f *Freshness) settle() error {
	version := f.opts.Watch.Version()
	if f.asked == "" || version == "" {
		return nil
	}
	behind, err := precedes(version, f.asked)
	if err == nil && !behind {
		f.proven, f.provenVersion, f.asked = f.askedAt, f.asked, ""
	}
	return err
}

// precedes reports whether a resource version is older than another.
func precedes(version, other string) (bool, error) {
	order, err := resourceversion.CompareResourceVersion(version, other)
	if err != nil {
		return false, fmt.Errorf("comparing resource versions: %w", err)
	}
	return order < 0, nil
}

// Version requests the API server's current resource version of EndpointSlices.
func (f *Freshness) Version(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var list discoveryv1.EndpointSliceList
	if err := f.opts.Server.List(ctx, &list, client.Limit(1)); err != nil {
		return "", fmt.Errorf("requesting the API server's resource version: %w", err)
	}
	return list.ResourceVersion, nil
}

// pageSize is the number of EndpointSlices per page of a list.
const pageSize = 500

// Listed reads all EndpointSlices from the API server and returns the addresses that they list. This is expensive in a
// large cluster: it is done at most every 30 seconds; in between, Listed returns false.
func (f *Freshness) Listed(ctx context.Context) (sets.Set[netip.Addr], bool, error) {
	now := f.opts.Clock.Now()
	if now.Before(f.nextList) {
		return nil, false, nil
	}
	f.nextList = now.Add(listEvery)
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	addresses, proceed := sets.New[netip.Addr](), ""
	for {
		var list discoveryv1.EndpointSliceList
		if err := f.opts.Server.List(ctx, &list, &client.ListOptions{
			LabelSelector: f.opts.Selector, Limit: pageSize, Continue: proceed,
		}); err != nil {
			return nil, false, fmt.Errorf("reading all EndpointSlices from the API server: %w", err)
		}
		for i := range list.Items {
			for addr := range cluster.Listings(&list.Items[i]) {
				addresses.Insert(addr)
			}
		}
		if proceed = list.Continue; proceed == "" {
			return addresses, true, nil
		}
	}
}
